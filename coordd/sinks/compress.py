"""Gzip one closed record file, so that a kill at any point loses nothing and shows no reader a record twice.

::

    on disk                        after a kill
    NAME                           as before
    NAME, .NAME.gz.tmp             the copy is removed (:func:`temporary_of`, :func:`is_own_copy`)
    NAME, NAME.gz (both synced)    :func:`finish` keeps one; until then readers take the plain file
    NAME.gz                        done; mode and mtime are those of NAME

A name that is taken is never used. A file that was changed, or opened by its writer, since its copy began
stays as it is. Only the caller knows of writers: it passes ``remove``, which unlinks a file unless a writer
has it open.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable

from coordd.records.blocks import UnreadableCount, inflated
from coordd.records.manifest import ManifestClaims
from coordd.records.provenance import first_line
from coordd.sinks.folder import Folder
from coordd.sinks.ledger import sync_file
from coordd.util.regular_files import write_all

_BLOCK = 256 * 1024
_LEVEL = 6
_GZIP = 31  # zlib's window bits for a gzip header and trailer (RFC 1952)

_MAGIC = b"\x1f\x8b"

Remove = Callable[[str], bool]
"""Unlinks a file by its name unless a writer has it open; returns whether it did."""


def compressed_name(name: str) -> str:
    """Return the name of a plain file once it is compressed."""
    return f"{name}.gz"


def temporary_of(name: str) -> str:
    """Return the hidden name under which the copy of a plain file is written."""
    return f".{name}.gz.tmp"


def is_own_copy(folder: Folder, temporary: str, claims: ManifestClaims) -> bool:
    """Return whether a file is an unfinished copy by compress(): announced, and of the announced content."""
    if not claims.announces(temporary):
        return False
    descriptor, _ = folder.open(temporary, os.O_RDONLY)
    try:
        line, whole = first_line(descriptor, compressed=True)
        begin = os.pread(descriptor, len(_MAGIC), 0)
    finally:
        os.close(descriptor)
    plain = temporary[1 : -len(".gz.tmp")]
    if not whole:
        return begin == _MAGIC[: len(begin)]
    return claims.prove(plain, line, whole=True)


def compress(folder: Folder, name: str, remove: Remove) -> bool:
    """Replace a plain file by ``name.gz``, which must not exist.

    Returns:
        Whether it was replaced; a file that was changed meanwhile, or that a writer has open, is not.

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
        # After the rename no writer opens the plain file: it takes the next number instead.
        if not _changed(folder, name, before) and remove(name):
            return True
        folder.unlink(compressed_name(name))
        return False
    finally:
        os.close(source)


def finish(folder: Folder, name: str, remove: Remove) -> bool:
    """Keep one of a plain and a gzipped file, if it holds everything that the other one holds.

    Returns:
        Whether one does. Otherwise both stay, because each holds something that the other lacks.

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
            write_all(target, deflate.compress(block), path)
        write_all(target, deflate.flush(), path)
        os.utime(target, ns=(like.st_atime_ns, like.st_mtime_ns))
        sync_file(target)
    finally:
        os.close(target)


def _changed(folder: Folder, name: str, before: os.stat_result) -> bool:
    """Return whether the name leads to another file now, or the file was changed."""
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
    """Compare a plain file with a gzipped one.

    Returns:
        How many bytes they have in common from the beginning, whether the gzipped one goes on differently or
        further, and whether it can be read to its end.
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
