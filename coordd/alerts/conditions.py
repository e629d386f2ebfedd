"""Make conditions of what the daemon says: of entries of attention, of samples of the host, of events.

A condition is one thing that may be told. Its *slot* is where it is: kind, workspace and subject; in one
slot one thing fires at a time. Its ``id`` tells it from the next thing in the same slot, such as the next
prompt of an agent. Pure; documents are those of any version, and what does not fit in them is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from coordd.alerts.rules import Threshold
from coordd.util.text import epoch_of, number
from coordd.util.untyped import as_dict, as_list

ATTENTION = frozenset({"waiting", "blocked", "stalled", "killed", "mass", "orphaned", "split"})
"""The kinds that entries of attention have."""

OF_AGENTS = frozenset({"waiting", "blocked", "stalled", "killed", "finished"})
"""The kinds whose subject is an agent."""

TOGETHER = 60.0
"""Seconds within which agents fall that fall together."""

NOWHERE = "redis"
"""The subject of a group that fell and has no workspace."""

_LONGEST = 1000
"""Characters of a text of the daemon's that are kept."""


class Slot(NamedTuple):
    """Where a condition is; ``workspace`` is "" for none."""

    kind: str
    workspace: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that may be told.

    ``since`` is epoch seconds, None where it is not known. ``text`` says what in words without a subject.
    ``name`` and ``project`` are those of the agent; None where it has none, or nobody has told it yet.
    """

    kind: str
    workspace: str | None
    subject: str
    id: str
    since: float | None
    text: str
    command: str | None
    name: str | None = None
    project: str | None = None

    @property
    def slot(self) -> Slot:
        """Return where it is."""
        return Slot(self.kind, self.workspace or "", self.subject)


def of_entry(entry: Mapping[str, Any]) -> Condition | None:
    """Return an entry of ``attention`` as a condition; None if the entry lacks what a condition needs."""
    kind, subject, workspace = entry.get("kind"), entry.get("subject"), entry.get("workspace")
    if not isinstance(kind, str) or kind not in ATTENTION or not isinstance(subject, str):
        return None
    command = entry.get("command")
    return Condition(
        kind=kind,
        workspace=_text(workspace) if isinstance(workspace, str) else None,
        subject=_text(subject),
        id=_text(str(entry.get("id"))),
        since=epoch_of(entry.get("since")),
        text=_text(str(entry.get("text") or kind)),
        command=_text(command) if isinstance(command, str) else None,
    )


def of_entries(value: object) -> list[Condition]:
    """Return the conditions in a list of entries."""
    found = (of_entry(as_dict(one)) for one in as_list(value))
    return [one for one in found if one is not None]


def of_redis(status: Mapping[str, Any], at: float) -> Condition | None:
    """Return the condition of a Redis that does not answer, by the ``status`` document at a time."""
    redis = as_dict(status.get("redis"))
    if not redis.get("configured") or redis.get("connected"):
        return None
    return redis_down(f"does not answer: {redis.get('error') or 'no reason is known'}", at)


def redis_down(text: str, at: float) -> Condition:
    """Return the condition of a Redis that does not answer since a time."""
    return _own("redis", "Redis", _text(text), "coordctl doctor", at)


def of_sinks(status: Mapping[str, Any], at: float) -> list[Condition]:
    """Return the conditions of sinks that fail, by the ``status`` document at a time."""
    sinks = as_dict(status.get("sinks"))
    return [
        sink_failing(str(name), f"cannot record: {as_dict(sink).get('error') or 'no reason is known'}", at)
        for name, sink in sinks.items()
        if as_dict(sink).get("state") == "failing"
    ]


def sink_failing(name: str, text: str, at: float) -> Condition:
    """Return the condition of a sink that fails since a time."""
    return _own("sink", _text(name), _text(text), "coordctl doctor", at)


def daemon_gone(text: str, at: float) -> Condition:
    """Return the condition of a daemon that is gone, or does not answer, since a time."""
    return _own("daemon", "coordd", _text(text).removesuffix("."), "coordctl doctor", at)


def of_sample(sample: Mapping[str, Any], thresholds: Iterable[Threshold]) -> dict[Slot, Condition | None]:
    """Return for each threshold whether a sample of the host is above it, as a condition or None.

    A measure that is not known says nothing, neither way. In a limited control group its memory and CPU count
    in place of the host's, as in ``coordctl status``.
    """
    values = _measures(sample)
    since = epoch_of(sample.get("timestamp"))
    found: dict[Slot, Condition | None] = {}
    for threshold in thresholds:
        value = values.get(threshold.measure)
        if value is None:
            continue
        unit = "" if threshold.measure == "load" else " %"
        text = f"at {value:.1f}{unit}, above {threshold.above:g}{unit}"
        one = Condition(
            kind=threshold.word,
            workspace=None,
            subject=threshold.measure,
            id="",
            since=since,
            text=text,
            command="coordctl status",
        )
        found[one.slot] = one if value > threshold.above else None
    return found


def _measures(sample: Mapping[str, Any]) -> dict[str, float | None]:
    group = as_dict(sample.get("cgroup"))
    load = as_list(sample.get("load_average"))
    memory = number(group.get("memory_percent"))
    cpu = number(group.get("cpu_percent"))
    return {
        "cpu": number(sample.get("cpu_percent")) if cpu is None else cpu,
        "memory": number(as_dict(sample.get("memory_usage")).get("percent")) if memory is None else memory,
        "disk": number(as_dict(sample.get("disk_usage")).get("percent")),
        "load": number(load[0]) if load else None,
    }


def _own(kind: str, subject: str, text: str, command: str, at: float) -> Condition:
    return Condition(kind=kind, workspace=None, subject=subject, id="", since=at, text=text, command=command)


def _text(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
