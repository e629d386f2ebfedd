"""Take lines out of one closed record file, so that a kill at any point leaves the old file or the new one.

::

    on disk                                  after a kill
    NAME, its new first line announced       as before: the old first line is announced, too
    NAME, .NAME.purge.tmp                    the copy is removed (:func:`is_own_rewrite`)
    NAME, replaced in one step (rename(2))   the new file, which the manifest knows

The manifest has to announce the new first line, under both names, before anything is made. Of a file in which
nothing would be left the name is removed, unless a symlink leads to it. A file that was changed, or opened by
its writer, meanwhile stays as it is. What is decoded here is what coordd wrote: every other line stays, byte
for byte.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from coordd.records.blocks import UnreadableCount, inflated
from coordd.records.manifest import ManifestClaims, plain_name
from coordd.records.provenance import first_line
from coordd.records.selection import RecordSelection
from coordd.sinks.folder import Folder
from coordd.sinks.ledger import sync_file
from coordd.util.regular_files import write_all

COPY = ".purge.tmp"
LONGEST = 4 * 1024 * 1024
"""Bytes of the longest line; coordd's are a thousandth of it."""
_BLOCK = 256 * 1024
_LEVEL = 6
_GZIP = 31  # zlib's window bits for a gzip header and trailer (RFC 1952)
_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class LineChoice:
    """Which lines of a file go: those of a series that a selection fits; ``damaged``: all of them are torn.

    ``seen`` is called with each record that goes, ``passing`` with each block of lines.
    """

    series: str
    selection: RecordSelection
    damaged: bool = False
    seen: Callable[[dict[str, Any]], None] = lambda _record: None
    passing: Callable[[bytes], None] = lambda _block: None

    def goes(self, line: bytes) -> bool:
        """Return whether a line goes, without its newline."""
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.selection.fits_torn(line)
        if not isinstance(record, dict) or not self.selection.fits(self.series, record):
            return False
        self.seen(record)
        return True

    def kept(self, block: bytes) -> tuple[bytes, int]:
        """Return what stays of a block of lines, and how many go; its last line may lack the newline."""
        self.passing(block)
        torn = self.damaged or not block.endswith(b"\n")
        if not torn and not self.selection.may_fit(block):
            return block, 0
        lines, gone = [], 0
        for line in block.split(b"\n"):
            if line and (torn or self.selection.may_fit(line)) and self.goes(line):
                gone += 1
            else:
                lines.append(line)
        return b"\n".join(lines), gone


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a file tells: how many lines go, and the first that stays, without newline.

    ``first`` is None where nothing stays.
    """

    gone: int
    first: bytes | None


def temporary_of(name: str) -> str:
    """Return the hidden name under which the new content of a file is written."""
    return f".{name}{COPY}"


def is_own_rewrite(folder: Folder, temporary: str, claims: ManifestClaims) -> bool:
    """Return whether a file is an unfinished copy by :func:`rewrite`: announced, with what was announced."""
    if not claims.announces(temporary):
        return False
    packed = temporary.removesuffix(COPY).endswith(".gz")
    descriptor, _ = folder.open(temporary, os.O_RDONLY)
    try:
        line, whole = first_line(descriptor, compressed=packed)
        begin = os.pread(descriptor, len(_MAGIC), 0)
    finally:
        os.close(descriptor)
    if packed and not whole:
        return begin == _MAGIC[: len(begin)]
    return claims.prove(temporary, line, whole=whole)


def look(folder: Folder, name: str, choice: LineChoice) -> Found:
    """Return what taking lines out of a file would do.

    Raises:
        OSError: with ``filename``; it cannot be read to its end.
    """
    descriptor, _ = folder.open(name, os.O_RDONLY)
    try:
        gone, first = 0, None
        for block in _blocks(descriptor, name, folder):
            kept, went = choice.kept(block)
            gone += went
            if first is None and kept:
                first = kept.partition(b"\n")[0]
        return Found(gone, first)
    finally:
        os.close(descriptor)


def rewrite(
    folder: Folder,
    name: str,
    choice: LineChoice,
    *,
    first: bytes | None,
    act: Callable[[Callable[[], None]], bool],
    stays: bool,
) -> int:
    """Take lines out of a file; return how many are gone.

    Args:
        folder, name: of the file.
        choice: which lines.
        first: the first line that stays, which the manifest announces; None where none does.
        act: calls what it is given, unless a writer has the file open; returns whether it did.
        stays: an empty file stays, for a link leads to it.

    Raises:
        OSError: with ``filename``; the file is as it was.
    """
    source, _ = folder.open(name, os.O_RDONLY)
    temporary = temporary_of(name)
    try:
        before = os.fstat(source)
        if first is None and not stays:
            gone = sum(choice.kept(block)[1] for block in _blocks(source, name, folder))
            _demand(act, folder, name, before, lambda: folder.unlink(name))
            folder.sync()
            return gone
        copy = folder.make(temporary, mode=stat.S_IMODE(before.st_mode) & 0o777)
        try:
            gone = _write(source, copy, choice, folder, name)
            os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
            sync_file(copy)
            _demand(act, folder, name, before, lambda: folder.rename(temporary, name))
        except BaseException:
            if folder.exists(temporary):
                folder.unlink(temporary)
            raise
        finally:
            os.close(copy)
        folder.sync()
        return gone
    finally:
        os.close(source)


def _write(source: int, target: int, choice: LineChoice, folder: Folder, name: str) -> int:
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP) if name.endswith(".gz") else None
    path, gone = folder.path_of(temporary_of(name)), 0
    for block in _blocks(source, name, folder):
        kept, went = choice.kept(block)
        gone += went
        write_all(target, kept if deflate is None else deflate.compress(kept), path)
    if deflate is not None:
        write_all(target, deflate.flush(), path)
    return gone


def _demand(
    act: Callable[[Callable[[], None]], bool],
    folder: Folder,
    name: str,
    before: os.stat_result,
    step: Callable[[], None],
) -> None:
    """Take a step with a file that is as it was, and that no writer has open.

    Raises:
        OSError: it was changed, or is being written.
    """

    def unchanged() -> None:
        now = folder.stat(name)
        marks = [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in (now, before)]
        if marks[0] != marks[1]:
            raise OSError(errno.EAGAIN, "it was changed just now; try again", folder.path_of(name))
        step()

    if not act(unchanged):
        raise OSError(errno.EBUSY, "it is being written; try again", folder.path_of(name))


def _blocks(descriptor: int, name: str, folder: Folder) -> Iterator[bytes]:
    """Yield a file in blocks of whole lines; what is behind the last newline is one of its own.

    Raises:
        OSError: with ``filename``; it is damaged, or has a line that no record is as long as.
    """
    damage = UnreadableCount()
    rest = b""
    for piece in inflated(descriptor, damage) if plain_name(name) != name else _pieces(descriptor):
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
        if len(rest) > LONGEST:
            raise OSError(errno.EINVAL, "it has a line that is no record", folder.path_of(name))
    if damage.count:
        raise OSError(errno.EINVAL, "it is damaged, and what is in it cannot be told", folder.path_of(name))
    if rest:
        yield rest


def _pieces(descriptor: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(descriptor, _BLOCK, offset):
        offset += len(piece)
        yield piece
