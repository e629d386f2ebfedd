"""Which written records are known to be on stable storage.

One thread writes, another one syncs, so that a slow disk delays no record. A descriptor is therefore closed
here and nowhere else, after its last fsync: it can neither vanish nor come to mean another file in the
middle of one.

A failed fsync is final for what was written before it: the kernel may have dropped those pages and marked
them clean, and the next fsync then reports a success that does not cover them (see fsync(2)).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
from collections.abc import Callable

from coordd.directories import sync_directory


def sync_file(descriptor: int) -> None:
    """Bring a file's content and size to stable storage.

    Raises:
        OSError: as fdatasync(2); on macOS as fcntl(2) F_FULLFSYNC, for its fsync leaves the drive's cache
            alone.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


class Ledger:
    """Counts records from written to durable, and syncs and closes the descriptors they were written to.

    Args:
        fsync: brings one file to stable storage.
        fsync_directory: the same for a directory.
    """

    def __init__(
        self,
        *,
        fsync: Callable[[int], None] = sync_file,
        fsync_directory: Callable[[int], None] = sync_directory,
    ) -> None:
        self._fsync = fsync
        self._fsync_directory = fsync_directory
        self._turn = threading.Lock()  # held through a whole sync: one at a time
        self._lock = threading.Lock()  # held for a few instructions only: guards what follows
        self._pending: dict[int, int] = {}
        self._paths: dict[int, str] = {}
        self._directories: list[tuple[int, str]] = []
        self._retired: list[int] = []
        self.durable = 0
        self.failures = 0
        self.error: str | None = None

    @property
    def dirty(self) -> bool:
        """Whether :meth:`sync` has something to do."""
        with self._lock:
            return bool(self._pending or self._directories or self._retired)

    def opened(self, descriptor: int, path: str) -> None:
        """A descriptor is from now on this ledger's to close."""
        with self._lock:
            self._paths[descriptor] = path

    def entered(self, directory: str) -> None:
        """A name was added to a directory: records there are durable only once the directory is.

        Raises:
            OSError: the directory cannot be opened.
        """
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with self._lock:
            self._directories.append((descriptor, directory))

    def wrote(self, descriptor: int, records: int, *, failures: int) -> None:
        """So many records became whole in a file.

        Args:
            descriptor: as given to :meth:`opened`.
            records: how many.
            failures: :attr:`failures` before their first byte was written. Where an fsync has failed since,
                it may have been the one that lost them, and they never count as durable.
        """
        with self._lock:
            safe = records if failures == self.failures else 0
            self._pending[descriptor] = self._pending.get(descriptor, 0) + safe

    def retire(self, descriptor: int) -> None:
        """Nothing more will be written: the next :meth:`sync` closes it."""
        with self._lock:
            self._retired.append(descriptor)

    def sync(self) -> None:
        """Sync all that was written before the call; a failure is in :attr:`error` until a sync succeeds."""
        with self._turn:
            with self._lock:
                pending, self._pending = self._pending, {}
                directories, self._directories = self._directories, []
                retired, self._retired = self._retired, []
            entered = [self._sync_directory(*directory) for directory in directories]
            synced = [self._sync_one(fd, count, all(entered), fd in retired) for fd, count in pending.items()]
            if all(entered) and all(synced) and (entered or synced):
                with self._lock:
                    self.error = None
            for descriptor in retired:
                with self._lock:
                    del self._paths[descriptor]
                # Its fsync has told all there is to know.
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _sync_directory(self, descriptor: int, path: str) -> bool:
        try:
            self._fsync_directory(descriptor)
        except OSError as error:
            with self._lock:
                self._failed(path, error)
                self._directories.append((descriptor, path))
            return False
        os.close(descriptor)
        return True

    def _sync_one(self, descriptor: int, records: int, entered: bool, last: bool) -> bool:
        try:
            self._fsync(descriptor)
        except OSError as error:
            with self._lock:
                self._failed(self._paths[descriptor], error)
                if not last:
                    # Nothing of it will count, nor what was written while this fsync ran, but asking again
                    # shows when the disk answers again.
                    self._pending[descriptor] = 0
            return False
        if entered:
            with self._lock:
                self.durable += records
        return True

    def _failed(self, path: str, error: OSError) -> None:
        self.failures += 1
        self.error = f"{path}: fsync: {error.strerror or error}"
