"""Read a plain file from its end: where its last whole line ends, and its lines, the last one first."""

from __future__ import annotations

import os
from collections.abc import Iterator

_BLOCK = 64 * 1024


def blocks_backwards(descriptor: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks between two offsets, each with its own offset, from the last one back."""
    while end > begin:
        start = max(begin, end - _BLOCK)
        yield start, os.pread(descriptor, end - start, start)
        end = start


def whole_end(descriptor: int) -> int:
    """Return the offset behind the last newline; 0 for a file without one."""
    for start, block in blocks_backwards(descriptor, 0, os.fstat(descriptor).st_size):
        found = block.rfind(b"\n")
        if found >= 0:
            return start + found + 1
    return 0


def lines_backwards(descriptor: int, begin: int, *, most: int, longest: int) -> Iterator[bytes]:
    """Yield the lines of a file from its end back to an offset, without newlines and empty ones.

    Args:
        descriptor: of the file.
        begin: where the first of these lines begins.
        most: bytes to read at most; a line of which only a part was read is left out.
        longest: bytes; what is longer is no line, and left out at least in part.
    """
    end = os.fstat(descriptor).st_size
    rest = b""
    for _, block in blocks_backwards(descriptor, max(begin, end - most), end):
        first, *lines = (block + rest).split(b"\n")
        rest = first if len(first) <= longest else b""
        yield from (line for line in reversed(lines) if line)
    if rest and begin >= end - most:
        yield rest
