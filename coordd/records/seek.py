"""Find where in a plain file the records of a span are, without reading all of it.

The time is read at points spread evenly over the file; the bytes between two points are a stretch::

    a stretch is read if
    its times, or those of its neighbours, touch the span
    time goes backwards in it: the clock was set back, and how far is unknown
    a time at one of its ends cannot be read
    it is the first or the last one, which lacks a neighbour

Bisection would read fewer points, but it assumes that time only goes forward, and misses records after the
clock was set back. A step back that is made up for within one stretch does not show at its ends; it cannot be
longer than that stretch took to write, and its neighbours took about as long. Only records written between a
step back and a step forward again, within one stretch, are not found.
"""

from __future__ import annotations

import os

from coordd.records.moments import Span, moment_of

WHOLE = 1024 * 1024
"""Bytes up to which a file is read whole, which takes a few milliseconds."""
JITTER = 60.0
"""Seconds by which records written together may be out of order."""
_POINTS = 256
_LEAST, _MOST = 64 * 1024, 1024 * 1024
_LOOK = 2048
_LOOK_FURTHER = 64 * 1024

Stretch = tuple[int, int]


def stretches(descriptor: int, size: int, span: Span, *, stride: int | None = None) -> list[Stretch]:
    """Return separate byte ranges, in order, that hold every record of ``span`` and begin with a line.

    Args:
        descriptor: of a plain file; its offset is left alone.
        size: bytes of the file that count.
        span: the time asked for.
        stride: bytes between two points; by default 256 points, 64 KiB to 1 MiB apart.
    """
    if size <= WHOLE or (span.since is None and span.until is None):
        return [(0, size)]
    stride = stride or min(max(size // _POINTS, _LEAST), _MOST)
    points = [_point(descriptor, offset, size) for offset in range(0, size, stride)]
    end = _last(descriptor, size)
    starts = [start for start, _ in points] + [size]
    times = [time for _, time in points] + [end]
    wide = span.widened(JITTER)
    low, high = wide.low, wide.high
    found: list[Stretch] = []
    for i in range(len(points)):
        begin, stop = starts[i], starts[i + 1]
        around = times[max(0, i - 1) : i + 3]
        if begin >= stop or not (i in {0, len(points) - 1} or _touches(around, times[i : i + 2], low, high)):
            continue
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], stop)
        else:
            found.append((begin, stop))
    return found


def _touches(around: list[bytes | None], own: list[bytes | None], low: bytes, high: bytes) -> bool:
    """Return whether a stretch may hold something from ``low`` on and before ``high``.

    Args:
        around: the times where it and its neighbours begin and end.
        own: the times where it begins and ends; where they go backwards, it may hold anything.
    """
    known = [time for time in around if time is not None]
    begin, end = own
    if len(known) < len(around) or begin is None or end is None or end < begin:
        return True
    return max(known) >= low and min(known) < high


def _point(descriptor: int, offset: int, size: int) -> tuple[int, bytes | None]:
    """Return the offset and the time (None: unreadable) of the first line at or behind ``offset``."""
    # one byte before, because a line may begin exactly here
    base = max(0, offset - 1)
    for look in (_LOOK, _LOOK_FURTHER):
        piece = os.pread(descriptor, look, base)
        begin = 0 if offset == 0 else piece.find(b"\n") + 1
        if (begin or offset == 0) and len(piece) - begin >= 64:
            return base + begin, moment_of(piece[begin : begin + 64])
    if offset == 0 or begin:
        return base + begin, moment_of(piece[begin:])
    return _next_line(descriptor, base + len(piece), size), None


def _next_line(descriptor: int, offset: int, size: int) -> int:
    while offset < size and (piece := os.pread(descriptor, _LOOK_FURTHER, offset)):
        begin = piece.find(b"\n") + 1
        if begin:
            return min(offset + begin, size)
        offset += len(piece)
    return size


def _last(descriptor: int, size: int) -> bytes | None:
    """Return the time of the last whole line; None where it cannot be read."""
    start = max(0, size - _LOOK)
    piece = os.pread(descriptor, size - start, start)
    end = piece.rfind(b"\n")
    begin = piece.rfind(b"\n", 0, max(end, 0)) + 1
    return moment_of(piece[begin:end]) if begin or start == 0 else None
