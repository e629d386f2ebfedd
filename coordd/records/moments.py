"""Compare moments with the first bytes of records. Pure; typed_moments.py reads what people type."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.records.typed_moments import parse_moment
from coordd.util.timestamps import format_utc

PREFIX = b'{"timestamp":"'
"""The beginning of every record that coordd writes; 24 bytes of format_utc() follow."""

_BEGIN = len(PREFIX)
_END = _BEGIN + 24

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


def checked_span(
    since: str | float | None, until: str | float | None, now: float, *, utc: bool = True
) -> Span:
    """Return the span between two moments that :func:`parse_moment` takes; None leaves an end open.

    Times without a zone are local, or with ``utc`` UTC.

    Raises:
        ValueError: one of them is bad (the message names it), or ``since`` is after ``until``.
    """
    moments = []
    for name, value in (("since", since), ("until", until)):
        try:
            moments.append(None if value is None else parse_moment(value, now, utc=utc))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    span = Span(moments[0], moments[1])
    if span.since is not None and span.until is not None and span.since > span.until:
        raise ValueError("since: it is after until")
    return span
