"""Record which written lines are known to be on stable storage, and keep those that are not.

One thread writes and another one syncs, so that a slow disk delays no record. A descriptor is closed only
here, after its last fsync: in the middle of one it must neither vanish nor be reused for another file.

A failed fsync is final for what was written before it: the kernel may have dropped those pages and marked
them clean, and the next fsync then reports a success that does not cover them (see fsync(2)). So the lines
written since the last fsync that succeeded are kept in memory, bounded, and given back to the writer
(:meth:`Ledger.unsynced`), which writes them again elsewhere. The lines that this last good fsync covered are
given back as well, because a file system may notice late: ext4 without a journal, on a thinly provisioned
disk, lost what it had called synced a moment before::

    state of a descriptor    what moves it on
    open                     an fsync that fails ──► suspect;   retire(), then a sync ──► closed
    suspect                  unsynced() ──► taken
    taken                    renew() ──► open;   retire(cut=True), and all synced ──► cut off and closed
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coordd.sinks.folder import Folder
from coordd.util.directories import sync_directory

MAX_LINES = 100_000
MAX_BYTES = 64 * 1024 * 1024
KEPT_BYTES = 4 * 1024 * 1024
"""Bytes kept of the lines that the last good fsync covered."""


def sync_file(descriptor: int) -> None:
    """Bring a file's content and size to stable storage.

    Raises:
        OSError: as fdatasync(2); on macOS as fcntl(2) F_FULLFSYNC, because fsync there does not flush the
            drive's cache.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


@dataclass(frozen=True, slots=True)
class Unsynced:
    """The lines of one descriptor that a failed fsync left in doubt.

    ``lines`` may or may not be on disk, oldest first; ``forgotten`` more are no longer in memory. ``safe`` is
    the size up to which the file is known to be on disk, ``size`` the one that it has.
    """

    descriptor: int
    lines: Sequence[bytes]
    forgotten: int
    safe: int
    size: int


@dataclass(slots=True)
class _Tail:
    """The lines written since the last fsync that succeeded, as many as may be kept."""

    lines: deque[bytes] = field(default_factory=deque)
    size: int = 0
    forgotten: int = 0

    def add(self, lines: Sequence[bytes], limit: int) -> None:
        self.lines.extend(lines)
        self.size += len(lines[0]) if len(lines) == 1 else sum(map(len, lines))
        while len(self.lines) > limit or self.size > MAX_BYTES:
            self.size -= len(self.lines.popleft())
            self.forgotten += 1

    @property
    def count(self) -> int:
        return len(self.lines) + self.forgotten


@dataclass(slots=True)
class _Open:
    """The state of a descriptor.

    ``end`` is where its whole lines end, ``safe`` where those of the last good fsync do. ``covered`` are the
    lines of that fsync, from ``safe_before`` on, where they are few enough to be kept. ``size`` is that of
    the file when its lines were taken to be written again.
    """

    path: str
    owner: object
    safe: int
    end: int
    safe_before: int = 0
    covered: _Tail | None = None
    covered_durable: int = 0
    size: int = -1
    pending: _Tail | None = None
    suspect: _Tail | None = None
    taken: bool = False
    retired: bool = False
    cut: bool = False
    shared: bool = False


class Ledger:
    """Count records from written to durable; sync and close the descriptors that they were written to.

    Args:
        fsync: brings one file to stable storage.
        fsync_directory: the same for a directory.
        max_lines: how many lines of one file are kept in memory between two fsyncs.
    """

    def __init__(
        self,
        *,
        fsync: Callable[[int], None] = sync_file,
        fsync_directory: Callable[[int], None] = sync_directory,
        max_lines: int = MAX_LINES,
    ) -> None:
        self._fsync = fsync
        self._fsync_directory = fsync_directory
        self._max_lines = max_lines
        self._turn = threading.Lock()  # held through a whole sync: one at a time
        self._lock = threading.Lock()  # held for a few instructions only: guards what follows
        self._open: dict[int, _Open] = {}
        self._directories: list[Folder] = []
        self.durable = 0
        self.error: str | None = None
        self.failed = False
        """Whether :meth:`unsynced` has lines for some owner."""

    @property
    def dirty(self) -> bool:
        """Return whether :meth:`sync` has something to do, or will have."""
        with self._lock:
            return bool(self._directories) or any(
                one.pending is not None or one.suspect is not None or one.retired
                for one in self._open.values()
            )

    def opened(self, descriptor: int, path: str, *, owner: object = None, size: int = 0) -> None:
        """Take over a descriptor, to sync and to close it.

        Args:
            descriptor: open for writing.
            path: what it is called in errors.
            owner: the object that :meth:`unsynced` is called with.
            size: of the file.
        """
        with self._lock:
            self._open[descriptor] = _Open(path, owner, size, size, size)

    def entered(self, folder: Folder) -> None:
        """Note that a file was created in this directory, so that the next sync includes the directory.

        Raises:
            OSError: the directory cannot be opened.
        """
        again = folder.again()
        with self._lock:
            self._directories.append(again)

    def wrote(self, descriptor: int, lines: Sequence[bytes], *, end: int) -> None:
        """Record that these lines are whole in a file.

        Args:
            descriptor: as given to :meth:`opened`.
            lines: the records.
            end: where the last whole line ends.
        """
        with self._lock:
            one = self._open[descriptor]
            one.end = end
            if one.suspect is not None:
                one.suspect.add(lines, self._max_lines)
                return
            if one.pending is None:
                one.pending = _Tail()
            one.pending.add(lines, self._max_lines)

    def suspects(self, descriptor: int) -> bool:
        """Return whether an fsync of this descriptor has failed: nothing more may be written to it."""
        with self._lock:
            one = self._open[descriptor]
            return one.suspect is not None or one.taken

    def unsynced(self, owner: object) -> list[Unsynced]:
        """Return what an owner has to write again, each line once, in the order of opening.

        The owner then calls :meth:`retire` or :meth:`renew` for each descriptor.
        """
        found = []
        with self._lock:
            for descriptor, one in self._open.items():
                if one.owner is owner and one.suspect is not None:
                    tail, one.suspect, one.taken = one.suspect, None, True
                    one.size = _size_of(descriptor)
                    if one.retired and one.size != one.end:  # somebody added something since it was closed
                        one.shared = True
                    found.append(Unsynced(descriptor, list(tail.lines), tail.forgotten, one.safe, one.size))
            self.failed = any(one.suspect is not None for one in self._open.values())
        return found

    def shared(self, descriptor: int) -> None:
        """Never cut this file: somebody else wrote to it too."""
        with self._lock:
            self._open[descriptor].shared = True

    def renew(self, descriptor: int) -> None:
        """Reset a descriptor whose doubtful lines were given back: its file is empty again."""
        with self._lock:
            one = self._open[descriptor]
            one.taken, one.safe, one.safe_before, one.end, one.covered = False, 0, 0, 0, None

    def retire(self, descriptor: int, *, cut: bool = False) -> None:
        """Record that nothing more will be written: the next :meth:`sync` closes the descriptor.

        Args:
            descriptor: as given to :meth:`opened`.
            cut: all that was unsynced in it was written again elsewhere; cut it off here once that is on
                disk, so that no reader finds it twice.
        """
        with self._lock:
            one = self._open[descriptor]
            one.retired, one.cut = True, cut

    def sync(self) -> None:
        """Sync everything written before the call; a failure stays in :attr:`error` until a sync succeeds."""
        with self._turn:
            with self._lock:
                directories, self._directories = self._directories, []
                pending: list[tuple[int, _Tail, int]] = []
                for descriptor, one in self._open.items():
                    if one.pending is not None:
                        pending.append((descriptor, one.pending, one.end))
                        one.pending = None
                retired = [descriptor for descriptor, one in self._open.items() if one.retired]
            entered = [self._sync_directory(folder) for folder in directories]
            synced = [self._sync_one(fd, tail, end, all(entered)) for fd, tail, end in pending]
            good = all(entered) and all(synced)
            with self._lock:
                if good and (entered or synced) and not any(one.suspect for one in self._open.values()):
                    self.error = None
                ended = [(fd, one) for fd in retired if self._has_ended(one := self._open[fd], good=good)]
                for descriptor, _ in ended:
                    del self._open[descriptor]
            for descriptor, one in ended:
                with contextlib.suppress(OSError):  # its fsync has already told
                    if (
                        one.cut and not one.shared and _size_of(descriptor) == one.size
                    ):  # else somebody added to it
                        os.ftruncate(descriptor, one.safe)
                        self._fsync(descriptor)
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    @staticmethod
    def _has_ended(one: _Open, *, good: bool) -> bool:
        return one.pending is None and one.suspect is None and (good or not one.cut)

    def _sync_directory(self, folder: Folder) -> bool:
        try:
            self._fsync_directory(folder.fd)
        except OSError as error:
            with self._lock:
                self._failed(folder.path, error)
                self._directories.append(folder)
            return False
        folder.close()
        return True

    def _sync_one(self, descriptor: int, tail: _Tail, end: int, entered: bool) -> bool:
        try:
            self._fsync(descriptor)
        except OSError as error:
            with self._lock:
                one = self._open[descriptor]
                self._failed(one.path, error)
                # What was written while this fsync ran is as doubtful.
                later, one.pending = one.pending, None
                one.suspect, self.failed = _Tail(), True
                for part in (one.covered, tail, later):
                    if part is not None:
                        one.suspect.add(list(part.lines), self._max_lines)
                        one.suspect.forgotten += part.forgotten
                if one.covered is not None:
                    self.durable -= one.covered_durable
                    one.safe, one.covered = one.safe_before, None
            return False
        with self._lock:
            one = self._open[descriptor]
            one.safe, one.safe_before = end, one.safe
            one.covered = tail if tail.size <= KEPT_BYTES and not tail.forgotten else None
            one.covered_durable = tail.count if entered else 0
            self.durable += one.covered_durable
        return True

    def _failed(self, path: str, error: OSError) -> None:
        self.error = f"{path}: fsync: {error.strerror or error}"


def _size_of(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_size
    except OSError:
        return -2
