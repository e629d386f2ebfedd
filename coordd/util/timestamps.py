"""Read and write timestamps: UTC, ISO-8601 as text, epoch seconds in memory.

Pure: the moment is always passed in. ``2026-11-22T06:05:00.123Z`` is the only form that coordd writes. It
reads what other programs write: ISO-8601 or epoch seconds, with or without a zone (none means UTC).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from time import localtime, mktime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = -62135596800.0  # 0001-01-01T00:00:00Z, the first second of datetime
_LATEST = 253402300799.0  # 9999-12-31T23:59:59Z, the last


def format_utc(epoch: float) -> str:
    """Format epoch seconds as ``2026-11-22T06:05:00.123Z``, rounded to the millisecond.

    Raises:
        ValueError: not finite, or outside the years 1 to 9999.
    """
    if not math.isfinite(epoch):
        raise ValueError(f"not a moment: {epoch!r}")
    seconds, millis = divmod(round(epoch * 1000), 1000)
    try:
        return f"{_to_the_second(seconds)}.{millis:03d}Z"
    except (OverflowError, OSError) as error:
        raise ValueError(f"out of range: {epoch!r}") from error


@lru_cache(maxsize=256)  # a batch of beats spans few seconds, and this is half the cost of a sample
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def within_calendar(epoch: float) -> float:
    """Return the moment, limited to what :func:`format_utc` can write: the years 1 to 9999.

    For moments computed from untrusted input; NaN counts as too late.
    """
    return max(epoch, _EARLIEST) if epoch < _LATEST else _LATEST


def format_seconds(epoch: float) -> str:
    """Format epoch seconds as ``2026-11-22T06:05:00Z``, cut to the second."""
    return format_utc(math.floor(epoch))[:19] + "Z"


def utc_date(epoch: float) -> str:
    """Format the UTC day of a moment: ``2026-11-22``."""
    return format_utc(math.floor(epoch))[:10]


def parse_timestamp(value: str | float | int) -> float:
    """Parse an untrusted timestamp into epoch seconds.

    ISO-8601 as :meth:`datetime.fromisoformat` takes it (a missing zone is UTC), or epoch seconds as a number
    or as its text.

    Raises:
        ValueError: it is neither, or lies outside the years 1970 to 9999.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"not a timestamp: {value!r:.60}")
    if isinstance(value, str):
        return _in_range(_parse_text(value.strip()), value)
    try:
        return _in_range(float(value), value)
    except OverflowError as error:
        raise ValueError(f"out of range: {value!r:.60}") from error


def _parse_text(text: str) -> float:
    if len(text) > 64:
        raise ValueError(f"too long for a timestamp: {len(text)} characters")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH).total_seconds()
    if not text or not all(c in "0123456789." for c in text):
        raise ValueError(f"neither ISO-8601 nor epoch seconds: {text!r}")
    return float(text)


def _in_range(epoch: float, given: object) -> float:
    if not 0 <= epoch <= _LATEST:
        raise ValueError(f"out of range: {given!r:.60}")
    return epoch


def day_around(wall: float) -> tuple[float, float]:
    """Return the local midnights before and after a time, in epoch seconds."""
    day = localtime(wall)
    begin = mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
    end = mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))
    return begin, end
