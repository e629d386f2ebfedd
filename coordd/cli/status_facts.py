"""Write the facts below the agents in ``status``, a line each: tasks, limits, host, Redis, what is not read.

Pure, but for the local time zone. A line that would be the same everywhere is left out. Whatever is missing
or has another type is shown as ``-``.
"""

from __future__ import annotations

from coordd.cli.agent_places import short_path
from coordd.cli.agent_words import seconds_since
from coordd.cli.times import local_time
from coordd.records.room import cpu_percent, memory_percent
from coordd.util.text import (
    UNKNOWN,
    ago,
    count,
    duration,
    epoch_of,
    escape,
    join_known,
    middle,
    number,
    shown,
    size,
    width,
    with_short_words,
)
from coordd.util.untyped import as_dict, as_list, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any

    from coordd.cli.view import View

LISTED = 5
"""Lines of a list at most, since a stranger may have written the snapshot's."""

_STALE = 120.0
"""Seconds from which on the age of the host's sample is worth saying."""
_STARTING = 5.0
"""Seconds after a start in which the first sample of the host is on its way."""
_OLD = 900.0
"""Seconds from which on the age of what a provider told of an account is worth saying."""
_LABEL = 11
_TASKS = ("available", "claimed")
_AMONG_CLAIMED = ("expired", "orphaned")


def fact_lines(
    document: dict[str, Any], view: View, *, now: float | None, workspaces: bool = True
) -> list[str]:
    """Return all lines; ``now`` is epoch seconds. Without ``workspaces``, no line tells of them."""
    facts = [
        ("Tasks", _tasks(as_dict(document.get("tasks")))),
        *_limits(document.get("limits"), now, view),
        ("Host", _host(as_dict(document.get("system")), now, old=view.old) or _unsampled(document, view)),
        ("Redis", _redis(as_dict(document.get("redis")))),
        *_not_read(document.get("workspaces") if workspaces else None, view),
        ("Homes", _homes(as_dict(document.get("daemon")))),
        ("Traces", _malformed(as_dict(document.get("traces_malformed")))),
        ("Records", _unproven(as_dict(document.get("sinks")))),
        ("Restart", _restart(document.get("restart_required"))),
    ]
    return [f"{label:<{_LABEL}}{words}" for label, words in facts if words]


def _tasks(tasks: dict[str, Any]) -> str:
    """Return how many there are; those whose claim has expired or is orphaned are among the claimed."""
    if all(number(tasks.get(name)) is None for name in (*_TASKS, *_AMONG_CLAIMED)):
        return ""
    told = [f"{count(tasks.get(name))} {name}" for name in _TASKS if number(tasks.get(name)) != 0]
    among = [f"{count(tasks.get(name))} {name}" for name in _AMONG_CLAIMED if number(tasks.get(name)) != 0]
    return ", ".join(told) + (f" ({', '.join(among)})" if among else "")


def _limits(limits: object, now: float | None, view: View) -> list[tuple[str, str]]:
    """Return a line for each limit that a provider told of an account."""
    lines: list[tuple[str, str]] = []
    for limit in dicts(limits)[:LISTED]:
        window, used = limit.get("window"), number(limit.get("used_percent"))
        length = duration(window) if number(window) else _text(window)
        named = join_known([shown(limit.get("kind")), _text(limit.get("name")), length])
        several = sum(other.get("account") != limit.get("account") for other in dicts(limits))
        of = f" ({short_path(limit.get('account'), view.home)})" if several else ""
        words = f"{named.replace('  ', ' ')}{of}: {_percent(used)}"
        resets = epoch_of(limit.get("resets_at"))
        if resets is not None:
            past = now is not None and resets <= now
            words += f"{', was reset' if past else ', resets'} {local_time(limit['resets_at'], now)}"
        told = seconds_since(limit.get("seen_at"), now)
        words += f", told {ago(told)}" if told is not None and told > _OLD else ""
        lines.append(("" if lines else "Limits", words))
    return lines


def _host(system: dict[str, Any], now: float | None, *, old: bool) -> str:
    if not system:
        return ""
    disk = as_dict(system.get("disk_usage"))
    taken = seconds_since(system.get("timestamp"), now)
    return join_known(
        [
            _cpu(system),
            _memory(system),
            f"disk {_percent(disk.get('percent'))}",
            _load(system),
            "" if not old and taken is not None and taken <= _STALE else f"sampled {ago(taken)}",
        ]
    )


def _unsampled(document: dict[str, Any], view: View) -> str:
    up = number(as_dict(document.get("daemon")).get("uptime"))
    soon = not view.old and up is not None and up < _STARTING
    return "no sample yet: the first spans a second" if soon else "no sample yet"


def _cpu(system: dict[str, Any]) -> str:
    """Return the share of the processors in use; in a container that of those which it may use."""
    allowed = number(as_dict(system.get("cgroup")).get("cpu_max"))
    words = f"cpu {_percent(cpu_percent(system))}"
    return words if allowed is None else f"{words} of {allowed:g} CPUs"


def _memory(system: dict[str, Any]) -> str:
    """Return the share of the memory in use; in a container how much of what it may use."""
    group = as_dict(system.get("cgroup"))
    if number(group.get("memory_max")) is None:
        return f"memory {_percent(memory_percent(system))}"
    return f"memory {size(group.get('memory_used'))} of {size(group.get('memory_max'))} in this container"


def _load(system: dict[str, Any]) -> str:
    averages = as_list(system.get("load_average"))
    load = number(averages[0]) if averages else None
    cpus = number(system.get("cpu_count"))
    words = UNKNOWN if load is None else f"{load:.1f}"
    return f"load {words}" + (f" of {cpus:.0f}" if cpus else "")


def _redis(redis: dict[str, Any]) -> str:
    if redis.get("configured") is False:
        return "not configured"
    if redis.get("connected") is not True:
        state = "down" if redis.get("connected") is False else UNKNOWN
        return join_known([state, _text(redis.get("url")), _text(redis.get("error"))])
    latency = number(redis.get("latency_ms"))
    return join_known(
        [
            "connected",
            shown(redis.get("url")),
            f"memory {size(redis.get('used_memory'))}",
            f"{count(redis.get('keys'))} {'key' if redis.get('keys') == 1 else 'keys'}",
            f"latency {UNKNOWN if latency is None else f'{latency:.1f} ms'}",
            f"feed {shown(redis.get('feed'))}",
        ]
    )


def _not_read(workspaces: object, view: View) -> list[tuple[str, str]]:
    """Return a line with the number of workspaces that cannot be read, and one for each of the first.

    One that only waits for heartbeats is no trouble: sessions that work there are seen without them.
    """
    entries = dicts(workspaces)
    troubled = [entry for entry in entries if entry.get("state") == "unreadable"]
    facts = [("Workspaces", f"{len(troubled)} of {len(entries)} not read")] if troubled else []
    named = [(short_path(one.get("path"), view.home), shown(one.get("error"))) for one in troubled[:LISTED]]
    room = view.line - _LABEL
    lines = [
        f"{middle(path, max(room - width(error) - 2, room // 2))}: {with_short_words(error, room)}"
        for path, error in named
    ]
    return [*facts, *[("", line) for line in lines]]


def _homes(daemon: dict[str, Any]) -> str:
    return "those of all users are read (--read-homes)" if daemon.get("reads_homes") is True else ""


def _malformed(malformed: dict[str, Any]) -> str:
    denied = number(malformed.get("denied")) or 0
    known = (number(malformed.get("count")) or 0) - denied
    words = [f"{known:.0f} malformed"] if known > 0 else []
    words += [f"{denied:.0f} may not be read"] if denied else []
    return f"{', '.join(words)}; the daemon's log names them" if words else ""


def _unproven(sinks: dict[str, Any]) -> str:
    files = sum(int(number(as_dict(sink).get("unproven")) or 0) for sink in sinks.values())
    if not files:
        return ""
    return f"{count(files)} files with names of coordd's are not its own, and left alone: coordctl records"


def _restart(keys: object) -> str:
    names = [shown(key) for key in as_list(keys)[:LISTED]]
    return f"needed for {', '.join(names)}" if names else ""


def _percent(value: object) -> str:
    known = number(value)
    return UNKNOWN if known is None else f"{known:.0f} %"


def _text(value: object) -> str:
    return escape(value) if isinstance(value, str) else ""
