"""Implement ``coordctl agent ID``: show one agent in full, with the evidence for its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.common import own_view, say, say_json
from coordd.cli.evidence_words import signal_words, unobserved, value_words
from coordd.cli.find_agent import agent_of
from coordd.cli.options import takes_agent, utc_option
from coordd.cli.task_table import task_lines
from coordd.cli.times import moment_words, zone_of
from coordd.util.text import UNKNOWN, age, ago, duration, epoch_of, paint, percent, shown, size, table
from coordd.util.untyped import dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
    from coordd.cli.view import View

SCHEMA = 1
_WORDS = {
    "uptime": duration,
    "last_heartbeat_age": ago,
    "cpu_percent": percent,
    "rss": size,
}
_LISTS = ("evidence", "tasks", "claims", "verdict_rows", "activity_rows")


@click.command(
    "agent",
    epilog="""\b
Examples:
  coordctl agent reviewer-7
  coordctl agent reviewer-7 --workspace ~/src/app --json""",
)
@utc_option
@takes_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None, as_json: bool, utc: bool) -> int:
    """Show one agent in full: fields, evidence, tasks, claims.

    ID may be an id, a name, or a beginning of one that only one agent has; those of
    the project above the current directory win.
    """
    agent = agent_of(target, agent_id, workspace)
    if as_json:
        say_json({"schema": SCHEMA, **agent})
    else:
        say("\n".join(agent_text(agent, own_view(utc=utc))))
    return 0


def agent_text(agent: dict[str, Any], view: View) -> list[str]:
    """Return an answer of ``agents.get`` as aligned lines; the zone of all times stands at the first."""
    colour, zone = view.colour, zone_of(agent.get("timestamp"), utc=view.utc)
    facts = [
        [f"{shown(key)}:", _value(key, value, view, "" if key == "timestamp" else zone)]
        for key, value in agent.items()
        if key not in _LISTS
    ]
    lines = table(facts, (lambda _, column: None if column else "dim") if colour else None)
    lines += ["", paint("evidence", "bold", colour=colour)]
    evidence = dicts(agent.get("evidence"))
    rows = [["SIGNAL", "VALUE", "AGE", "THRESHOLD"]]
    rows += [
        [
            signal_words(e, evidence),
            value_words(e, utc=view.utc, zone=zone),
            age(e.get("age")),
            age(e.get("threshold")),
        ]
        for e in evidence
    ]
    lines += [f"  {line}" for line in table(rows)] if evidence else ["  none"]
    lines += [f"  {line}" for line in unobserved(evidence)]
    tasks = agent.get("tasks")
    lines += ["", paint("tasks", "bold", colour=colour)]
    if not isinstance(tasks, list):
        lines.append(f"  {UNKNOWN}")
    else:
        lines += [f"  {shown(task)}" for task in tasks] or ["  none"]
    claims = dicts(agent.get("claims"))
    if claims:
        lines += ["", paint("claims", "bold", colour=colour)]
        lines += [f"  {line}" for line in task_lines(claims, agent.get("timestamp"), view)]
    return lines


def _value(key: str, value: object, view: View, zone: str) -> str:
    if epoch_of(value) is not None:
        return moment_words(value, utc=view.utc, zone=zone)
    if isinstance(value, list):
        return ", ".join([shown(part) for part in value]) or UNKNOWN
    if key == "tokens" and isinstance(value, dict):
        return ", ".join([f"{shown(name)} {_value('', one, view, zone)}" for name, one in value.items()])
    if key in ("verdict", "activity_row") and isinstance(value, dict):
        return f"row {shown(value.get('row'))}: {shown(value.get('when'))}"
    words = _WORDS.get(key)
    return words(value) if words is not None else shown(value)
