"""Implement ``coordctl why ID``: explain the verdict on an agent, signal by signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent import agent_of, signal_of, unobserved
from coordd.cli.common import colour_wanted, say, say_json
from coordd.cli.options import takes_agent
from coordd.cli.tables import STATUS_STYLE
from coordd.cli.task_table import task_lines
from coordd.util.text import UNKNOWN, age, number, paint, shown, table
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

SCHEMA = 1
_FIELDS = (
    "timestamp",
    "workspace",
    "agent_id",
    "status",
    "reason",
    "verdict",
    "stalled",
    "evidence",
    "claims",
)


@click.command(
    "why",
    epilog="""\b
Examples:
  coordctl why reviewer-7
  coordctl why reviewer-7 --workspace ~/src/app --json | jq .verdict""",
)
@takes_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None, as_json: bool) -> int:
    """Explain why an agent has its verdict, and what would change it."""
    agent = agent_of(target, agent_id, workspace)
    if as_json:
        say_json({"schema": SCHEMA, **{name: agent.get(name) for name in _FIELDS}})
    else:
        say("\n".join(why_text(agent, colour=colour_wanted())))
    return 0


def why_text(agent: dict[str, Any], *, colour: bool) -> list[str]:
    """Return an answer of ``agents.get`` as lines that explain the verdict."""
    status = agent.get("status")
    verdict = as_dict(agent.get("verdict"))
    painted = paint(shown(status), STATUS_STYLE.get(str(status)), colour=colour)
    stalled = ", and stalled" if agent.get("stalled") is True else ""
    lines = [
        f"{shown(agent.get('agent_id'))} is {painted} ({shown(agent.get('reason'))}){stalled}",
        f"by row {shown(verdict.get('row'))} of the verdict table: {shown(verdict.get('when'))}",
        "",
    ]
    evidence = dicts(agent.get("evidence"))
    rows = [["SIGNAL", "VALUE", "AGE", "THRESHOLD", "WHAT WOULD CHANGE IT"]]
    rows += [
        [
            signal_of(one, evidence),
            shown(one.get("value")),
            age(one.get("age")),
            age(one.get("threshold")),
            _change(one, agent),
        ]
        for one in evidence
    ]
    lines += table(rows, (lambda row, _: "bold" if row == 0 else None) if colour else None)
    explained = unobserved(evidence)
    if explained:
        lines += ["", *explained]
    claims = dicts(agent.get("claims"))
    if claims:
        lines += ["", *task_lines(claims, agent.get("timestamp"), colour=colour)]
    return lines


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
