"""Where in a plain file the records of a span are, found without reading all of it.

The time is read at points spread evenly over the file, and a stretch between two points is taken when its
times, or those of its neighbours, touch the span. Bisection alone would ask fewer points, but it believes
that time only goes forward, and misses records behind a clock that was set back. Here such a step shows
between two points, and that stretch is taken; a step that hides between them, back and made up for within one
stretch, cannot be deeper than the time which that stretch took to write, and its neighbours took about as
long. The first and the last stretch have a neighbour less, and are taken always. Only where a clock was set
back and then forward again within one stretch, what was written in between is not found.
"""

from __future__ import annotations

import os

from coordd.records.moments import Span, moment_of

WHOLE = 1024 * 1024
"""Bytes up to which a file is read whole: that takes less than a few milliseconds."""
JITTER = 60.0
"""Seconds by which records that are written together may be out of order."""
_POINTS = 256
_LEAST, _MOST = 64 * 1024, 1024 * 1024
_LOOK = 2048
_LOOK_FURTHER = 64 * 1024

Stretch = tuple[int, int]


def stretches(descriptor: int, size: int, span: Span, *, stride: int | None = None) -> list[Stretch]:
    """Byte ranges that hold every record of ``span`` and begin with a line, in order, none touching the next.

    Args:
        descriptor: of a plain file; its offset is left alone.
        size: bytes of the file that count.
        span: what is asked for.
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
    """Whether a stretch may hold something from ``low`` on and before ``high``.

    Args:
        around: the times where it and its neighbours begin and end.
        own: those where it begins and ends: backwards, and nobody knows how far it went before.
    """
    known = [time for time in around if time is not None]
    begin, end = own
    if len(known) < len(around) or begin is None or end is None or end < begin:
        return True
    return max(known) >= low and min(known) < high


def _point(descriptor: int, offset: int, size: int) -> tuple[int, bytes | None]:
    """The first line that begins at or behind ``offset``: where, and its time (None: it tells none)."""
    # one byte before, for the line may begin exactly here
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
    """The time of the last whole line; None where it tells none."""
    start = max(0, size - _LOOK)
    piece = os.pread(descriptor, size - start, start)
    end = piece.rfind(b"\n")
    begin = piece.rfind(b"\n", 0, max(end, 0)) + 1
    return moment_of(piece[begin:end]) if begin or start == 0 else None
