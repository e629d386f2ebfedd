"""Find the last beat of an agent in what one source holds of it: one pure step for each reading.

A beat is any change of a heartbeat's content, mtime or inode, a push, or a new time of registration. Its time
is the written one where that can be true, else that of the change. No I/O and no clock: times are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from coordd.agents.session import Session
from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process

FUTURE = 5.0
"""Seconds by which a written time may lie ahead of the wall clock; one further ahead is ignored."""
ROUNDED = 1.0
"""Seconds by which two sources may date one beat differently: some writers give whole seconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """When and how traces were read.

    ``wall`` is the wall clock at the reading, ``mono`` the monotonic one, ``observed`` the source's observed
    clock, and ``blind`` the seconds that were taken out of that until now. ``since`` is the earliest observed
    time at which a change found now can have happened: that of the reading before, or ``observed`` when a
    push announced the change. ``timeout`` is agents.timeout in seconds. ``fresh`` marks the first reading of
    a source that was not followed until now: the age of a beat is then known from written times only.
    ``slept`` is the time for which this machine has slept since it was started, which may lie within any age
    that is known from written times.
    """

    wall: float
    mono: float
    observed: float
    since: float
    timeout: float
    fresh: bool = False
    blind: float = 0.0
    slept: float = 0.0


class LastBeat(NamedTuple):
    """The last beat: its wall time, its time on the source's clock, and the start of its unbroken run."""

    wall: float | None
    at: float | None
    run_since: float | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What the records say of an agent that was not read since coordd started.

    ``tasks`` and ``status`` are those of the record, ``wall`` is its time and ``seen`` the time at which its
    last beat was observed, whatever its writer's clock said (epoch seconds). ``shared`` is true when the
    record was of several sources, so that the beat may have come from another one. ``process`` is that of the
    record, ``ended`` when that ended, and ``session`` what it says of a session, with no turn but for the
    model and the tokens.
    """

    tasks: int | None = None
    status: str | None = None
    wall: float | None = None
    seen: float | None = None
    shared: bool = False
    process: Process | None = None
    ended: float | None = None
    session: Session | None = None

    @property
    def session_id(self) -> str | None:
        """The id of the session, None where the record names none."""
        return self.session.session_id if self.session else None


def first_beat(traces: AgentTraces, reading: Reading) -> LastBeat | None:
    """Return the last beat that the first reading of an agent finds; None if the agent has never beaten."""
    beat = _written_time(traces, reading.wall)
    return None if beat is None else LastBeat(beat, _observed_beat(beat, reading), beat)


def beat_after_restart(
    old: LastBeat, restored: Restored, traces: AgentTraces, reading: Reading
) -> LastBeat | None:
    """Return the beat in the first reading after a restart: one that the last run had not recorded."""
    beat = _unrecorded_beat(old.wall, restored, traces, reading.wall)
    if beat is None:
        return None
    broken = old.wall is None or beat - old.wall > reading.timeout
    return LastBeat(beat, observed_time(beat, reading), beat if broken else old.run_since)


def _unrecorded_beat(
    recorded: float | None, restored: Restored, traces: AgentTraces, wall: float
) -> float | None:
    """Return the latest beat that the traces prove to be later than the recorded one, None where they do not.

    While the recorded beat is still found in the traces, only what is clearly later than the record itself is
    new; otherwise whatever is later than that beat is new.
    """
    if recorded is None:
        return _written_time(traces, wall)
    known = any(_same_instant(time, recorded) for time in _all_times(traces))
    # A recorded time in the future: the clock was set back since, and the order of times proves nothing.
    if not known and recorded > wall + FUTURE:
        return _written_time(traces, wall)
    after = recorded + (ROUNDED if restored.shared else 0.0015)
    if known and restored.wall is not None:
        after = max(after, restored.wall + FUTURE)
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


def beat_since(old: LastBeat, before: AgentTraces, traces: AgentTraces, reading: Reading) -> LastBeat | None:
    """Return the beat that happened between two readings; None if the agent has not beaten since."""
    beat = _new_beat(before, traces, reading.wall)
    if beat is None:
        return None
    at = _observed_beat(beat, reading)
    if old.at is not None:
        at = max(at, old.at)  # its writer's clock may be slow
    broken = old.at is None or at - old.at > reading.timeout
    return LastBeat(beat, at, beat if broken else old.run_since)


def _observed_beat(beat: float, reading: Reading) -> float:
    """Return the beat's time on the source's clock: as written, but not before it can have happened."""
    written = observed_time(beat, reading)
    return written if reading.fresh else max(reading.since, written)


def observed_time(time: float, reading: Reading) -> float:
    """Return a time in epoch seconds on the source's observed clock; one ahead counts as now."""
    return reading.observed - max(0.0, reading.wall - time)


def _new_beat(before: AgentTraces, now: AgentTraces, wall: float) -> float | None:
    """Return the wall time of the beat between two readings; None if the agent has not beaten since."""
    beats = []
    if now.heartbeat and (before.heartbeat is None or before.heartbeat.identity != now.heartbeat.identity):
        written, mtime = now.heartbeat.written, now.heartbeat.mtime
        rewritten = before.heartbeat is None or before.heartbeat.written != written
        if written is not None and rewritten and written <= wall + FUTURE:
            beats.append(written)
        elif mtime is not None:
            beats.append(mtime if mtime <= wall + FUTURE else wall)
    if now.registration is not before.registration:
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


def started_at(traces: AgentTraces | None, wall: float) -> float | None:
    """Return when the agent says that it started, in epoch seconds; None for no time, or one ahead."""
    if traces is None:
        return None
    time = traces.registration.started_at if traces.registration else None
    if time is None and traces.session is not None:
        time = traces.session.started_at
    return None if time is None or time > wall + FUTURE else time


def _registered_at(traces: AgentTraces, wall: float) -> float | None:
    """Return when the agent registered or last renewed its registration, whichever is later."""
    if traces.registration is None:
        return None  # when a session began is no sign of life of its own
    times = [started_at(traces, wall), traces.registration.updated_at]
    return max((time for time in times if time is not None and time <= wall + FUTURE), default=None)


def _same_instant(a: float, b: float) -> bool:
    """Return whether two times are equal to the millisecond, which is what records keep."""
    return abs(a - b) < 0.0015
