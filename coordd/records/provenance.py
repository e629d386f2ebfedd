"""Check whether a file is one that coordd made, by comparing how it begins with what the manifest announces.

A name proves nothing, because others write the same names: the first line counts, and of a table the second
one too. Files may be plain or gzipped; only their beginnings are read, and no link is followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from coordd.records.blocks import UnreadableCount, inflated
from coordd.records.manifest import TABLE, ManifestClaims, plain_name
from coordd.util.regular_files import open_file

MAX_LINE = 4 * 1024 * 1024
"""Bytes of the longest first line that proves anything."""
_BLOCK = 64 * 1024


def is_own(claims: ManifestClaims, folder: int, name: str) -> bool:
    """Return whether a file in an open directory is coordd's, and known to have no lines of others."""
    plain = plain_name(name)
    if not proves(claims, folder, name):
        return False
    if plain in claims.adopted and claims.given(plain, folder):
        return True
    # that a table is adopted is nobody's word but its owner's, for its content cannot tell
    if plain in claims.mixed or (plain.endswith(TABLE) and plain in claims.adopted):
        return False
    return _has_size(claims, folder, name)


def proves(claims: ManifestClaims, folder: int, name: str) -> bool:
    """Return as :func:`proven`, for a file by its name in an open directory."""
    if not claims.announces(plain_name(name)):
        return False
    try:
        descriptor = open_file(name, directory=folder)
    except OSError:
        return False
    try:
        return proven(claims, descriptor, name)
    finally:
        os.close(descriptor)


def proven(claims: ManifestClaims, descriptor: int, name: str) -> bool:
    """Return whether coordd made an open file of this name (plain or gzipped); False if unreadable.

    Others may have written to it since: see :func:`is_own`.
    """
    plain = plain_name(name)
    if not claims.announces(plain):
        return False
    packed = name.endswith(".gz")
    try:
        line, whole = first_line(descriptor, compressed=packed)
        second, second_whole = b"", False
        if plain.endswith(TABLE) and whole:
            second, second_whole = second_line(descriptor, compressed=packed)
    except OSError:
        return False
    # gzip is put in place whole (compress.py): what ends early is somebody else's
    if (packed and not whole) or not claims.prove(plain, line, whole=whole):
        return False
    if not plain.endswith(TABLE) or plain in claims.adopted or not (second or second_whole):
        return True
    return claims.prove_row(plain, second, whole=second_whole)


def _has_size(claims: ManifestClaims, folder: int, name: str) -> bool:
    """Return whether a table has the size at which it was closed, where that is known."""
    size = claims.sizes.get(plain_name(name))
    if size is None or not plain_name(name).endswith(TABLE):
        return True
    try:
        if not name.endswith(".gz"):
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size == size
        descriptor = open_file(name, directory=folder)
        try:  # its last four bytes are the size of what is in it (RFC 1952)
            end = os.pread(descriptor, 4, max(0, os.fstat(descriptor).st_size - 4))
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return int.from_bytes(end, "little") == size & 0xFFFFFFFF


def first_line(descriptor: int, *, compressed: bool) -> tuple[bytes, bool]:
    """Return the first line of a file without its newline, and whether it is whole.

    It is whole with its newline; in a gzipped file also where the stream ends properly.

    Raises:
        OSError: it cannot be read.
    """
    damage = UnreadableCount()
    line, ended = b"", False
    for piece in inflated(descriptor, damage) if compressed else _read(descriptor):
        end = piece.find(b"\n")
        if end >= 0:
            return line + piece[:end], True
        line += piece
        if len(line) > MAX_LINE:
            return line, False
        ended = compressed
    return line, ended and not damage.count


def second_line(descriptor: int, *, compressed: bool) -> tuple[bytes, bool]:
    """Return as :func:`first_line`, for the line behind it; empty where it is too far off."""
    head = b""
    for piece in inflated(descriptor, UnreadableCount()) if compressed else _read(descriptor):
        head += piece
        if head.count(b"\n") >= 2 or len(head) > _BLOCK:
            break
    lines = head.split(b"\n")
    return (lines[1] if len(lines) > 1 else b""), len(lines) > 2


def _read(descriptor: int) -> Iterable[bytes]:
    offset = 0
    while piece := os.pread(descriptor, _BLOCK, offset):
        offset += len(piece)
        yield piece
