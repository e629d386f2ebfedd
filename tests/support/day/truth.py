"""Know what is true of each agent, and what coordd may show of it: the oracle, which knows nothing of coordd's code.

Only two things are taken from coordd: when its next timer was due as it was stopped, and when it showed that
a source cannot be read; from these follow what it could observe. All times are the machine's monotonic ones.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

LAG = 2.0
"""Seconds within which something that happened has to be shown."""
FUZZ = 1.1
"""Seconds by which a gap may be taken for longer or shorter than it was."""
TIMEOUT, STALL, CALL_STALL, REFUSED = 120.0, 900.0, 7200.0, 30.0
FORGET, FORGET_ENDED = 86_400.0, 600.0
BEAT = 31.0
MEASURED = 130.0
"""Seconds after the start within which what an old call's processes do may not be known yet."""

What = Literal[
    "unknown", "idle", "turn", "call", "working-call", "waiting", "refused", "shell", "task", "leaving"
]
Kind = Literal["session", "beats", "registered"]
Shown = tuple[str, str, str | None]
"""Status, reason, activity."""
GONE: Shown = ("gone", "", None)


class Phase(NamedTuple):
    """What an agent does from ``since`` on; ``at`` is what its age counts from.

    ``shell`` is since when a shell works in the background beside that.
    """

    since: float
    what: What
    at: float
    shell: float | None = None


@dataclass(eq=False)
class Truth:
    """What is true of one agent.

    ``source`` is "" for the home, else a workspace. ``last_beat`` is of one that beats. ``end`` is how it
    went, at ``ended_at``: killed, ended in order, fell silent, or took its traces away.
    """

    key: tuple[str, str]
    kind: Kind
    source: str
    born: float
    phases: deque[Phase] = field(default_factory=lambda: deque(maxlen=400))
    last_beat: float = -math.inf
    end: Literal["killed", "ended", "silent", "left"] | None = None
    ended_at: float = math.inf
    shown: bool = False

    def does(self, what: What, now: float, at: float | None = None, shell: float | None = None) -> None:
        """Note that the agent does something else from now on."""
        self.phases.append(Phase(now, what, now if at is None else at, shell))


class Interval(NamedTuple):
    """A time in which something could not be observed."""

    begin: float
    end: float


@dataclass
class Observed:
    """What coordd could observe: when it ran, when not, and which sources it could read when.

    ``stops`` are the times in which it was stopped, ``gaps`` those parts of them in which a timer was due,
    ``downs`` those in which there was no coordd, ``sleeps`` when the machine slept and for how long, ``blind``
    the times in which each source could not be read, of which the last may go on.
    """

    started: float = -math.inf
    downs: list[Interval] = field(default_factory=list)
    gaps: list[Interval] = field(default_factory=list)
    stops: list[Interval] = field(default_factory=list)
    sleeps: list[tuple[float, float]] = field(default_factory=list)
    blind: dict[str, list[Interval]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def blind_since(self, source: str) -> float | None:
        """Return since when a source cannot be read; None where it can."""
        last = self.blind.get(source, [])[-1:]
        return last[0].begin if last and last[0].end == math.inf else None

    def note(self, source: str, unreadable_since: float | None, now: float) -> None:
        """Note since when a source cannot be read; None: it can."""
        intervals = self.blind.setdefault(source, [])
        since = self.blind_since(source)
        if unreadable_since is None and since is not None:
            intervals[-1] = Interval(since, now)
        elif unreadable_since is not None and since is None:
            intervals.append(Interval(unreadable_since, math.inf))

    def known_from(self, source: str | None, now: float) -> float:
        """Return the earliest moment whose truth may still be what is known; None: of processes alone."""
        begin = now - LAG
        unobserved = [*self.downs[-3:], *self.stops[-3:]]
        if source is not None:
            unobserved += self.blind.get(source, [])[-3:]
        for one in sorted(unobserved, reverse=True):
            if one.end >= begin:
                begin = min(begin, one.begin - LAG)
        return begin

    def real_age(self, since: float, now: float) -> float:
        """Return the time since a moment by the wall clock."""
        return now - since + sum(length for at, length in self.sleeps if at >= since)

    def first_read(self, source: str) -> float:
        """Return when a source was read for the first time since coordd started; infinite: not yet."""
        found = self.started
        for one in self.blind.get(source, ()):
            if one.begin <= found + LAG and one.end >= found:
                found = one.end
        return found

    def known_beat(self, source: str, beat: float) -> float:
        """Return the last beat that is surely known to coordd, if the last one was at this time."""
        unobserved = [*self.stops, *self.downs, *self.blind.get(source, ())]
        for one in sorted(unobserved, reverse=True, key=lambda one: one.end):
            if one.begin - LAG <= beat <= one.end + LAG:
                beat = one.begin - LAG - BEAT
        return beat

    def elapsed(self, source: str, since: float, now: float, *, open_counts: bool) -> tuple[float, float]:
        """Return the least and the most observed time since a moment.

        ``open_counts``: a time in which the source cannot be read counts for as long as it goes on.
        """
        low = high = now - since
        read = min(self.first_read(source), now)
        redated = since < read  # what was not observed before is not remembered
        every = [*self.gaps, *self.blind.get(source, ())]
        for one in _merged(every, FUZZ, since):
            low -= max(0.0, min(one.end, now) - max(one.begin, since))
        # what was written meanwhile is dated as it says
        whole = [one for one in _merged(every, 0.0, since) if one.begin >= since]
        kept = [one for one in whole if not redated or one.end > read]
        for one in _merged(kept, -FUZZ, since):
            if one.end < now or not open_counts:
                high -= max(0.0, min(one.end, now) - max(one.begin, since))
        if redated or any(one.end > since for one in self.blind.get(source, ())):
            # how much of an age by the wall clock the machine slept is not known: all of it may have been then
            low -= sum(length for at, length in self.sleeps if at < since)
        return max(0.0, low), max(0.0, high)


class Oracle:
    """Say what may be shown of an agent."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed

    def allowed(self, truth: Truth, now: float) -> set[Shown]:
        """Return what may be shown now; :data:`GONE` is that the agent is not shown at all."""
        return set(getattr(self, f"_{truth.kind}")(truth, now))

    # Those of which a process is known.

    def _session(self, truth: Truth, now: float) -> Iterator[Shown]:
        yield from self._with_process(truth, now, ["process"])

    def _registered(self, truth: Truth, now: float) -> Iterator[Shown]:
        seen_at = max(truth.born, self.observed.started)
        young = now - seen_at < 5 or self.observed.known_from(truth.source, now) < seen_at
        yield from self._with_process(truth, now, ["process", "heartbeat"] if young else ["process"])
        met = seen_at
        for one in sorted(self._unobserved(truth.source), key=lambda one: one.end):
            if one.begin - LAG <= met <= one.end:
                met = one.end
        if truth.ended_at <= met and now > met:
            yield "inactive", "silent", None  # its process was never seen alive
        if now - met < LAG and now - truth.last_beat >= TIMEOUT:
            yield "inactive", "silent", None  # coordd finds it so, and looks at its process a moment later

    def _with_process(self, truth: Truth, now: float, reasons: list[str]) -> Iterator[Shown]:
        seen_from = self.observed.known_from(None, now)
        read_from = self.observed.known_from(truth.source, now)
        blind = self.observed.blind_since(truth.source) is not None or read_from < now - LAG
        if truth.ended_at >= seen_from:  # it may be taken for alive
            for activity in self._activities(truth, now):
                for reason in reasons:
                    yield "active", reason, activity
            if truth.born >= read_from:
                yield GONE
        if truth.ended_at > now:
            return
        end = truth.end
        if truth.kind == "registered" and any(
            one.begin <= truth.ended_at <= one.end for one in self.observed.downs
        ):
            end = "ended"  # what kind of end it was nobody saw
        if end == "left":
            yield GONE
        else:
            yield "inactive", str(end), None
        if blind:
            yield "unknown", "unreachable", None
            if truth.kind == "registered":  # of how it ended nothing is known but its last beat
                yield "active", "heartbeat", "unknown"
                yield "inactive", "silent", None
        unseen = [one for one in self._unobserved(truth.source) if one.begin - LAG <= truth.born]
        if not truth.shown and any(truth.ended_at <= one.end + LAG for one in unseen):
            yield GONE  # it came and went while nobody looked
        if self.observed.real_age(truth.ended_at, now) > FORGET - 1:
            yield GONE
        if end == "ended":
            told = max([truth.ended_at, *(one.end for one in self._over(truth.ended_at, truth.source))])
            if now > truth.ended_at + FORGET_ENDED - 1:
                yield GONE
            if now > told + FORGET_ENDED + 10 and self.observed.started < told:
                yield "", "it has to be forgotten", None

    # Those that only beat.

    def _beats(self, truth: Truth, now: float) -> Iterator[Shown]:
        observed = self.observed
        read_from = observed.known_from(truth.source, now)
        if truth.born >= read_from:
            yield GONE
        if truth.end == "left" and truth.ended_at <= now:
            yield GONE
            if truth.ended_at < read_from:
                return
        readable = observed.blind_since(truth.source) is None
        alive = truth.ended_at >= read_from
        low, high = observed.elapsed(truth.source, truth.last_beat, now, open_counts=True)
        if alive or low < TIMEOUT + 1.5:
            for activity in self._activities(truth, now):
                yield "active", "heartbeat", activity
        silent = high >= TIMEOUT - 0.1
        if (not silent and observed.known_from(truth.source, now) < now - LAG) or not readable:
            known = observed.known_beat(truth.source, truth.last_beat)
            silent = observed.elapsed(truth.source, known, now, open_counts=True)[1] >= TIMEOUT - 0.1
        if silent and (not readable or read_from < now - LAG):
            yield "unknown", "unreachable", None
        if silent and truth.ended_at <= now:
            yield "inactive", "silent", None
            if observed.real_age(truth.last_beat, now) > FORGET - 1:
                yield GONE

    # What they do.

    def _activities(self, truth: Truth, now: float) -> set[str]:
        begin = self.observed.known_from(truth.source, now)
        found: set[str] = set()
        phases = truth.phases
        first = max(0, bisect_right(phases, begin, key=lambda one: one.since) - 1)
        unread = self.observed.first_read(truth.source) > now - LAG
        for index in range(first, len(phases)):
            found |= self._activity(truth, phases[index], now)
            if unread:  # what the records say, which were written before
                found |= self._activity(truth, phases[index], begin + LAG)
        if begin < now - LAG or self.observed.blind_since(truth.source) is not None:
            found.add("unknown")
        return found

    def _activity(self, truth: Truth, phase: Phase, now: float) -> set[str]:
        low, high = self.observed.elapsed(truth.source, phase.at, now, open_counts=False)
        since_start = now - self.observed.first_read(truth.source)
        match phase.what:
            case "unknown" | "idle" | "waiting":
                return {phase.what}
            case "leaving":
                return {"idle", "unknown"}
            case "refused":
                return _by_age(low, high, REFUSED, "working", "blocked")
            case "turn":
                found = _by_age(low, high, STALL, "working", "stalled")
                if phase.shell is not None:
                    ages = self.observed.elapsed(truth.source, phase.shell, now, open_counts=False)
                    shell = _by_age(*ages, CALL_STALL, "working", "")
                    found = {"working"} if shell == {"working"} else found | shell - {""}
                return found
            case "task":
                found = _by_age(low, high, STALL, "working", "stalled")
                read = self.observed.elapsed(truth.source, now - since_start, now, open_counts=False)
                if read[0] < STALL + LAG:  # a change before the start cannot be told from none
                    found.add("working")
                return found
            case "shell":
                return _by_age(low, high, CALL_STALL, "working", "idle")
            case "working-call":
                found = {"working"}
                if high >= CALL_STALL and since_start < MEASURED:
                    found.add("unknown")
                return found
            case "call":
                found = _by_age(low, high, CALL_STALL, "working", "stalled")
                if high >= CALL_STALL and since_start < STALL + MEASURED:
                    found.add("unknown")
                return found

    def _unobserved(self, source: str) -> list[Interval]:
        return [*self.observed.downs, *self.observed.stops, *self.observed.blind.get(source, ())]

    def _over(self, moment: float, source: str) -> list[Interval]:
        return [one for one in self._unobserved(source) if one.begin - LAG <= moment <= one.end]


def _merged(intervals: list[Interval], by: float, since: float) -> Iterator[Interval]:
    """Yield these intervals, each longer by some seconds at both ends, and those that overlap as one."""
    last = Interval(-math.inf, -math.inf)
    for one in sorted(Interval(one.begin - by, one.end + by) for one in intervals if one.end + by > since):
        if one.end <= one.begin:
            continue
        if one.begin > last.end:
            yield last
            last = one
        else:
            last = Interval(last.begin, max(last.end, one.end))
    yield last


def _by_age(low: float, high: float, limit: float, before: str, after: str) -> set[str]:
    found = set()
    if low < limit + LAG:
        found.add(before)
    if high >= limit - LAG:
        found.add(after)
    return found
