"""Find in the records what happened while nobody listened, and tell the memory with the times that it had.

A subscription that cannot go on where it was has a gap, as after a restart of the daemon. The event records
say what began in it; whether and when it ended, the samples of that agent say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordd.alerts.asking import agent_of, project_of, records
from coordd.alerts.conditions import Condition, Slot
from coordd.alerts.hearing import Hearing
from coordd.alerts.link import Link
from coordd.alerts.memory import Memory
from coordd.alerts.moment import Moment, now
from coordd.util.shell import shell_word
from coordd.util.text import epoch_of, escape
from coordd.util.untyped import as_dict

_BEGUN = {"agent.waiting": "waiting", "agent.blocked": "blocked", "agent.stalled": "stalled"}
_KILLED = "(killed)"
_ANNOUNCED = 5.0
"""Seconds within which the event of an end, or of many, is recorded."""


async def catch_up(
    link: Link, memory: Memory, hearing: Hearing, since: str, *, known: Mapping[Slot, Condition]
) -> None:
    """Take in what was recorded since a time; what fires now is in the memory already.

    Args:
        link: to the daemon.
        memory, hearing: what takes it in.
        since: the time of the last notification that was heard.
        known: what fired when that was heard: an event of it may have been recorded a moment later.

    Raises:
        ClientError: the daemon does not give the records.
    """
    kinds = memory.engine.kinds
    heard = epoch_of(since) or 0.0
    async for event in records(link, "event", since):
        at = epoch_of(event.get("timestamp"))
        if at is None or at <= heard:
            continue
        moment = now()
        hearing.event(event, moment, min(at, moment.wall))
        condition = _condition(event, at)
        if condition is None or condition.kind not in kinds or condition.slot in memory.engine.fires:
            continue
        if not _same(condition, known.get(condition.slot)):
            await _passed(link, memory, condition)
    if "finished" in kinds:
        async for sample in records(link, "agent", since):
            hearing.agent(sample, now())


def _same(condition: Condition, known: Condition | None) -> bool:
    """Return whether an event is of something that was heard of before the gap."""
    if known is None or known.since is None or condition.since is None:
        return known is not None
    apart = 0.01 if condition.kind in _BEGUN.values() else _ANNOUNCED
    return abs(condition.since - known.since) < apart


async def _passed(link: Link, memory: Memory, condition: Condition) -> None:
    """Note something that fired, and fires no longer."""
    agent = await agent_of(link, condition) if condition.kind != "mass" else {}
    name, project = agent.get("name"), agent.get("project")
    if not isinstance(project, str):
        project = await project_of(link, condition.workspace)
    condition = Condition(
        kind=condition.kind,
        workspace=condition.workspace,
        subject=condition.subject,
        id=condition.id,
        since=condition.since,
        text=condition.text,
        command=condition.command,
        name=name if isinstance(name, str) else None,
        project=project,
    )
    moment = now()
    if condition.kind in _BEGUN.values():
        ended = await _end_of(link, condition, moment)
        memory.engine.open(condition, moment)
        memory.engine.close(condition.slot, "over", moment, ended)
        return
    memory.engine.open(condition, moment)
    back = agent.get("status") == "active"
    memory.engine.close(condition.slot, "over" if back else "left", moment)


async def _end_of(link: Link, condition: Condition, moment: Moment) -> float:
    """Return when an agent began to do something else; now where the records do not say."""
    since = condition.since or moment.wall
    stamp = condition.id
    async for sample in records(link, "agent", stamp, of=condition):
        at = epoch_of(sample.get("timestamp"))
        if at is None or at <= since:
            continue
        if sample.get("activity") != condition.kind:
            return at
        begun = epoch_of(sample.get("activity_since"))
        if begun is not None and begun > since + 0.001:  # the next one of its kind has begun
            return begun
    return moment.wall


def _condition(event: dict[str, Any], at: float) -> Condition | None:
    kind, subject = str(event.get("kind")), event.get("subject")
    detail = as_dict(event.get("detail"))
    message = str(event.get("message") or "")
    workspace = detail.get("workspace")
    place = workspace if isinstance(workspace, str) else None
    if not isinstance(subject, str):
        return None
    since = epoch_of(detail.get("since"))
    if kind in _BEGUN:
        wanted = detail.get("waiting_for")
        text = f"waits for you: {escape(str(wanted))}" if kind == "agent.waiting" else _BEGUN[kind]
        slot = Slot(_BEGUN[kind], place or "", subject)
    elif kind == "agent.inactive" and message.endswith(_KILLED):
        text, slot = "killed", Slot("killed", place or "", subject)
    elif kind == "agents.mass":
        text, slot = message, Slot("mass", place or "", subject)
    else:
        return None
    command = "coordctl agents" if kind == "agents.mass" else f"coordctl why {shell_word(subject)}"
    return Condition(
        kind=slot.kind,
        workspace=place,
        subject=subject,
        id=str(event.get("timestamp")),
        since=at if since is None else min(since, at),
        text=text,
        command=command,
    )
