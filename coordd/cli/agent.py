"""Implement ``coordctl agent ID``: show one agent in full, with the evidence for its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.common import colour_wanted, say, say_json
from coordd.cli.find_agent import agent_of
from coordd.cli.options import takes_agent
from coordd.cli.task_table import task_lines
from coordd.util.text import UNKNOWN, age, ago, duration, number, paint, percent, shown, size, table
from coordd.util.untyped import dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

SCHEMA = 1
_WORDS = {
    "uptime": duration,
    "last_heartbeat_age": ago,
    "cpu_percent": percent,
    "rss": size,
}
_LEAST_UNOBSERVED = 1.0
"""Seconds without observation from which on they are mentioned; below, the two durations look the same."""
_LISTS = ("evidence", "tasks", "claims", "verdict_rows", "activity_rows")


@click.command(
    "agent",
    epilog="""\b
Examples:
  coordctl agent reviewer-7
  coordctl agent reviewer-7 --workspace ~/src/app --json""",
)
@takes_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None, as_json: bool) -> int:
    """Show one agent in full: fields, evidence, tasks, claims.

    ID may be an id, a name, or a beginning of one that only one agent has; those of
    the project above the current directory win.
    """
    agent = agent_of(target, agent_id, workspace)
    if as_json:
        say_json({"schema": SCHEMA, **agent})
    else:
        say("\n".join(agent_text(agent, colour=colour_wanted())))
    return 0


def agent_text(agent: dict[str, Any], *, colour: bool) -> list[str]:
    """Return an answer of ``agents.get`` as aligned lines."""
    facts = [[f"{shown(key)}:", _value(key, value)] for key, value in agent.items() if key not in _LISTS]
    lines = table(facts, (lambda _, column: None if column else "dim") if colour else None)
    lines += ["", paint("evidence", "bold", colour=colour)]
    evidence = dicts(agent.get("evidence"))
    rows = [["SIGNAL", "VALUE", "AGE", "THRESHOLD"]]
    rows += [
        [signal_of(e, evidence), shown(e.get("value")), age(e.get("age")), age(e.get("threshold"))]
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
        lines += [f"  {line}" for line in task_lines(claims, agent.get("timestamp"), colour=colour)]
    return lines


def signal_of(one: dict[str, Any], evidence: list[dict[str, Any]]) -> str:
    """Return the name of a signal, with its source if several sources gave it."""
    sources = {other.get("source") for other in evidence if other.get("source") is not None}
    source = one.get("source")
    return shown(one.get("signal")) + (f" ({shown(source)})" if source and len(sources) > 1 else "")


def unobserved(evidence: list[dict[str, Any]]) -> list[str]:
    """Return a line that explains a heartbeat older than the observed silence; else no line."""
    lines = []
    for one in evidence:
        old, silence = number(one.get("age")), number(one.get("silence"))
        if old is not None and silence is not None and old - silence >= _LEAST_UNOBSERVED:
            lines.append(
                f"silent for {age(silence)} of observed time "
                f"({ago(old)}; coordd could not observe it for {age(old - silence)} of that)"
            )
    return lines


def _value(key: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join([shown(part) for part in value]) or UNKNOWN
    if key == "tokens" and isinstance(value, dict):
        return ", ".join([f"{shown(name)} {shown(one)}" for name, one in value.items()])
    if key in ("verdict", "activity_row") and isinstance(value, dict):
        return f"row {shown(value.get('row'))}: {shown(value.get('when'))}"
    words = _WORDS.get(key)
    return words(value) if words is not None else shown(value)
