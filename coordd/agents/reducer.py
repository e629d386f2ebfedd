"""Reduce what was read of an agent to what is known of it: one pure step for each reading.

:func:`advance` takes the agent as it was known and its traces as they are now, and returns the agent as it is
known now. It does no I/O and reads no clock: times are passed in. The same values feed the records, the
socket and every client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.traces import AgentTraces
from coordd.model import AgentSample, Cause
from coordd.util.timestamps import format_utc

FUTURE = 5.0
"""Seconds by which a written time may lie ahead of the wall clock; one further ahead is ignored."""
ROUNDED = 1.0
"""Seconds by which two sources may date one beat differently: some writers give whole seconds."""

Key = tuple[str | None, str]
"""(workspace, agent_id); the workspace is None for an agent that Redis alone sees."""


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """One agent as far as it is known.

    ``beat_wall`` is the time of the last beat as it is shown (epoch seconds), ``beat_at`` the same on its
    source's observed clock; both are None when no beat was ever seen. ``run_since`` is the wall time of the
    first beat of the unbroken run. ``traces`` is None for an agent that was restored from the records and has
    not been read since. Of such an agent ``restored_wall`` is the wall time of its record, ``restored_seen``
    the wall time at which its last beat was observed (whatever its writer's clock said), and
    ``restored_both`` is true when the record was of two sources, so that the beat may have come from the
    other one.
    """

    key: Key
    verdict: Verdict
    cause: Cause
    traces: AgentTraces | None
    beat_wall: float | None = None
    beat_at: float | None = None
    run_since: float | None = None
    restored_tasks: int | None = None
    restored_status: str | None = None
    restored_wall: float | None = None
    restored_seen: float | None = None
    restored_both: bool = False
    sources: tuple[str, ...] = ("file",)

    @property
    def active_tasks(self) -> int | None:
        """The number of tasks on the agent's own list; None is unknown."""
        return self.restored_tasks if self.traces is None else _count_tasks(self.traces)

    @property
    def declared_status(self) -> str | None:
        """The status that the agent gives itself in its registration; None where it gives none."""
        if self.traces is None:
            return self.restored_status
        registration = self.traces.registration
        return registration.status if registration else None

    def evidence(self, observed: float, *, timeout: float, readable: bool) -> Evidence:
        """Return what a verdict at the observed time depends on."""
        silence = None if self.beat_at is None else max(0.0, observed - self.beat_at)
        hidden = self.traces is not None and self.traces.hidden
        return Evidence(silence=silence, timeout=timeout, readable=readable and not hidden)


@dataclass(frozen=True, slots=True)
class Reading:
    """When and how traces were read.

    ``wall`` is the wall clock at the reading, ``observed`` the source's observed clock. ``since`` is the
    earliest observed time at which a change found now can have happened: that of the reading before, or
    ``observed`` when a push announced the change. ``timeout`` is agents.timeout in seconds. ``fresh`` marks
    the first reading of a source that was not followed until now: the age of a beat is then known from
    written times only. ``starting`` is true while coordd itself starts. ``counts`` is false while no agent of
    this source can beat: silence then proves nothing.
    """

    wall: float
    observed: float
    since: float
    timeout: float
    fresh: bool = False
    starting: bool = False
    counts: bool = True


class _LastBeat(NamedTuple):
    """The last beat: its wall time, its time on the source's clock, and the start of its unbroken run."""

    wall: float | None
    at: float | None
    run_since: float | None


def advance(
    old: KnownAgent | None,
    key: Key,
    traces: AgentTraces,
    reading: Reading,
    elsewhere: Evidence | None = None,
) -> KnownAgent:
    """Return one agent as it is known after one reading; ``old`` itself when the reading changes nothing.

    ``cause`` of the result names what changed: ``start``, ``appeared``, ``heartbeat``, ``verdict`` or
    ``tasks``; :func:`changed` decides whether that is worth a sample.

    Args:
        old: the agent before; None for a new one.
        key: its key.
        traces: what was read of it.
        reading: when and how.
        elsewhere: the evidence of another source that sees the same agent; it counts for the verdict.
    """
    if old is None:
        beat = _first_beat(traces, reading)
    elif old.traces is None:
        beat = _beat_after_restart(old, traces, reading)
    else:
        beat = _beat_since(old, old.traces, traces, reading)
    if beat is None:
        beat = _LastBeat(old.beat_wall, old.beat_at, old.run_since) if old else _LastBeat(None, None, None)
    silence = None if beat.at is None else max(0.0, reading.observed - beat.at)
    readable = reading.counts and not traces.hidden
    evidence = Evidence(silence=silence, timeout=reading.timeout, readable=readable)
    verdict = judge(evidence if elsewhere is None else combine(evidence, elsewhere))
    cause = _cause(old, beat, verdict, traces, reading)
    if old is not None and cause is None and old.traces == traces:
        return old
    return KnownAgent(
        key=key,
        verdict=verdict,
        cause=cause or (old.cause if old else "appeared"),
        traces=traces,
        beat_wall=beat.wall,
        beat_at=beat.at,
        run_since=beat.run_since,
        restored_tasks=old.restored_tasks if old else None,
        sources=("redis",) if key[0] is None else ("file",),
    )


def combine(one: Evidence, other: Evidence) -> Evidence:
    """Combine the evidence of two sources that see one agent: the shorter silence; readable if both are."""
    silences = [silence for silence in (one.silence, other.silence) if silence is not None]
    return Evidence(
        silence=min(silences, default=None),
        timeout=one.timeout,
        readable=one.readable and other.readable,
    )


def _cause(
    old: KnownAgent | None, beat: _LastBeat, verdict: Verdict, traces: AgentTraces, reading: Reading
) -> Cause | None:
    """Return what makes the step worth a sample, None where nothing does."""
    if old is None:
        return "start" if reading.starting else "appeared"
    if beat.at != old.beat_at or beat.wall != old.beat_wall:
        return "heartbeat"
    if verdict != old.verdict:
        return "verdict"
    if old.active_tasks != _count_tasks(traces):
        return "tasks"
    return None


def changed(old: KnownAgent | None, new: KnownAgent) -> bool:
    """Return whether the step from ``old`` to ``new``, both as they are shown, is worth a sample.

    A beat that two sources report is one beat: then the observed clock of either source is left out of
    account.
    """
    return old is None or (
        (new.beat_at != old.beat_at and len(new.sources) == 1)
        or new.beat_wall != old.beat_wall
        or new.sources != old.sources
        or new.verdict != old.verdict
        or new.active_tasks != old.active_tasks
    )


def sample_of(agent: KnownAgent, *, verdict: Verdict, wall: float, host: str) -> AgentSample:
    """Return the agent's record at the moment ``wall``."""
    return AgentSample(**_fields(agent, verdict, wall, host))


def view_fields(
    agent: KnownAgent, *, verdict: Verdict, age: float | None, wall: float, host: str
) -> dict[str, Any]:
    """Return the fields of its view at the moment ``wall``, ``age`` seconds after the last beat."""
    fields = _fields(agent, verdict, wall, host)
    fields["last_heartbeat_age"] = None if age is None else round(age, 3)
    return fields


def _fields(agent: KnownAgent, verdict: Verdict, wall: float, host: str) -> dict[str, Any]:
    return {
        "timestamp": format_utc(wall),
        "host": host,
        "workspace": agent.key[0],
        "agent_id": agent.key[1],
        "status": verdict.status,
        "reason": verdict.reason,
        "cause": agent.cause,
        "active_tasks": agent.active_tasks,
        "uptime": uptime(agent, verdict, wall),
        "last_heartbeat": None if agent.beat_wall is None else format_utc(agent.beat_wall),
        "declared_status": agent.declared_status,
        "sources": agent.sources,
    }


def uptime(agent: KnownAgent, verdict: Verdict, wall: float) -> float | None:
    """Return the seconds since the agent started, or else since the first beat of its unbroken run.

    The uptime of an inactive agent ends with its last beat; that of an unknown agent is None.
    """
    start = _started_at(agent.traces, wall) or agent.run_since
    end = {"active": wall, "inactive": agent.beat_wall, "unknown": None}[verdict.status]
    if start is None or end is None:
        return None
    return round(max(0.0, end - start), 3)


def _count_tasks(traces: AgentTraces) -> int | None:
    return None if traces.tasks is None else len(traces.tasks) + traces.unnamed_tasks


def _first_beat(traces: AgentTraces, reading: Reading) -> _LastBeat | None:
    beat = _written_time(traces, reading.wall)
    return None if beat is None else _LastBeat(beat, _observed_beat(beat, reading), beat)


def _beat_after_restart(old: KnownAgent, traces: AgentTraces, reading: Reading) -> _LastBeat | None:
    """Return the beat in the first reading after a restart: one that the last run had not recorded."""
    beat = _unrecorded_beat(old, traces, reading.wall)
    if beat is None:
        return None
    broken = old.beat_wall is None or beat - old.beat_wall > reading.timeout
    at = reading.observed - max(0.0, reading.wall - beat)
    return _LastBeat(beat, at, beat if broken else old.run_since)


def _unrecorded_beat(old: KnownAgent, traces: AgentTraces, wall: float) -> float | None:
    """Return the latest beat that the traces prove to be later than the recorded one, None where they do not.

    While the recorded beat is still found in the traces, only what is clearly later than the record itself is
    new; otherwise whatever is later than that beat is new.
    """
    recorded = old.beat_wall
    if recorded is None:
        return _written_time(traces, wall)
    known = any(_same_instant(time, recorded) for time in _all_times(traces))
    # A recorded time in the future: the clock was set back since, and the order of times proves nothing.
    if not known and recorded > wall + FUTURE:
        return _written_time(traces, wall)
    after = recorded + (ROUNDED if old.restored_both else 0.0015)
    if known and old.restored_wall is not None:
        after = max(after, old.restored_wall + FUTURE)
    beats = []
    if traces.heartbeat:
        written, mtime = traces.heartbeat.written, traces.heartbeat.mtime
        if not known or (mtime is not None and after < mtime <= wall + FUTURE):
            candidates = (mtime,) if written is None or written > wall + FUTURE else (written, mtime)
            beats += [time for time in candidates if time is not None and after < time <= wall + FUTURE][:1]
    registered = _registered_at(traces, wall)
    if registered is not None and registered > after:
        beats.append(registered)
    return max(beats, default=None)


def _beat_since(
    old: KnownAgent, before: AgentTraces, traces: AgentTraces, reading: Reading
) -> _LastBeat | None:
    beat = _new_beat(before, traces, reading.wall)
    if beat is None:
        return None
    at = _observed_beat(beat, reading)
    if old.beat_at is not None:
        at = max(at, old.beat_at)  # its writer's clock may be slow
    broken = old.beat_at is None or at - old.beat_at > reading.timeout
    return _LastBeat(beat, at, beat if broken else old.run_since)


def _observed_beat(beat: float, reading: Reading) -> float:
    """Return the beat's time on the source's clock: as written, but not before it can have happened."""
    written = reading.observed - max(0.0, reading.wall - beat)
    return written if reading.fresh else max(reading.since, written)


def _new_beat(before: AgentTraces, now: AgentTraces, wall: float) -> float | None:
    """Return the wall time of the beat between two readings, None where there is none."""
    beats = []
    if now.heartbeat and (before.heartbeat is None or before.heartbeat.identity != now.heartbeat.identity):
        written, mtime = now.heartbeat.written, now.heartbeat.mtime
        rewritten = before.heartbeat is None or before.heartbeat.written != written
        if written is not None and rewritten and written <= wall + FUTURE:
            beats.append(written)
        elif mtime is not None:
            beats.append(mtime if mtime <= wall + FUTURE else wall)
    registered, registered_before = _registered_at(now, wall), _registered_at(before, wall)
    if registered is not None and registered != registered_before:
        beats.append(registered)
    return max(beats, default=None)


def _written_time(traces: AgentTraces, wall: float) -> float | None:
    """Return the last beat by written times: the content, else the mtime, or a later registration."""
    beats = []
    if traces.heartbeat:
        written, mtime = traces.heartbeat.written, traces.heartbeat.mtime
        if written is not None and written <= wall + FUTURE:
            beats.append(written)
        elif mtime is not None:
            beats.append(mtime if mtime <= wall + FUTURE else wall)
    registered = _registered_at(traces, wall)
    if registered is not None:
        beats.append(registered)
    return max(beats, default=None)


def _all_times(traces: AgentTraces) -> list[float]:
    times: list[float | None] = []
    if traces.heartbeat:
        times += (traces.heartbeat.mtime, traces.heartbeat.written)
    if traces.registration:
        times += (traces.registration.started_at, traces.registration.updated_at)
    return [time for time in times if time is not None]


def _started_at(traces: AgentTraces | None, wall: float) -> float | None:
    registration = traces.registration if traces else None
    if registration is None or registration.started_at is None or registration.started_at > wall + FUTURE:
        return None
    return registration.started_at


def _registered_at(traces: AgentTraces, wall: float) -> float | None:
    """Return when the agent registered or last renewed its registration, whichever is later."""
    times = [_started_at(traces, wall), traces.registration.updated_at if traces.registration else None]
    return max((time for time in times if time is not None and time <= wall + FUTURE), default=None)


def _same_instant(a: float, b: float) -> bool:
    """Return whether two times are equal to the millisecond, which is what records keep."""
    return abs(a - b) < 0.0015
