"""Set aside what a kill or a power loss left behind the last whole line of a record file.

The tail is written to ``<file>.damaged`` and synced before the file is cut, so a kill in between leaves at
most a second copy there. Only tails are read, and only of files that coordd made (records/provenance.py). NUL
bytes, which a power loss leaves at the end of a file that had grown, are not kept.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from coordd.records.backwards import blocks_backwards, whole_end
from coordd.records.manifest import announcement
from coordd.records.names import RecordSeries, parse_part
from coordd.records.provenance import MAX_LINE, is_own, proves
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.util.regular_files import explain, write_all

DAMAGED = ".damaged"
_BLOCK = 64 * 1024
_MOST_ASIDE = 100


@dataclass(frozen=True, slots=True)
class Damage:
    """A torn tail: ``size`` bytes cut from ``path``; or ``error``, in words, where that failed."""

    path: str
    size: int
    error: str | None = None


def repair(held: HeldFolder, series: RecordSeries) -> list[Damage]:
    """Repair every uncompressed part of a series that coordd made; return what was found.

    Raises nothing: a failure is in the list.
    """
    try:
        folder = held.folder()
        claims = held.claims(folder)
        names = sorted(folder.names())
    except OSError as error:
        return [Damage(held.path, 0, explain(error))]
    found = []
    for name in names:
        part = parse_part(name, series.name, series.extension)
        if part is None or part.compressed or not is_own(claims, folder.fd, name):
            continue
        try:
            damage = repair_file(folder, name, held)
        except OSError as error:
            damage = Damage(folder.path_of(name), 0, explain(error))
        if damage is not None:
            found.append(damage)
    return found


def repair_file(folder: Folder, name: str, held: HeldFolder) -> Damage | None:
    """Cut one file behind its last newline, and keep what was cut in ``<name>.damaged``.

    Where somebody else's file has that name, the next one is used: ``<name>.2.damaged``.

    Args:
        folder: the directory.
        name: of the file, which coordd must have made.
        held: has the manifest of this directory.

    Returns:
        What was cut; None where the file ends with a newline or is empty.

    Raises:
        OSError: the file is unchanged, or (where its last fsync failed) cut, with its tail kept.
    """
    descriptor, _ = folder.open(name, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
            return None
        begin = whole_end(descriptor)
        end = _end_of_text(descriptor, begin, size)
        if end > begin:
            aside = _announced_name(folder, name, held, _first_line(descriptor, begin, end))
            _set_aside(descriptor, begin, end, folder, aside, mode=held.file_mode)
        os.ftruncate(descriptor, begin)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Damage(folder.path_of(name), size - begin)


def _end_of_text(descriptor: int, begin: int, end: int) -> int:
    """Return the offset behind the last byte other than NUL; ``begin`` where there is none."""
    for start, block in blocks_backwards(descriptor, begin, end):
        kept = len(block.rstrip(b"\0"))
        if kept:
            return start + kept
    return begin


def _set_aside(source: int, begin: int, end: int, folder: Folder, aside: str, *, mode: int) -> None:
    target, made = folder.open(aside, os.O_WRONLY | os.O_APPEND, mode=mode)
    try:
        for offset in range(begin, end, _BLOCK):
            write_all(target, os.pread(source, min(_BLOCK, end - offset), offset))
        write_all(target, b"\n")
        os.fsync(target)
    finally:
        os.close(target)
    if made:
        folder.sync()


def _announced_name(folder: Folder, name: str, held: HeldFolder, line: bytes) -> str:
    """Return a name to set aside what begins with ``line``, and announce it in the manifest."""
    aside = _free_name(folder, name, held)
    if not held.claims(folder).announces(aside):
        held.announce(folder, announcement(aside, line))
    return aside


def _free_name(folder: Folder, name: str, held: HeldFolder) -> str:
    """Return the name of coordd's own ``.damaged`` file of this part, or else a name that is free."""
    claims = held.claims(folder)
    for number in range(1, _MOST_ASIDE):
        aside = f"{name}{'' if number == 1 else f'.{number}'}{DAMAGED}"
        if not folder.exists(aside) or proves(claims, folder.fd, aside):
            return aside
    raise OSError(errno.EEXIST, "no name is left for what is set aside", folder.path_of(name))


def _first_line(source: int, begin: int, end: int) -> bytes:
    line = b""
    for offset in range(begin, end, _BLOCK):
        line += os.pread(source, min(_BLOCK, end - offset), offset)
        if len(line) > MAX_LINE:
            break
    return line
