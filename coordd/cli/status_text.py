"""Write the status document as text for people. Pure: documents in, lines out.

The document may come from another version of the daemon or from a stranger's file: whatever is missing or has
another type is shown as ``-``.
"""

from __future__ import annotations

from coordd.cli.tables import NOT_ACTIVE_FIRST, agent_lines, not_active_first
from coordd.util.text import (
    UNKNOWN,
    ago,
    count,
    duration,
    epoch_of,
    escape,
    join_known,
    number,
    paint,
    percent,
    shown,
    size,
)
from coordd.util.untyped import as_dict

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ROWS = 20
"""Agents that ``status`` shows at most; ``coordctl agents`` shows all."""
LOOK: list[tuple[str, object]] = [
    ("status", None),
    *[("agents.list", {"status": status, "limit": ROWS}) for status in NOT_ACTIVE_FIRST],
]
"""What is asked for :func:`running_text`."""

_LISTED = 5  # a bound on lines, since a stranger may have written the snapshot's workspaces and problems


def running_text(
    document: dict[str, Any], agents: Sequence[dict[str, Any]], *, colour: bool, later: float = 0.0
) -> str:
    """Return the text of a running daemon's answers: the status document and entries of ``agents.list``.

    The answers are ``later`` seconds old."""
    health = document.get("health")
    daemon = as_dict(document.get("daemon"))
    style = "green" if health == "ok" else "yellow"
    headline = join_known(
        [
            paint(shown(health), style, colour=colour),
            f"host {shown(daemon.get('host'))}",
            f"coordd {shown(daemon.get('version'))}",
            f"up {duration(_sum(daemon.get('uptime'), later))}",
            f"mode {shown(daemon.get('coord_mode'))}",
            f"layout {shown(daemon.get('layout'))}",
        ]
    )
    return "\n".join([headline, *_body(document, agents, colour=colour, snapshot_age=later, old=False)])


def stopped_text(
    document: dict[str, Any],
    agents: Sequence[dict[str, Any]],
    tried: Sequence[tuple[str, str]],
    *,
    snapshot_age: float | None,
    colour: bool,
) -> str:
    """Return the text of a stopped daemon's last snapshot, marked as old, and of the sockets tried."""
    when = ago(snapshot_age) if snapshot_age is not None else "of unknown age"
    first = paint("coordd is not running.", "red", colour=colour)
    lines = [
        f"{first} Last snapshot {when}; what follows was so then.",
        *_as_it_was(document, agents, colour=colour, age=snapshot_age),
        "",
        "Tried",
        *[f"  {path}: {reason}" for path, reason in tried],
        "Start it with 'coordd run', or name another socket with --socket or $COORDD_SOCKET.",
    ]
    return "\n".join(lines)


def lost_text(
    document: dict[str, Any] | None,
    agents: Sequence[dict[str, Any]],
    trouble: str,
    *,
    age: float | None,
    colour: bool,
) -> str:
    """Return the text of a lost daemon: the trouble, then its last answer, ``age`` seconds old, if any."""
    first = paint(escape(trouble), "red", colour=colour)
    if document is None:
        return first
    lines = [
        f"{first}  What follows was so {ago(age) if age is not None else 'at an unknown time'}.",
        *_as_it_was(document, agents, colour=colour, age=age),
    ]
    return "\n".join(lines)


def _as_it_was(
    document: dict[str, Any], agents: Sequence[dict[str, Any]], *, colour: bool, age: float | None
) -> list[str]:
    daemon = as_dict(document.get("daemon"))
    return [
        "",
        join_known(
            [
                f"was {shown(document.get('health'))}",
                f"host {shown(daemon.get('host'))}",
                f"coordd {shown(daemon.get('version'))}",
                f"mode {shown(daemon.get('coord_mode'))}",
                f"layout {shown(daemon.get('layout'))}",
            ]
        ),
        *_body(document, agents, colour=colour, snapshot_age=age, old=True),
    ]


def _body(
    document: dict[str, Any],
    agents: Sequence[dict[str, Any]],
    *,
    colour: bool,
    snapshot_age: float | None,
    old: bool,
) -> list[str]:
    lines = []
    problems = document.get("problems")
    if isinstance(problems, list) and problems:
        lines += ["", paint("Problems" if not old else "Problems then", "bold", colour=colour)]
        lines += [f"  {shown(problem)}" for problem in problems]
    warnings = document.get("warnings")
    if isinstance(warnings, list) and warnings:
        lines += ["", paint("Warnings" if not old else "Warnings then", "bold", colour=colour)]
        lines += [f"  {shown(warning)}" for warning in warnings[:_LISTED]]
    redis = as_dict(document.get("redis"))
    facts = [
        ("Redis", _redis(redis)),
        ("Host", _host(document, snapshot_age)),
        ("Tasks", _tasks(as_dict(document.get("tasks")))),
        *_workspaces(
            document.get("workspaces"), redis=as_dict(document.get("redis")).get("configured") is True
        ),
        ("Traces", _malformed(as_dict(document.get("traces_malformed")))),
        ("Records", _unproven(as_dict(document.get("sinks")))),
        ("Agents", _counts(as_dict(document.get("agents")))),
    ]
    lines.append("")
    lines += [f"{label:<11}{words}" for label, words in facts if words]
    rows = not_active_first(agents)[:ROWS]
    if rows:
        lines += ["", *agent_lines(rows, colour=colour, snapshot_age=snapshot_age, old=old)]
        total = number(as_dict(document.get("agents")).get("total"))
        more = max(int(total) if total is not None else 0, len(agents)) - len(rows)
        if more > 0:
            lines.append(f"… and {more} more" + ("" if old else ": coordctl agents"))
    return lines


def _unproven(sinks: dict[str, Any]) -> str:
    files = sum(int(number(as_dict(sink).get("unproven")) or 0) for sink in sinks.values())
    if not files:
        return ""
    return f"{count(files)} files with names of coordd's are not its own, and left alone: coordctl records"


def _redis(redis: dict[str, Any]) -> str:
    if redis.get("configured") is False:
        return "not configured"
    if redis.get("connected") is not True:
        state = "down" if redis.get("connected") is False else UNKNOWN
        return join_known([state, _known(redis.get("url")), _known(redis.get("error"))])
    latency = number(redis.get("latency_ms"))
    return join_known(
        [
            "connected",
            shown(redis.get("url")),
            f"memory {size(redis.get('used_memory'))}",
            f"{count(redis.get('keys'))} keys",
            f"latency {UNKNOWN if latency is None else f'{latency:.1f} ms'}",
            f"feed {shown(redis.get('feed'))}",
        ]
    )


def _host(document: dict[str, Any], snapshot_age: float | None) -> str:
    system = as_dict(document.get("system"))
    if not system:
        return "no sample yet"
    memory, disk = as_dict(system.get("memory_usage")), as_dict(system.get("disk_usage"))
    load = system.get("load_average")
    loads = [number(value) for value in load] if isinstance(load, list) else []
    averages = " ".join([f"{value:.2f}" for value in loads[:3] if value is not None]) or UNKNOWN
    asked, taken = epoch_of(document.get("timestamp")), epoch_of(system.get("timestamp"))
    age = None if asked is None or taken is None else asked - taken
    age = None if age is None or snapshot_age is None else age + snapshot_age
    return join_known(
        [
            f"cpu {percent(system.get('cpu_percent'))}",
            f"memory {percent(memory.get('percent'))} of {size(memory.get('total'))}",
            f"disk {percent(disk.get('percent'))} of {size(disk.get('total'))}",
            f"load {averages}",
            f"sampled {ago(age)}",
        ]
    )


def _tasks(tasks: dict[str, Any]) -> str:
    names = ("available", "claimed", "expired", "orphaned")
    if all(tasks.get(name) is None for name in names):
        return ""
    return ", ".join([f"{count(tasks.get(name))} {name}" for name in names])


def _workspaces(workspaces: object, *, redis: bool) -> list[tuple[str, str]]:
    """Return a line for the number of workspaces, and one for each of the first that are not watched."""
    if not isinstance(workspaces, list):
        return []
    if not workspaces and redis:
        return [("Workspaces", "none, only Redis is read")]
    if not workspaces:
        return [("Workspaces", "none: name one with 'coordd run --workspace DIR', or in the configuration")]
    entries = [entry for entry in workspaces if isinstance(entry, dict)]
    troubled = [entry for entry in entries if entry.get("state") in ("waiting", "unreadable")]
    facts = [("Workspaces", str(len(entries)) + (f", {len(troubled)} not read" if troubled else ""))]
    for entry in troubled[:_LISTED]:
        why = "waits for .claude/coordination" if entry["state"] == "waiting" else shown(entry.get("error"))
        facts.append(("", f"{shown(entry.get('path'))}: {why}"))
    return facts


def _malformed(malformed: dict[str, Any]) -> str:
    known = number(malformed.get("count"))
    return f"{known:.0f} malformed; the daemon's log names them" if known else ""


def _counts(agents: dict[str, Any]) -> str:
    if number(agents.get("total")) == 0:
        return "none"
    parts = ", ".join([f"{count(agents.get(name))} {name}" for name in ("active", "inactive", "unknown")])
    return f"{count(agents.get('total'))}: {parts}"


def _known(value: object) -> str:
    return escape(value) if isinstance(value, str) else ""


def _sum(value: object, more: float) -> float | None:
    known = number(value)
    return None if known is None else known + more
