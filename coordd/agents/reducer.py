"""From what was read of an agent to what is known of it: one pure step per reading.

:func:`advance` takes the agent as it was known and its traces as they are now, and returns the agent as it is
known now. It neither reads nor writes and knows no clock but the ones passed in; the same values feed the
records, the socket and every client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.traces import AgentTraces
from coordd.model import AgentSample, AgentView, Cause
from coordd.util.timestamps import format_utc

FUTURE = 5.0
"""A written time further ahead than this many seconds is no evidence of when it was written."""
ROUNDED = 1.0
"""Two sources may date one beat differently by this many seconds: some writers give whole seconds."""

Key = tuple[str | None, str]
"""(workspace, agent_id)."""


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """What is known of one agent.

    ``beat_wall`` is the time of the last beat as it is shown, ``beat_at`` the same on its source's observed
    clock; both None when no beat was ever seen. ``run_since`` is the first beat (wall) of the unbroken run.
    ``traces`` is None for an agent restored from the records that has not been read again yet;
    ``restored_wall`` is the wall time at which those said what is known of it, ``restored_seen`` the one at
    which its last beat was observed, whatever time its writer's clock gave it; ``restored_both`` says that
    the record was of two sources, so that its beat may be the other one's.
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
        """How many tasks the agent has; None is unknown."""
        return self.restored_tasks if self.traces is None else _count_tasks(self.traces)

    @property
    def declared_status(self) -> str | None:
        """What the agent's registration says of itself."""
        if self.traces is None:
            return self.restored_status
        registration = self.traces.registration
        return registration.status if registration else None

    def evidence(self, observed: float, *, timeout: float, readable: bool) -> Evidence:
        """What a verdict at the observed time rests on."""
        silence = None if self.beat_at is None else max(0.0, observed - self.beat_at)
        hidden = self.traces is not None and self.traces.hidden
        return Evidence(silence=silence, timeout=timeout, readable=readable and not hidden)


@dataclass(frozen=True, slots=True)
class Reading:
    """When and how traces were read.

    ``observed`` is the source's clock at the reading. ``since`` is the earliest observed time at which a
    change found now can have happened: the reading before, or ``observed`` itself when a push announced the
    change. ``fresh`` marks the first reading of a source that was not followed until now: only what is
    written can tell how old a beat is. ``starting`` says that coordd itself is starting.
    Without ``counts`` silence says nothing: nobody could beat.
    """

    wall: float
    observed: float
    since: float
    timeout: float
    fresh: bool = False
    starting: bool = False
    counts: bool = True


class _LastBeat(NamedTuple):
    """The last beat: as shown, on the source's clock, and the first one of its unbroken run."""

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
    """One agent after one reading; the very same object when nothing was read that was not known.

    :func:`changed` tells whether the difference is worth a sample; then ``cause`` names it: ``start``,
    ``appeared``, ``heartbeat``, ``verdict`` or ``tasks``. ``elsewhere`` is what another source that sees the
    same agent has to say for the verdict.
    """
    if old is None:
        beat = _first_sight(traces, reading)
    elif old.traces is None:
        beat = _seen_again(old, traces, reading)
    else:
        beat = _seen_on(old, old.traces, traces, reading)
    if beat is None:
        beat = _LastBeat(old.beat_wall, old.beat_at, old.run_since) if old else _LastBeat(None, None, None)
    silence = None if beat.at is None else max(0.0, reading.observed - beat.at)
    readable = reading.counts and not traces.hidden
    evidence = Evidence(silence=silence, timeout=reading.timeout, readable=readable)
    verdict = judge(evidence if elsewhere is None else together(evidence, elsewhere))
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


def together(one: Evidence, other: Evidence) -> Evidence:
    """What two sources that see one agent say of it: the shorter silence; neither may be out of sight."""
    silences = [silence for silence in (one.silence, other.silence) if silence is not None]
    return Evidence(
        silence=min(silences, default=None),
        timeout=one.timeout,
        readable=one.readable and other.readable,
    )


def _cause(
    old: KnownAgent | None, beat: _LastBeat, verdict: Verdict, traces: AgentTraces, reading: Reading
) -> Cause | None:
    """What makes the step worth a sample, None where nothing does."""
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
    """Whether the step from ``old`` to ``new``, both as they are shown, is worth a sample.

    Of an agent that two sources see, a beat that both tell of is one, whose clock ever it was observed on.
    """
    return old is None or (
        (new.beat_at != old.beat_at and len(new.sources) == 1)
        or new.beat_wall != old.beat_wall
        or new.sources != old.sources
        or new.verdict != old.verdict
        or new.active_tasks != old.active_tasks
    )


def sample_of(agent: KnownAgent, *, verdict: Verdict, wall: float, host: str) -> AgentSample:
    """The agent as a record shows it at the moment ``wall``."""
    return AgentSample(**_fields(agent, verdict, wall, host))


def view_of(agent: KnownAgent, *, verdict: Verdict, age: float | None, wall: float, host: str) -> AgentView:
    """The agent as an answer shows it at the moment ``wall``, ``age`` seconds after its last beat."""
    rounded = None if age is None else round(age, 3)
    return AgentView(**_fields(agent, verdict, wall, host), last_heartbeat_age=rounded)


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
    """Seconds since the agent started, else since the first beat of its unbroken run.

    An inactive agent's uptime ended with its last beat; of an unknown one nobody can tell.
    """
    start = _started_at(agent.traces, wall) or agent.run_since
    end = {"active": wall, "inactive": agent.beat_wall, "unknown": None}[verdict.status]
    if start is None or end is None:
        return None
    return round(max(0.0, end - start), 3)


def _count_tasks(traces: AgentTraces) -> int | None:
    return None if traces.tasks is None else len(traces.tasks) + traces.unnamed_tasks


def _first_sight(traces: AgentTraces, reading: Reading) -> _LastBeat | None:
    beat = _written_time(traces, reading.wall)
    return None if beat is None else _LastBeat(beat, _observed_beat(beat, reading), beat)


def _seen_again(old: KnownAgent, traces: AgentTraces, reading: Reading) -> _LastBeat | None:
    """The first reading after a restart: only what was not recorded before is a beat."""
    beat = _unrecorded_beat(old, traces, reading.wall)
    if beat is None:
        return None
    broken = old.beat_wall is None or beat - old.beat_wall > reading.timeout
    at = reading.observed - max(0.0, reading.wall - beat)
    return _LastBeat(beat, at, beat if broken else old.run_since)


def _unrecorded_beat(old: KnownAgent, traces: AgentTraces, wall: float) -> float | None:
    """The latest beat that the traces prove to be later than the recorded one, None where they do not.

    While the recorded beat is still found in the traces they are taken to be the same ones, but for what is
    clearly later than the record itself; otherwise whatever is later than that beat is new.
    """
    recorded = old.beat_wall
    if recorded is None:
        return _written_time(traces, wall)
    known = any(_same_instant(time, recorded) for time in _all_times(traces))
    if not known and recorded > wall + FUTURE:  # the clock was set back since: later or not tells nothing
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


def _seen_on(old: KnownAgent, before: AgentTraces, traces: AgentTraces, reading: Reading) -> _LastBeat | None:
    beat = _new_beat(before, traces, reading.wall)
    if beat is None:
        return None
    at = _observed_beat(beat, reading)
    if old.beat_at is not None:
        at = max(at, old.beat_at)  # its writer's clock may be slow
    broken = old.beat_at is None or at - old.beat_at > reading.timeout
    return _LastBeat(beat, at, beat if broken else old.run_since)


def _observed_beat(beat: float, reading: Reading) -> float:
    """When the beat was on the source's clock: as written, but not before it can have happened."""
    written = reading.observed - max(0.0, reading.wall - beat)
    return written if reading.fresh else max(reading.since, written)


def _new_beat(before: AgentTraces, now: AgentTraces, wall: float) -> float | None:
    """The time of the beat that lies between two readings, None where there is none."""
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
    """When the last beat was, going by what is written: content, else mtime, or a later registration."""
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
    """When the agent registered or last renewed its registration, whichever is later."""
    times = [_started_at(traces, wall), traces.registration.updated_at if traces.registration else None]
    return max((time for time in times if time is not None and time <= wall + FUTURE), default=None)


def _same_instant(a: float, b: float) -> bool:
    """Equal to the millisecond, as far as records keep it."""
    return abs(a - b) < 0.0015
