"""Gzip one closed record file, so that a kill at any point loses nothing and shows no reader a record twice.

The copy is written under a hidden name, brought to disk, renamed to ``NAME.gz``, and only then the plain file
goes; while both are there, readers take the plain one. What a kill left behind is finished by
:func:`finish`, or thrown away (:func:`temporary_of`). Mode and mtime are kept.

No name that is taken is used. A file that was opened by its writer, or changed, since its copy began stays as
it is. Only the caller knows of writers: it passes ``remove``, which unlinks a file unless somebody writes to
it.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable

from coordd.records.blocks import UnreadableCount, inflated
from coordd.records.manifest import Claims, first_line
from coordd.sinks.folder import Folder
from coordd.sinks.ledger import sync_file

_BLOCK = 256 * 1024
_LEVEL = 6
_GZIP = 31  # zlib's window bits for a gzip header and trailer (RFC 1952)

Remove = Callable[[str], bool]
"""Unlinks a name unless it is being written to; whether it did."""


def compressed_name(name: str) -> str:
    """What a plain file is called once it is compressed."""
    return f"{name}.gz"


def temporary_of(name: str) -> str:
    """Under which name the copy of a plain file grows."""
    return f".{name}.gz.tmp"


def is_own_copy(folder: Folder, temporary: str, claims: Claims) -> bool:
    """Whether a file is a copy that compress() did not finish: announced, and not of another content."""
    if not claims.announces(temporary):
        return False
    descriptor, _ = folder.open(temporary, os.O_RDONLY)
    try:
        line, whole = first_line(descriptor, compressed=True)
    finally:
        os.close(descriptor)
    plain = temporary[1 : -len(".gz.tmp")]
    return not whole or claims.prove(plain, line, whole=True)


def compress(folder: Folder, name: str, remove: Remove) -> bool:
    """Replace a plain file by ``name.gz``, which must not exist.

    Returns:
        Whether it did; not where the file was changed meanwhile or is being written to.

    Raises:
        OSError: with ``filename``; the plain file is whole, and there is no ``.gz`` or a whole one.
    """
    source, _ = folder.open(name, os.O_RDONLY)
    try:
        before = os.fstat(source)
        temporary = temporary_of(name)
        copy = folder.make(temporary, mode=stat.S_IMODE(before.st_mode) & 0o777)
        try:
            _write_copy(source, copy, before, folder.path_of(temporary))
            if _changed(folder, name, before):
                folder.unlink(temporary)
                return False
            folder.move(temporary, compressed_name(name))
        except OSError:
            _discard(folder, temporary)
            raise
        folder.sync()
        # From the rename on, no writer opens the plain file any more: it takes the next number.
        if not _changed(folder, name, before) and remove(name):
            return True
        folder.unlink(compressed_name(name))
        return False
    finally:
        os.close(source)


def finish(folder: Folder, name: str, remove: Remove) -> bool:
    """Of a file that is there plain and gzipped, keep one, if one of them holds all that the other does.

    Returns:
        Whether that is so. Otherwise both are left alone, for each holds something of its own.

    Raises:
        OSError: with ``filename``; both are as they were.
    """
    source, _ = folder.open(name, os.O_RDONLY)
    try:
        packed, _ = folder.open(compressed_name(name), os.O_RDONLY)
        try:
            before = os.fstat(source)
            common, more, sound = _compare(source, packed)
        finally:
            os.close(packed)
        if common >= before.st_size and sound:
            if not _changed(folder, name, before):
                remove(name)
            return True
        if more:
            return False
    finally:
        os.close(source)
    folder.unlink(compressed_name(name))
    folder.sync()
    return True


def _write_copy(source: int, target: int, like: os.stat_result, path: str) -> None:
    try:
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        offset = 0
        while block := os.pread(source, _BLOCK, offset):
            offset += len(block)
            _write_all(target, deflate.compress(block), path)
        _write_all(target, deflate.flush(), path)
        os.utime(target, ns=(like.st_atime_ns, like.st_mtime_ns))
        sync_file(target)
    finally:
        os.close(target)


def _write_all(descriptor: int, data: bytes, path: str) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _changed(folder: Folder, name: str, before: os.stat_result) -> bool:
    """Whether the name no longer leads to that file as it was."""
    try:
        now = folder.stat(name)
    except FileNotFoundError:
        return True
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) != (
        before.st_dev,
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def _compare(source: int, packed: int) -> tuple[int, bool, bool]:
    """How many bytes a plain and a gzipped file begin with in common, whether the gzipped one has more, and
    whether it can be read to its end.
    """
    same, more = 0, False
    damage = UnreadableCount()
    for block in inflated(packed, damage):
        there = os.pread(source, len(block), same)
        if more:
            continue
        same += len(there) if block.startswith(there) else 0
        more = there != block
    return same, more, not damage.count


def _discard(folder: Folder, name: str) -> None:
    try:
        folder.unlink(name)
    except FileNotFoundError:
        return
