"""Append lines to a file: the values that tell how far it went, and the loop around write(2).

A disk that is full takes a part of a line. What was taken, what is torn and what has to be written again are
values here; record_file.py decides what follows from them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordd.sinks.repair import Damage


class RecordFileListener(Protocol):
    """Hears what a record file met; called from the thread that writes."""

    def recreated(self, path: str) -> None:
        """Hear that the directory, file or symlink at ``path`` was gone or replaced, and is back."""

    def damaged(self, damage: Damage) -> None:
        """Hear that a torn tail was set aside."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of some lines: ``taken`` of them, from the first, are written or will be; the rest are not.

    All but the last of those taken are whole on disk; for the last one see ``RecordFile.torn``.
    """

    taken: int
    error: OSError | None = None


@dataclass(slots=True)
class TornLine:
    """A line (with its newline) of which ``done`` bytes are in the file; ``end`` is the file's size then."""

    line: bytes
    done: int
    end: int
    is_record: bool = True


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a failed fsync made doubtful: ``lines`` to be written again; ``forgotten`` more are lost."""

    lines: Sequence[bytes]
    forgotten: int


def write_all(
    descriptor: int, data: bytes, *, write: Callable[[int, bytes], int], path: str | None
) -> tuple[int, OSError | None]:
    """Write as much as the disk takes; return the number of bytes and the error that stopped it.

    Args:
        descriptor: of the file.
        data: what to write.
        write: os.write, or a test's.
        path: what the file is called in errors.
    """
    done = 0
    while done < len(data):
        try:
            count = write(descriptor, data[done:] if done else data)
        except OSError as error:
            return done, OSError(error.errno, error.strerror, path)
        if count <= 0:
            return done, OSError(errno.EIO, "nothing was written", path)
        done += count
    return done, None
