"""Tell whether local time lies in quiet hours, and when these end; over midnight and over changes of clocks.

Quiet hours are spans from an instant to an instant, one for each day on which they begin. Where the clock
shows the time of an end twice, they end with the second; where it shows that of a beginning twice, they begin
with the first; where it never shows a time, the moment counts at which it jumps over it. So one night is one
span, whatever the clock does.

Pure, but for the local time zone, which is passed in as :func:`time.localtime` is.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Localtime = Callable[[float], time.struct_time]

_DAY = 86400
_EXPECTED = "expected local times such as '22:00-07:00'"


@dataclass(frozen=True, slots=True)
class Quiet:
    """Quiet hours: two different local times of the day, in minutes since midnight."""

    begin: int
    end: int

    def words(self) -> str:
        """Return them as they are written: ``22:00-07:00``."""
        return "-".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in (self.begin, self.end))

    def until(self, wall: float, localtime: Localtime = time.localtime) -> float | None:
        """Return when the quiet hours end in which a moment lies; None if it lies in none. Epoch seconds."""
        ends = [end for begin, end in self._spans(wall, localtime) if begin <= wall < end]
        return max(ends, default=None)

    def _spans(self, wall: float, localtime: Localtime) -> Iterator[tuple[float, float]]:
        """Yield the spans that begin on the day before, on this day and on the next."""
        today = localtime(wall)
        noon = timegm((today.tm_year, today.tm_mon, today.tm_mday, 0, 0, 0))
        for offset in (-1, 0, 1):
            day = noon + offset * _DAY
            last = day if self.end > self.begin else day + _DAY
            begin, end = _instants(day, self.begin, localtime), _instants(last, self.end, localtime)
            yield begin[0], end[-1]


def parse_quiet(value: object) -> Quiet:
    """Return the quiet hours that a text names.

    Raises:
        ValueError: it names none; the message says what was expected.
    """
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)
    parts = [part.strip().split(":") for part in value.split("-")]
    minutes = []
    for part in parts:
        if len(part) != 2 or not all(one.isascii() and one.isdigit() and len(one) <= 2 for one in part):
            raise ValueError(_EXPECTED)
        hour, minute = int(part[0]), int(part[1])
        if hour > 23 or minute > 59:
            raise ValueError(f"{_EXPECTED}, from 00:00 to 23:59")
        minutes.append(60 * hour + minute)
    if len(minutes) != 2:
        raise ValueError(_EXPECTED)
    if minutes[0] == minutes[1]:
        raise ValueError(f"{_EXPECTED}, of two different times")
    return Quiet(minutes[0], minutes[1])


def _instants(day: int, minute: int, localtime: Localtime) -> list[float]:
    """Return when the local clock shows a time of a day, one or two instants; or jumps over it.

    ``day`` is its midnight as if local time were UTC.
    """
    shown = day + 60 * minute
    offsets = sorted({localtime(shown - _DAY).tm_gmtoff, localtime(shown + _DAY).tm_gmtoff}, reverse=True)
    found = [float(shown - offset) for offset in offsets if localtime(shown - offset).tm_gmtoff == offset]
    return found or [_jump(float(shown - offsets[0]), float(shown - offsets[-1]), localtime)]


def _jump(before: float, after: float, localtime: Localtime) -> float:
    """Return the moment, to the second, at which the local clock changes between two."""
    offset = localtime(before).tm_gmtoff
    while after - before > 1:
        middle = (before + after) // 2
        if localtime(middle).tm_gmtoff == offset:
            before = middle
        else:
            after = middle
    return after
