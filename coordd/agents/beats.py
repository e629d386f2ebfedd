"""Find the last beat of an agent in what one source holds of it: one pure step for each reading.

Two traces are signs of life: the heartbeat, and the registration unless that says that the agent has ended.
Any change of content, mtime or inode of one is a beat, and so is a push. What is known of its time::

    written in it     changed (mtime, push)    first seen                         seen to change
    a time            within agents.timeout    the written time                   the written time
    a time            not so, both are old,    the time of the change             the time of the change
                      or both are young
    a time            one old, one young       the same, and doubtful             the time of the change
    a time            unknown                  the written time                   the written time
    an old time, a    unknown                  nothing                            the written time
    young one if local
    none, or one ahead of the clock            the time of the change             the time of the change

Doubtful: either time can be the lie, so nothing is known until the next beat, or for one timeout of silence.
Where a heartbeat tells nothing, no older sign says that the agent is silent: it is unknown until it changes.
No I/O and no clock: times are passed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from coordd.agents.declared import says_ended
from coordd.agents.session import Session
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.host.process_facts import Process

FUTURE = 5.0
"""Seconds by which a written time may lie ahead of the wall clock; one further ahead is ignored."""
BEHIND = 2.0
"""Seconds by which a change may be dated before the reading that did not see it yet: a coarse mtime."""
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
    """The last beat: its wall time, its time on the source's clock, and the start of its unbroken run.

    One that is ``doubtful`` counts as silence from when it was read, and as no sign of life.
    """

    wall: float | None
    at: float | None
    run_since: float | None
    doubtful: bool = False


class Sign(NamedTuple):
    """One trace that is a sign of life: what it says, when it changed (epoch seconds), and its identity.

    ``local`` is the written time in this machine's local time, where nothing tells the zone.
    """

    written: float | None
    changed: float | None
    identity: object
    local: float | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What the records say of an agent that was not read since coordd started.

    ``tasks`` and ``status`` are those of the record, ``wall`` is its time and ``seen`` the time at which its
    last beat was observed, whatever its writer's clock said (epoch seconds). ``shared`` is true when the
    record was of several sources, so that the beat may have come from another one. ``process`` is that of the
    record, ``ended`` when that ended, and ``session`` what it says of a session, with no turn but for the
    model and the tokens. ``quiet`` is true where no further word of it was due by then.
    """

    tasks: int | None = None
    status: str | None = None
    wall: float | None = None
    seen: float | None = None
    shared: bool = False
    process: Process | None = None
    ended: float | None = None
    session: Session | None = None
    quiet: bool = False

    @property
    def session_id(self) -> str | None:
        """The id of the session, None where the record names none."""
        return self.session.session_id if self.session else None


def first_beat(traces: AgentTraces, reading: Reading) -> LastBeat | None:
    """Return the last beat that the first reading of an agent finds; None if the agent has never beaten."""
    signs = list(_traced(traces))
    found = [_first_of(sign, reading) for _, sign in signs]
    certain = [beat for beat, doubtful in found if beat is not None and not doubtful]
    doubtful = [beat for beat, doubtful in found if beat is not None and doubtful]
    latest = max(certain, default=None)
    silent = latest is None or reading.wall - latest >= reading.timeout
    if silent and doubtful:
        beat = max(doubtful)
        return LastBeat(beat, reading.observed, beat, doubtful=True)
    if latest is None or (silent and any(_tells_nothing(*one, reading) for one in signs)):
        return None
    return LastBeat(latest, _observed_beat(latest, reading), latest)


def _tells_nothing(trace: Heartbeat | Registration, sign: Sign, reading: Reading) -> bool:
    """Return whether a trace leaves it open when it was written, so that its agent may live."""
    if sign.changed is not None:
        return False
    if _possible(sign.written, reading.wall) is None:
        return isinstance(trace, Heartbeat)
    return _is_open(sign, reading)


def _is_open(sign: Sign, reading: Reading) -> bool:
    """Return whether the written time is old in UTC, young in local time, and nothing tells which it is."""
    if sign.written is None or sign.local is None:
        return False
    age, local_age = reading.wall - sign.written, reading.wall - sign.local
    return -FUTURE <= local_age < reading.timeout <= age


def _first_of(sign: Sign, reading: Reading) -> tuple[float | None, bool]:
    """Return the time of a sign that is seen for the first time, and whether it is doubtful."""
    written, changed = _possible(sign.written, reading.wall), sign.changed
    if changed is not None and changed > reading.wall + FUTURE:
        changed = reading.wall
    if changed is None:
        return (None if _is_open(sign, reading) else written), False
    if written is None:
        return changed, False
    if abs(written - changed) <= reading.timeout:
        return written, False
    old = [reading.wall - time >= reading.timeout for time in (written, changed)]
    # a source that was followed all the time has seen nothing there: the change is no lie
    return changed, reading.fresh and old[0] != old[1]


def beat_after_restart(
    old: LastBeat, restored: Restored, traces: AgentTraces, reading: Reading
) -> LastBeat | None:
    """Return the beat in the first reading after a restart: one that the last run had not recorded."""
    recorded = old.wall
    if recorded is None:
        return first_beat(traces, reading)
    known = any(_same_instant(time, recorded) for time in _all_times(traces))
    # A recorded time in the future: the clock was set back since, and the order of times proves nothing.
    if not known and recorded > reading.wall + FUTURE:
        return first_beat(traces, reading)
    beat = _unrecorded_beat(recorded, restored, traces, reading, known=known)
    if beat is None:
        return None
    broken = beat - recorded > reading.timeout
    return LastBeat(beat, observed_time(beat, reading), beat if broken else old.run_since)


def _unrecorded_beat(
    recorded: float, restored: Restored, traces: AgentTraces, reading: Reading, *, known: bool
) -> float | None:
    """Return the latest beat that the traces prove to be later than the recorded one, None where they do not.

    While the recorded beat is still found in the traces, only what is clearly later than the record itself is
    new; otherwise whatever is later than that beat is new.
    """
    after = recorded + (ROUNDED if restored.shared else 0.0015)
    if known and restored.wall is not None:
        after = max(after, restored.wall + FUTURE)
    if restored.ended is not None:  # what it did before it ended is no life, whatever of it was recorded
        after = max(after, restored.ended)
    beats = []
    for _, sign in _traced(traces):
        if sign.local is not None and _same_instant(sign.local, recorded):
            continue
        written = _possible(sign.written, reading.wall)
        changed = _possible(sign.changed, reading.wall)
        if written is not None and written <= after:
            written = None
        if changed is not None and changed <= after:
            continue  # whatever it says, it has not changed since
        if written is not None and changed is not None and abs(written - changed) > reading.timeout:
            written = None
        beats += [time for time in (written, changed) if time is not None][:1]
    return max(beats, default=None)


def beat_since(old: LastBeat, before: AgentTraces, traces: AgentTraces, reading: Reading) -> LastBeat | None:
    """Return the beat that happened between two readings; None if the agent has not beaten since."""
    beat = _new_beat(before, traces, reading)
    if beat is None:
        return None
    at = _observed_beat(beat, reading)
    if old.at is not None and not old.doubtful:
        at = max(at, old.at)  # its writer's clock may be slow
    broken = old.at is None or old.doubtful or at - old.at > reading.timeout
    return LastBeat(beat, at, beat if broken else old.run_since)


def _observed_beat(beat: float, reading: Reading) -> float:
    """Return the beat's time on the source's clock: as written, but not before it can have happened."""
    written = observed_time(beat, reading)
    return written if reading.fresh else max(reading.since, written)


def observed_time(time: float, reading: Reading) -> float:
    """Return a time in epoch seconds on the source's observed clock; one ahead counts as now."""
    return reading.observed - max(0.0, reading.wall - time)


def _new_beat(before: AgentTraces, now: AgentTraces, reading: Reading) -> float | None:
    """Return the wall time of the beat between two readings; None if the agent has not beaten since."""
    if before.heartbeat is now.heartbeat and before.registration is now.registration:
        return None
    earlier = {type(trace): sign for trace, sign in _traced(before)}
    beats = []
    for trace, sign in _traced(now):
        known = earlier.get(type(trace))
        if known is not None and known.identity == sign.identity:
            continue
        changed = _seen_to_change(sign.changed, reading)
        written = _possible(sign.written, reading.wall)
        if known is not None and known.written == sign.written:
            written = None  # it was touched: the change alone says when
        if written is None or (changed is not None and abs(written - changed) > reading.timeout):
            written = changed
        if written is not None:
            beats.append(written)
    return max(beats, default=None)


def _seen_to_change(changed: float | None, reading: Reading) -> float | None:
    """Return when a trace changed that was read before: what its mtime says if that can be, else now.

    None where nothing tells: a key of Redis, the change of which nobody saw.
    """
    if changed is None:
        return None
    if changed > reading.wall + FUTURE:
        return reading.wall
    earliest = reading.wall - (reading.observed - reading.since) - BEHIND
    return changed if reading.fresh or changed >= earliest else reading.wall


def _traced(traces: AgentTraces) -> Iterator[tuple[Heartbeat | Registration, Sign]]:
    """Yield the traces that are signs of life, each with what it says."""
    beat, registration = traces.heartbeat, traces.registration
    if beat is not None:
        yield beat, Sign(beat.written, beat.mtime, beat.identity, beat.local)
    if registration is not None and not says_ended(registration.status):
        told = registration.updated_at
        written = registration.started_at if told is None else told
        identity = registration.identity or written
        yield registration, Sign(written, registration.written, identity, registration.local)


def _possible(time: float | None, wall: float) -> float | None:
    """Return the time, None where it lies ahead of the clock."""
    return None if time is None or time > wall + FUTURE else time


def _all_times(traces: AgentTraces) -> list[float]:
    times: list[float | None] = []
    if traces.heartbeat:
        times += (traces.heartbeat.mtime, traces.heartbeat.written, traces.heartbeat.local)
    if traces.registration:
        registration = traces.registration
        times += (registration.started_at, registration.updated_at)
        times += (registration.written, registration.local)
    return [time for time in times if time is not None]


def started_at(traces: AgentTraces | None, wall: float) -> float | None:
    """Return when the agent says that it started, in epoch seconds; None for no time, or one ahead."""
    if traces is None:
        return None
    time = traces.registration.started_at if traces.registration else None
    if time is None and traces.session is not None:
        time = traces.session.started_at
    return None if time is None or time > wall + FUTURE else time


def _same_instant(a: float, b: float) -> bool:
    """Return whether two times are equal to the millisecond, which is what records keep."""
    return abs(a - b) < 0.0015
