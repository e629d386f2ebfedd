"""Set aside what a kill or a power loss left behind the last whole line of a record file.

The tail goes to ``<file>.damaged`` and to disk before the file is cut, so a kill in between costs at most a
second copy there. Only tails are read. The NUL bytes that a power loss leaves at the end of a file that had
grown say nothing and are not kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from coordd.directories import sync_directory
from coordd.parts import parse_part
from coordd.sinks.regular import explain, open_regular

_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Damage:
    """A torn tail: ``size`` bytes cut from ``path``; or ``error``, in words, when that failed."""

    path: str
    size: int
    error: str | None = None


def repair(directory: str, series: str, extension: str, *, mode: int = 0o640) -> list[Damage]:
    """Repair every part of a series that is not compressed; nothing is raised, a failure is in the list.

    A directory that does not exist (yet) holds nothing to repair.
    """
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Damage(directory, 0, explain(error))]
    found = []
    for name in names:
        part = parse_part(name, series, extension)
        if part is None or part.compressed:
            continue
        path = os.path.join(directory, name)
        try:
            damage = repair_file(path, mode=mode)
        except OSError as error:
            damage = Damage(path, 0, explain(error))
        if damage is not None:
            found.append(damage)
    return found


def repair_file(path: str, *, mode: int = 0o640) -> Damage | None:
    """Cut one file behind its last newline, and keep what was cut in ``<path>.damaged`` (made with ``mode``).

    Returns:
        What was cut; None where the file ends as it should.

    Raises:
        OSError: the file is as it was, or (when the last fsync failed) cut with its tail kept.
    """
    descriptor, _ = open_regular(path, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
            return None
        begin = _last(descriptor, size, b"\n")
        end = _end_of_text(descriptor, begin, size)
        if end > begin:
            _set_aside(descriptor, begin, end, f"{path}.damaged", mode)
        os.ftruncate(descriptor, begin)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Damage(path, size - begin)


def _backwards(descriptor: int, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    while end > begin:
        start = max(begin, end - _BLOCK)
        yield start, os.pread(descriptor, end - start, start)
        end = start


def _last(descriptor: int, size: int, byte: bytes) -> int:
    """The offset behind the last ``byte``; 0 where there is none."""
    for start, block in _backwards(descriptor, 0, size):
        index = block.rfind(byte)
        if index >= 0:
            return start + index + 1
    return 0


def _end_of_text(descriptor: int, begin: int, end: int) -> int:
    """The offset behind the last byte that is not NUL; ``begin`` where there is none."""
    for start, block in _backwards(descriptor, begin, end):
        kept = len(block.rstrip(b"\0"))
        if kept:
            return start + kept
    return begin


def _set_aside(source: int, begin: int, end: int, path: str, mode: int) -> None:
    target, made = open_regular(path, os.O_WRONLY | os.O_APPEND, mode=mode)
    try:
        for offset in range(begin, end, _BLOCK):
            _write_all(target, os.pread(source, min(_BLOCK, end - offset), offset))
        _write_all(target, b"\n")
        os.fsync(target)
    finally:
        os.close(target)
    if made:
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_directory(directory)
        finally:
            os.close(directory)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
