"""Read blocks of whole lines, each of bounded size, from a plain or a gzipped file.

Anything else (a tail torn by a kill, a line longer than a block, a gzip stream that ends early or is damaged)
is passed over and counted.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

BLOCK = 1024 * 1024
"""Bytes of a block, and of the longest line: a record is a hundredth of it."""
_PIECE = 256 * 1024
_CLOSING = ord("}")

Block = tuple[bytes | bytearray, int]
"""A buffer, and how many bytes of it are whole lines. The next block overwrites the buffer."""


class UnreadableCount:
    """Count what could not be read as a record, in ``count``."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def plain(descriptor: int, start: int, end: int, damage: UnreadableCount) -> Iterator[Block]:
    """Yield the lines of a file between two offsets; ``start`` must be the beginning of a line."""
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    skipping = False
    while start < end and (count := os.preadv(descriptor, [view[: min(BLOCK, end - start)]], start)):
        if skipping:
            begin = buffer.find(b"\n", 0, count) + 1
            start += begin or count
            skipping = not begin
            continue
        whole = buffer.rfind(b"\n", 0, count) + 1
        if not whole and count < BLOCK:  # the last line, without its newline
            if buffer[count - 1] == _CLOSING:  # whole without it: somebody edited the file
                yield bytes(buffer[:count]) + b"\n", count + 1
            else:
                damage.count += 1
            return
        if not whole:
            damage.count += 1
            skipping = True
        start += whole or count
        yield buffer, whole


def gunzipped(descriptor: int, damage: UnreadableCount) -> Iterator[Block]:
    """Yield the lines of a gzipped file."""
    rest: list[bytes] = []
    held, skipping = 0, False
    for piece in inflated(descriptor, damage):
        begin = 0
        if skipping:
            begin = piece.find(b"\n") + 1
            skipping = not begin
        end = 0 if skipping else piece.rfind(b"\n", begin) + 1
        if end:
            block = b"".join((*rest, piece[begin:end]))
            rest, held = [piece[end:]], len(piece) - end
            yield block, len(block)
            continue
        if not skipping:
            rest.append(piece[begin:])
            held += len(rest[-1])
        if held > BLOCK:
            damage.count += 1
            rest, held, skipping = [], 0, True
        yield b"", 0  # nothing yet: lets the caller look at the time
    tail = b"".join(rest)
    if tail.endswith(b"}"):
        yield tail + b"\n", len(tail) + 1
    elif tail:
        damage.count += 1


def inflated(descriptor: int, damage: UnreadableCount) -> Iterator[bytes]:
    """Yield the content of a gzipped file, of one or more members (RFC 1952), at most 256 KiB at a time.

    It begins at the file's beginning, and leaves its offset alone.
    """
    inflate = zlib.decompressobj(wbits=31)
    fed = False  # whether the current member has begun
    offset = 0
    while chunk := os.pread(descriptor, _PIECE // 4, offset):
        offset += len(chunk)
        while chunk:
            fed = True
            try:
                yield inflate.decompress(chunk, _PIECE)
            except zlib.error:
                damage.count += 1
                return
            chunk = inflate.unconsumed_tail
            if inflate.eof:
                # zeros behind the last member are padding, as gzip(1) takes them
                chunk = inflate.unused_data.lstrip(b"\0")
                inflate, fed = zlib.decompressobj(wbits=31), False
    while fed and not inflate.eof:
        try:
            piece = inflate.decompress(b"", _PIECE)
        except zlib.error:
            piece = b""
        if not piece:
            damage.count += not inflate.eof
            return
        yield piece
