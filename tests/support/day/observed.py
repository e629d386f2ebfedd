"""Know what coordd could observe on a simulated machine: how much of a time at least, and at most.

Only two things are taken from coordd: when its next timer was due as it was stopped, and since when it showed
that a source cannot be read. All times are the machine's monotonic ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

LAG = 2.0
"""Seconds within which something that happened has to be shown."""
FUZZ = 1.1
"""Seconds by which a gap may be taken for longer or shorter than it was."""
BEAT = 31.0
"""Seconds between two beats, at most."""


class Interval(NamedTuple):
    """A time in which something could not be observed."""

    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        """Return whether a moment lies in it."""
        return self.begin <= moment <= self.end


@dataclass
class Observed:
    """What coordd could observe: when it ran, when not, and which sources it could read when.

    ``stops`` are the times in which it was stopped, ``gaps`` those parts of them in which a timer was due,
    ``downs`` those in which there was no coordd. ``sleeps`` is when the machine slept, and for how long.
    ``blind`` has the times in which each source could not be read, of which the last may go on.
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

    def seen_after(self, source: str, moment: float) -> float:
        """Return when something that happened at a moment could first be seen."""
        unobserved = [*self.downs, *self.stops, *self.blind.get(source, ())]
        for one in sorted(unobserved, key=lambda one: one.end):
            if one.begin - LAG <= moment <= one.end:
                moment = one.end
        return moment

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
            # of an age by the wall clock, the machine may have slept as long as it ever did
            low -= sum(length for at, length in self.sleeps if at < since)
        return max(0.0, low), max(0.0, high)


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
