"""Read a growing transcript: its end at first, then what was added, in bounded steps.

==================================  ==========================================================================
the file                            what is read
==================================  ==========================================================================
is read for the first time          its end, in larger and larger pieces until one begins a turn
                                    (:data:`TAILS`)
has grown                           what was added; a last line that is not whole waits
is another, or shorter than read,   as for the first time; tokens are not counted twice
or ends otherwise where it was read
has moved, or is not there          what was known stays, and it is looked for
has a line above :data:`MAX_LINE`   that line is passed over, without being kept
==================================  ==========================================================================

It is opened for each reading, so that nothing is held of what was removed. All calls may block, and belong
in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Generic, Literal, Protocol, TypeVar

from coordd.runtime.worker import renew_deadline
from coordd.util.digest import sha256_hex
from coordd.util.fields import Malformed
from coordd.util.regular_files import open_regular

TAILS = (64 * 1024, 256 * 1024, 1024 * 1024)
"""Bytes of the end of a transcript that are read at first."""
STEP = 256 * 1024
"""Bytes of one read(2)."""
MAX_STEPS = 16
"""Reads of one reading; what is left then waits for the next."""
MARK = 64
"""Bytes before the place up to which it was read, by which a file is known that was written anew in place."""
MAX_LINE = 1024 * 1024
"""Bytes of a line that is looked at."""

Outcome = Literal["same", "grown", "more", "gone"]
"""What a reading has found: nothing new, something, something and there is more, no such file."""


class Reducer(Protocol):
    """What is fed with the lines of one transcript."""

    @property
    def began(self) -> bool:
        """Whether the lines fed so far tell what goes on now: one of them has begun a turn."""
        ...

    def restart(self) -> None:
        """Forget what the lines said, for they are read again."""
        ...

    def feed(self, lines: Iterable[bytes], wall: float) -> None:
        """Take over whole lines; ``wall`` is the time now, in epoch seconds."""
        ...


R = TypeVar("R", bound=Reducer)


class TranscriptFile(Generic[R]):
    """One transcript, at ``path``.

    Args:
        path: of the file; its folder may have been a link, the file may not.
        make: makes what is fed with its lines.
        writer: the user of the session's process, root's may be anybody's; None where that is not known.
    """

    __slots__ = (
        "_mark",
        "_marked",
        "_offset",
        "_partial",
        "_place",
        "_skipping",
        "_writer",
        "make",
        "path",
        "reducer",
    )

    def __init__(self, path: str, make: Callable[[], R], *, writer: int | None = None) -> None:
        self.path = path
        self.make = make
        self._writer = writer
        self.reducer = make()
        self._place: tuple[int, int] | None = None
        self._offset = 0
        self._mark, self._marked = _digest(b""), 0
        self._partial = b""
        self._skipping = False

    def read(self, wall: float) -> Outcome:
        """Read what is new; ``wall`` is the time now in epoch seconds.

        Raises:
            Malformed: it is no regular file, or another user's than the process that should write it.
            OSError: open(2) or read(2) failed.
        """
        try:
            descriptor = self._open()
        except FileNotFoundError:
            return "gone"
        try:
            state = os.fstat(descriptor)
            if self._writer not in (None, 0, state.st_uid):
                raise Malformed("another user's, not of the user of its session's process")
            place = state.st_dev, state.st_ino
            before = os.pread(descriptor, self._marked, self._offset - self._marked)
            if place != self._place or state.st_size < self._offset or _digest(before) != self._mark:
                self._begin(descriptor, place, state.st_size, wall)
                return "grown"
            if state.st_size == self._offset:
                return "same"
            return self._go_on(descriptor, before, wall)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """Open the file; errors as in :meth:`read`, and FileNotFoundError where there is none."""
        return open_regular(self.path, os.O_RDONLY, refuse=Malformed)

    def _begin(self, descriptor: int, place: tuple[int, int], size: int, wall: float) -> None:
        """Read the end of the file; what was known of it before is forgotten."""
        start, content = size, b""
        for length in TAILS:
            renew_deadline()
            start = max(0, size - length)
            content = _read_at(descriptor, start, size - start)
            if start == 0:
                break
            start, content = _from_the_next_line(start, content)
            if self._begins_a_turn(content, wall):
                break
        self.reducer.restart()
        self._partial, self._skipping = b"", 0 < start == size
        self._feed(content, wall)
        self._place, self._offset = place, start + len(content)
        if len(content) < MARK:  # it begins with the line after the first
            skipped = min(MARK - len(content), start)
            content = os.pread(descriptor, skipped, start - skipped) + content
        self._remember(content)

    def _begins_a_turn(self, content: bytes, wall: float) -> bool:
        probe = self.make()
        probe.feed(content.split(b"\n"), wall)
        return probe.began

    def _remember(self, content: bytes) -> None:
        """Remember what the file holds before the place up to which it was read; none of it is kept."""
        last = content[-MARK:]
        self._mark, self._marked = _digest(last), len(last)

    def _go_on(self, descriptor: int, before: bytes, wall: float) -> Outcome:
        for _ in range(MAX_STEPS):
            renew_deadline()
            content = os.pread(descriptor, STEP, self._offset)
            self._offset += len(content)
            before = (before + content)[-MARK:]
            self._remember(before)
            self._feed(content, wall)
            if len(content) < STEP:
                return "grown"
        return "more"

    def _feed(self, content: bytes, wall: float) -> None:
        """Hand whole lines on, and keep the rest."""
        end = content.rfind(b"\n") + 1
        if end == 0:
            self._keep(content)
            return
        lines = content[: end - 1].split(b"\n")
        if self._skipping:
            del lines[0]
        else:
            lines[0] = self._partial + lines[0]
        self._partial, self._skipping = b"", False
        self.reducer.feed([line for line in lines if line and len(line) <= MAX_LINE], wall)
        self._keep(content[end:])

    def _keep(self, rest: bytes) -> None:
        if self._skipping:
            return
        if len(self._partial) + len(rest) > MAX_LINE:
            self._partial, self._skipping = b"", True
        else:
            self._partial += rest


def _digest(content: bytes) -> str:
    return sha256_hex(content)[:16]


def _read_at(descriptor: int, start: int, length: int) -> bytes:
    """Read exactly this part, or what there is of it."""
    blocks = []
    while length > 0 and (block := os.pread(descriptor, min(length, STEP), start)):
        blocks.append(block)
        start += len(block)
        length -= len(block)
    return b"".join(blocks)


def _from_the_next_line(start: int, content: bytes) -> tuple[int, bytes]:
    """Return where the first whole line begins, and the content from there; the end where there is none."""
    end = content.find(b"\n") + 1
    skipped = end if end else len(content)
    return start + skipped, content[skipped:]
