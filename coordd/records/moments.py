"""Convert moments: as people write them, and as the first bytes of a record have them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from coordd.util.timestamps import format_utc, parse_timestamp, within_calendar
from coordd.util.units import parse_duration

PREFIX = b'{"timestamp":"'
"""The beginning of every record that coordd writes; 24 bytes of format_utc() follow."""

_BEGIN = len(PREFIX)
_END = _BEGIN + 24
_YOUNGEST_NUMBER = 1e9  # 2001: a smaller number means something else

EARLIEST = b""
LATEST = b"\x7f"


@dataclass(frozen=True, slots=True)
class Span:
    """A range of time: from ``since`` on, before ``until``; epoch seconds, None where it is open."""

    since: float | None = None
    until: float | None = None

    @property
    def low(self) -> bytes:
        """Return ``since`` in the form of :func:`moment_of`."""
        return key(self.since, EARLIEST)

    @property
    def high(self) -> bytes:
        """Return ``until`` in the form of :func:`moment_of`."""
        return key(self.until, LATEST)

    def widened(self, seconds: float) -> Span:
        """Return the span with ``seconds`` more at both ends."""
        return Span(
            None if self.since is None else self.since - seconds,
            None if self.until is None else self.until + seconds,
        )


def key(moment: float | None, open_end: bytes) -> bytes:
    """Return epoch seconds as bytes that order like time; ``open_end`` for None."""
    if moment is None:
        return open_end
    try:
        return format_utc(moment).encode()
    except ValueError:
        return EARLIEST if moment < 0 else LATEST


def moment_of(line: bytes) -> bytes | None:
    """Return the timestamp at a record's beginning, as bytes; None if it is not as coordd writes it."""
    if line.startswith(PREFIX) and line[_END - 1 : _END + 1] == b'Z"':
        return line[_BEGIN:_END]
    return None


def parse_moment(value: str | float, now: float) -> float:
    """Return a moment in epoch seconds: ``1h30m`` means that long before ``now``, else it is a timestamp.

    Raises:
        ValueError: it is neither; the message gives examples of both.
    """
    if isinstance(value, str):
        text = value.strip()
        try:
            if text[-1:].isalpha() and text[-1:] != "Z":
                return within_calendar(now - parse_duration(text))
            moment = parse_timestamp(text)
        except ValueError:
            raise ValueError(_expected(value)) from None
        if not text.replace(".", "").isdigit():
            return moment
        value = moment
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(_expected(value))
    if value < _YOUNGEST_NUMBER:
        raise ValueError(_expected(value))
    return parse_timestamp(value)


def _expected(value: object) -> str:
    return f"neither a duration such as '1h' nor a timestamp such as '2026-11-22T06:05:00Z': {value!r:.80}"


def checked_span(since: str | float | None, until: str | float | None, now: float) -> Span:
    """Return the span between two moments that :func:`parse_moment` takes; None leaves an end open.

    Raises:
        ValueError: one of them is bad (the message names it), or ``since`` is after ``until``.
    """
    moments = []
    for name, value in (("since", since), ("until", until)):
        try:
            moments.append(None if value is None else parse_moment(value, now))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    span = Span(moments[0], moments[1])
    if span.since is not None and span.until is not None and span.since > span.until:
        raise ValueError("since: it is after until")
    return span
