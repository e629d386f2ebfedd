"""Gzip one closed record file, so that a kill at any point loses nothing and shows no reader a record twice.

The copy is written under a hidden name, brought to disk, renamed to ``NAME.gz``, and only then the plain file
goes; while both are there, readers take the plain one. What a kill left behind is finished by
:func:`finish`, or thrown away (:func:`temporary_of`). Mode and mtime are kept.

A file that was opened by its writer, or changed, since its copy began stays as it is. Only the caller knows
of writers: it passes ``remove``, which unlinks a file unless somebody writes to it.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable

from coordd.directories import sync_directory
from coordd.history.blocks import Damage, inflated
from coordd.sinks.ledger import sync_file
from coordd.sinks.regular import open_regular

_BLOCK = 256 * 1024
_LEVEL = 6
_GZIP = 31  # zlib's window bits for a gzip header and trailer (RFC 1952)

Remove = Callable[[str], bool]
"""Unlinks a path unless it is being written to; whether it did."""


def compressed_name(path: str) -> str:
    """What a plain file is called once it is compressed."""
    return f"{path}.gz"


def temporary_of(path: str) -> str:
    """Under which name the copy of a plain file grows."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.gz.tmp")


def compress(path: str, remove: Remove) -> bool:
    """Replace a plain file by ``path.gz``, which must not exist.

    Returns:
        Whether it did; not where the file was changed meanwhile or is being written to.

    Raises:
        OSError: with ``filename``; the plain file is whole, and there is no ``.gz`` or a whole one.
    """
    source, _ = open_regular(path, os.O_RDONLY)
    try:
        before = os.fstat(source)
        temporary = temporary_of(path)
        try:
            _write_copy(source, temporary, before)
            if _changed(path, before):
                os.unlink(temporary)
                return False
            os.rename(temporary, compressed_name(path))
        except OSError:
            _discard(temporary)
            raise
        _sync_folder(path)
        # From the rename on, no writer opens the plain file any more: it takes the next number.
        if not _changed(path, before) and remove(path):
            return True
        os.unlink(compressed_name(path))
        return False
    finally:
        os.close(source)


def finish(path: str, remove: Remove) -> bool:
    """Of a file that is there plain and gzipped, keep one, if one of them holds all that the other does.

    Returns:
        Whether that is so. Otherwise both are left alone, for each holds something of its own.

    Raises:
        OSError: with ``filename``; both are as they were.
    """
    source, _ = open_regular(path, os.O_RDONLY)
    try:
        packed, _ = open_regular(compressed_name(path), os.O_RDONLY)
        try:
            before = os.fstat(source)
            common, more, sound = _compare(source, packed)
        finally:
            os.close(packed)
        if common >= before.st_size and sound:
            if not _changed(path, before):
                remove(path)
            return True
        if more:
            return False
    finally:
        os.close(source)
    os.unlink(compressed_name(path))
    _sync_folder(path)
    return True


def _write_copy(source: int, path: str, like: os.stat_result) -> None:
    _discard(path)
    mode = stat.S_IMODE(like.st_mode) & 0o777
    target, _ = open_regular(path, os.O_WRONLY, mode=mode)
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


def _changed(path: str, before: os.stat_result) -> bool:
    """Whether the path no longer leads to that file as it was."""
    try:
        now = os.lstat(path)
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
    damage = Damage()
    for block in inflated(packed, damage):
        there = os.pread(source, len(block), same)
        if more:
            continue
        same += len(there) if block.startswith(there) else 0
        more = there != block
    return same, more, not damage.count


def _sync_folder(path: str) -> None:
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_directory(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
