"""Read a time that a stranger wrote, and find out in which zone. Pure: no clock is read.

Many forms are met in the wild::

    written                                       means
    ISO-8601 with a zone                          that moment
    ISO-8601 without one                          UTC or this machine's local time: see :func:`zone_of`
    a number, or its text                         seconds, milliseconds, microseconds or nanoseconds
                                                  since 1970, told apart by magnitude
    before 2001, or over a day ahead of the time  no time: a counter, a process id, another field
    at which it was written

Times are epoch seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from time import gmtime, localtime, mktime
from typing import Literal, NamedTuple

EARLIEST = 978307200.0
"""2001-01-01T00:00:00Z: what is written as a time and lies before it is none."""
AHEAD = 86400.0
"""Seconds by which a written time may lie ahead of the moment at which it was written."""
LATEST = 253402300799.0
"""9999-12-31T23:59:59Z, the last second that can be written."""
AGREES = 900.0
"""Seconds within which two times are one moment, written in two ways: half of the least offset of a zone."""

Zone = Literal["utc", "local"]

_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
"""(numbers below it, how many of them make a second)"""
_LONGEST = 64


class WrittenTime(NamedTuple):
    """A time as written: ``epoch`` is it in UTC if ``zoneless``, and then may be local time instead."""

    epoch: float
    zoneless: bool = False

    def in_zone(self, zone: Zone, near: float | None = None) -> float:
        """Return the moment that it means in this zone; of two such moments the one nearer to ``near``."""
        return _as_local(self.epoch, near) if self.zoneless and zone == "local" else self.epoch


def read_time(value: object) -> WrittenTime:
    """Read a time from ISO-8601, or from a number or its text.

    Raises:
        ValueError: it is neither, or no time after 2000.
    """
    if isinstance(value, str):
        time = _from_text(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        time = WrittenTime(_from_number(value))
    else:
        raise ValueError("neither text nor a number")
    if not EARLIEST <= time.epoch <= LATEST:  # local time can differ by a day; no more is at stake
        raise ValueError("before 2001, or after 9999")
    return time


def _from_number(value: float) -> float:
    for bound, units in _UNITS:
        if value < bound:
            return float(value) / units
    raise ValueError("too large for a time")


def _from_text(text: str) -> WrittenTime:
    if len(text) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    if text[4:5] != "-":  # the other dates are rare
        digits = text.lstrip("+")
        if digits.isascii() and digits.replace(".", "", 1).isdigit() and not _is_date(digits):
            return WrittenTime(_from_number(int(digits) if digits.isdigit() else float(digits)))
    moment = datetime.fromisoformat(text)
    zoneless = moment.tzinfo is None
    try:
        return WrittenTime((moment.replace(tzinfo=UTC) if zoneless else moment).timestamp(), zoneless)
    except OverflowError as error:
        raise ValueError("out of range") from error


def _is_date(digits: str) -> bool:
    """Return whether it is a compact date, such as 20261122, and not a number of seconds."""
    return len(digits) == 8 and digits.isdigit() and "2001" <= digits[:4] <= "9999"


def zone_of(times: Iterable[WrittenTime], anchors: Sequence[float]) -> Zone:
    """Return in which zone the times of one object are written that name none: UTC if nothing tells.

    A writer writes all of its times in one way, so the first time that tells decides for all.

    Args:
        times: those of the object that lie in the past, the latest first as far as that is known.
        anchors: moments at which it may have been written: the time of the file or of the push, and what the
            object says itself with a zone.
    """
    zoneless = [time for time in times if time.zoneless]
    for time in zoneless:
        for anchor in anchors:
            if abs(time.epoch - anchor) <= AGREES:
                return "utc"
            if abs(time.in_zone("local", anchor) - anchor) <= AGREES:
                return "local"
    if zoneless and anchors:
        latest = max(anchors) + AGREES  # nothing was written that lay ahead then
        if any(time.epoch > latest for time in zoneless):
            return "local" if all(time.in_zone("local", latest) <= latest for time in zoneless) else "utc"
    return "utc"


@lru_cache(maxsize=64)
def _offsets(quarter: float) -> tuple[float, ...]:
    """Return by how much local time differs from UTC around then: two values where clocks go back."""
    fields = gmtime(quarter)
    try:
        moments = dict.fromkeys(mktime((*fields[:8], dst)) for dst in (-1, 0, 1))
        told = [moment for moment in moments if localtime(moment)[:5] == fields[:5]]
    except (OverflowError, ValueError, OSError):
        return (0.0,)
    return tuple(quarter - moment for moment in told or list(moments)[:1])


def _as_local(epoch: float, near: float | None) -> float:
    candidates = [epoch - offset for offset in _offsets(math.floor(epoch / 900.0) * 900.0)]
    return candidates[0] if near is None else min(candidates, key=lambda one: abs(one - near))
