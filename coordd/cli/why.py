"""Implement ``coordctl why ID``: explain the verdict on an agent, row by row and signal by signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent_places import project_words
from coordd.cli.agent_words import STYLE, state_of
from coordd.cli.common import own_view, say, say_json
from coordd.cli.evidence_words import signal_words, unobserved, value_words
from coordd.cli.find_agent import agent_of
from coordd.cli.grid import Column, grid
from coordd.cli.options import takes_agent, utc_option
from coordd.cli.task_table import task_lines
from coordd.cli.times import zone_of
from coordd.cli.why_words import looked_at, sentences
from coordd.cli.wrapping import wrapped
from coordd.util.text import UNKNOWN, age, number, paint, shown, width
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
_SIGNAL_HEADING = ["SIGNAL", "VALUE", "AGE", "THRESHOLD", "WHAT WOULD CHANGE IT"]
_WIDEST = 10_000
_SIGNAL_COLUMNS = (
    Column(),
    Column(least=12, most=_WIDEST),
    Column(right=True),
    Column(right=True),
    Column(least=16, most=_WIDEST),
)
_LEGEND = "The first row that fits decides (>); + marks further rows that fit."
_DECIDES, _FITS = ">", "+"
_INDENT = " " * 6


@click.command(
    "why",
    epilog="""\b
Examples:
  coordctl why reviewer-7
  coordctl why reviewer-7 --workspace ~/src/app --json | jq .verdict

\b
First the verdict in sentences. Then two questions, two tables: does it live, and
what does it do? In each the first row that fits decides: > marks it, and + marks
rows below it that would fit too. Last the evidence, signal by signal.""",
)
@utc_option
@takes_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None, as_json: bool, utc: bool) -> int:
    """Explain why an agent has its verdict, and what would change it.

    ID may be an id, a name, or a beginning of one that only one agent has; those of
    the project above the current directory win.
    """
    agent = agent_of(target, agent_id, workspace)
    if as_json:
        say_json({"schema": SCHEMA, **{name: agent.get(name) for name in _FIELDS}})
    else:
        say("\n".join(why_text(agent, own_view(utc=utc))))
    return 0


def why_text(agent: dict[str, Any], view: View) -> list[str]:
    """Return an answer of ``agents.get`` as lines that explain the verdict.

    A daemon that does not tell the rows of its tables has its evidence explained instead.
    """
    lines = _verdict_lines(agent, view)
    tables = [
        ("Does it live?", dicts(agent.get("verdict_rows"))),
        ("What does it do?", dicts(agent.get("activity_rows"))),
    ]
    if any(rows for _, rows in tables):
        lines += ["", *wrapped(_LEGEND, view.columns)]
    for question, rows in tables:
        if rows:
            lines += ["", paint(question, "bold", colour=view.colour)]
            lines += [line for row in rows for line in _row_lines(row, view)]
    in_rows = bool(tables[0][1])
    if not in_rows:
        verdict = as_dict(agent.get("verdict"))
        decided = f"by row {shown(verdict.get('row'))} of the verdict table: {shown(verdict.get('when'))}"
        lines += wrapped(decided, view.columns)
    evidence = dicts(agent.get("evidence"))
    if evidence:
        lines += ["", *_evidence_lines(evidence, agent, view, changes=not in_rows)]
    for explained in unobserved(evidence):
        lines += ["", *wrapped(explained, view.columns)]
    claims = dicts(agent.get("claims"))
    if claims:
        lines += ["", *task_lines(claims, agent.get("timestamp"), view)]
    return lines


def _verdict_lines(agent: dict[str, Any], view: View) -> list[str]:
    """Return the verdict in sentences, and which agent it is."""
    first, *others = sentences(agent)
    style = STYLE.get(state_of(agent))
    lines = [paint(line, style, colour=view.colour) for line in wrapped(first, view.columns)]
    lines += [line for sentence in others for line in wrapped(sentence, view.columns, rest="  ")]
    which = f"Agent {shown(agent.get('agent_id'))} of {project_words(agent, view.home)}."
    return lines + wrapped(which, view.columns)


def _row_lines(row: dict[str, Any], view: View) -> list[str]:
    """Return one row of a table: what it gives when, what it looked at, and what would change that."""
    decides, fits = row.get("decides") is True, row.get("fits") is True
    mark = _DECIDES if decides else _FITS if fits else " "
    condition = f"{_gives(row.get('verdict'))}: {shown(row.get('when'))}"
    lines = wrapped(
        condition, view.columns, first=f"{mark} {shown(row.get('row')):>2}  ", rest=f"{_INDENT}  "
    )
    seen, change = looked_at(row), row.get("change")
    below = [f"now: {seen}"] if seen else []
    below += [] if change is None else [f"would change it: {shown(change)}"]
    if view.columns is None or width(_INDENT + "; ".join(below)) <= view.columns:
        below = ["; ".join(below)] if below else []
    for words in below:
        lines += wrapped(words, view.columns, first=_INDENT, rest=f"{_INDENT}  ")
    style = "bold" if decides else None if fits else "dim"
    return [paint(line, style, colour=view.colour) for line in lines]


def _gives(verdict: object) -> str:
    if isinstance(verdict, dict):
        return " / ".join([shown(part) for part in verdict.values()]) or UNKNOWN
    return shown(verdict)


def _evidence_lines(
    evidence: list[dict[str, Any]], agent: dict[str, Any], view: View, *, changes: bool
) -> list[str]:
    zone = zone_of(agent.get("timestamp"), utc=view.utc)
    heading = "What it rests on" + (f" (times are {zone})" if zone else "")
    cells = [list(_SIGNAL_HEADING)]
    cells += [
        [
            signal_words(one, evidence),
            value_words(one, utc=view.utc, zone=zone),
            age(one.get("age")),
            age(one.get("threshold")),
            _change(one, agent) if changes else "",
        ]
        for one in evidence
    ]
    lines = grid(cells, _SIGNAL_COLUMNS, room=view.columns, headed=True)
    return [paint(heading, "bold", colour=view.colour), *lines]


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
