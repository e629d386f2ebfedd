"""Implement ``coordctl why ID``: explain the verdict on an agent, row by row and signal by signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent import signal_of, unobserved
from coordd.cli.agent_words import STYLE, doing, name_of, state_of
from coordd.cli.common import own_view, say, say_json
from coordd.cli.find_agent import agent_of
from coordd.cli.grid import Column, grid
from coordd.cli.options import takes_agent
from coordd.cli.task_table import task_lines
from coordd.util.text import UNKNOWN, age, number, paint, shown
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
    from coordd.cli.view import View

SCHEMA = 1
_FIELDS = (
    "timestamp",
    "workspace",
    "agent_id",
    "name",
    "status",
    "reason",
    "activity",
    "waiting_for",
    "tool",
    "verdict",
    "verdict_rows",
    "activity_row",
    "activity_rows",
    "stalled",
    "evidence",
    "claims",
)
_ROW_HEADING = ["", "ROW", "WHEN", "GIVES", "VALUE", "AGE", "SOURCE", "THRESHOLD", "WHAT WOULD CHANGE IT"]
_ROW_COLUMNS = (
    Column(),
    Column(right=True),
    Column(least=20, most=76),
    Column(least=8),
    Column(least=8),
    Column(right=True),
    Column(leave=1),
    Column(right=True),
    Column(least=16, most=76),
)
_SIGNAL_HEADING = ["SIGNAL", "VALUE", "AGE", "THRESHOLD", "WHAT WOULD CHANGE IT"]
_SIGNAL_COLUMNS = (Column(), Column(least=12, most=60), Column(), Column(), Column(least=16, most=76))
_DECIDES, _FITS = ">", "+"


@click.command(
    "why",
    epilog="""\b
Examples:
  coordctl why reviewer-7
  coordctl why reviewer-7 --workspace ~/src/app --json | jq .verdict

\b
Two questions, two tables: does it live, and what does it do? In each the first
row that fits decides; > marks it, and + marks rows below it that would fit too.""",
)
@takes_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None, as_json: bool) -> int:
    """Explain why an agent has its verdict, and what would change it.

    ID may be an id, a name, or a beginning of one that only one agent has; those of
    the project above the current directory win.
    """
    agent = agent_of(target, agent_id, workspace)
    if as_json:
        say_json({"schema": SCHEMA, **{name: agent.get(name) for name in _FIELDS}})
    else:
        say("\n".join(why_text(agent, own_view())))
    return 0


def why_text(agent: dict[str, Any], view: View) -> list[str]:
    """Return an answer of ``agents.get`` as lines that explain the verdict.

    A daemon that does not tell the rows of its tables has its evidence explained instead.
    """
    lines = [_sentence(agent, view)]
    tables = [
        ("Does it live?", dicts(agent.get("verdict_rows"))),
        ("What does it do?", dicts(agent.get("activity_rows"))),
    ]
    for question, rows in tables:
        if rows:
            lines += ["", paint(question, "bold", colour=view.colour), *_table_lines(rows, view)]
    in_rows = bool(tables[0][1])
    if not in_rows:
        verdict = as_dict(agent.get("verdict"))
        lines.append(f"by row {shown(verdict.get('row'))} of the verdict table: {shown(verdict.get('when'))}")
    evidence = dicts(agent.get("evidence"))
    lines += ["", *_evidence_lines(evidence, agent, view, changes=not in_rows)]
    explained = unobserved(evidence)
    if explained:
        lines += ["", *explained]
    claims = dicts(agent.get("claims"))
    if claims:
        lines += ["", *task_lines(claims, agent.get("timestamp"), colour=view.colour)]
    return lines


def _sentence(agent: dict[str, Any], view: View) -> str:
    """Return the verdict in a sentence: status and reason, and what it does."""
    status, activity, identity = agent.get("status"), agent.get("activity"), shown(agent.get("agent_id"))
    name = name_of(agent)
    who = name if name == identity else f"{name} ({identity})"
    painted = paint(shown(status), STYLE.get(state_of(agent)), colour=view.colour)
    words = f"{who} is {painted} ({shown(agent.get('reason'))})"
    if isinstance(activity, str):
        about = doing(agent, later=0.0) if state_of(agent) != "active" else ""
        does = "and nothing tells what it does" if activity == "unknown" else shown(activity)
        return f"{words}, {does}" + (f": {about}" if about else "")
    return words + (", and stalled" if agent.get("stalled") is True else "")


def _table_lines(rows: list[dict[str, Any]], view: View) -> list[str]:
    """Return the rows of one table with what each compares; the row that decides is marked."""
    cells = [list(_ROW_HEADING)]
    cells += [
        [
            _DECIDES if row.get("decides") is True else _FITS if row.get("fits") is True else "",
            shown(row.get("row")),
            shown(row.get("when")),
            _gives(row.get("verdict")),
            shown(row.get("value")),
            age(row.get("age")),
            shown(row.get("source")),
            age(row.get("threshold")),
            shown(row.get("change")),
        ]
        for row in rows
    ]

    def style(row: int, _column: int) -> str | None:
        return "bold" if row == 0 or cells[row][0] == _DECIDES else None

    return grid(cells, _ROW_COLUMNS, room=view.columns, style=style if view.colour else None, headed=True)


def _gives(verdict: object) -> str:
    if isinstance(verdict, dict):
        return " / ".join([shown(part) for part in verdict.values()]) or UNKNOWN
    return shown(verdict)


def _evidence_lines(
    evidence: list[dict[str, Any]], agent: dict[str, Any], view: View, *, changes: bool
) -> list[str]:
    cells = [list(_SIGNAL_HEADING)]
    cells += [
        [
            signal_of(one, evidence),
            shown(one.get("value")),
            age(one.get("age")),
            age(one.get("threshold")),
            _change(one, agent) if changes else "",
        ]
        for one in evidence
    ]

    def style(row: int, _column: int) -> str | None:
        return "bold" if row == 0 else None

    return grid(cells, _SIGNAL_COLUMNS, room=view.columns, style=style if view.colour else None, headed=True)


def _change(one: dict[str, Any], agent: dict[str, Any]) -> str:
    # Only observed silence counts; a signal without it shows its age.
    silence, limit = number(one.get("silence", one.get("age"))), number(one.get("threshold"))
    left = None if silence is None or limit is None else limit - silence
    words = {
        "heartbeat": _heartbeat(left),
        "source": (
            "while it cannot be read, silence means unknown"
            if one.get("value") == "readable"
            else "once it can be read, silence decides again"
        ),
        "registration": "a new one counts as a beat",
        "progress": _progress(left, stalled=agent.get("stalled") is True),
    }
    return words.get(str(one.get("signal")), UNKNOWN)


def _heartbeat(left: float | None) -> str:
    if left is None:
        return "its first beat makes it active"
    return f"without a beat, inactive in {age(left)}" if left > 0 else "a beat makes it active"


def _progress(left: float | None, *, stalled: bool) -> str:
    if stalled:
        return "progress, or giving its tasks back, ends the stall"
    if left is None or left <= 0:
        return "only who is active can be stalled"
    return f"without progress, stalled in {age(left)}"
