"""Allow one coordd per metrics directory, by flock(2) on ``<metrics_dir>/.lock``.

Only the kernel's lock decides who runs. The file's content (pid, version, start time) is for the message to a
second daemon and is trusted no further, because pids are used again. The file is never unlinked, or two
processes could each lock their own.

What is in the file, and what that tells of a holder that crashed, is in lock_content.py.

Where the lock file cannot be made or opened (a clone brought a directory, a FIFO or a link; it is another
user's), the metrics directory itself is locked: that excludes a second daemon as well, but does not name this
one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from types import TracebackType

from coordd.errors import InstanceRunning, StartError
from coordd.service.lock_content import LastHolder, about, crashed_holder, holder_of, may_be_written
from coordd.util.directories import OpenDirectory, open_directory
from coordd.util.flocks import flock_holders
from coordd.util.regular_files import kind_of, open_file, open_regular

NAME = ".lock"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ATTEMPTS = 5


class InstanceLock:
    """Lock one metrics directory, from :meth:`acquire` to :meth:`close` or process end.

    Args:
        directory: the metrics directory; it must exist by the time of :meth:`acquire`.
        version: coordd's version, for the message to a second daemon.
        started_at: when this process started, ``2026-11-22T06:05:00.123Z``, for the same.
        root: a project's canonical path, below which no link is followed; see open_directory.

    A lock file with anything but what coordd writes there is locked and keeps every byte: a second daemon is
    then not told which process holds it.

    ``warning`` says that the directory is locked instead of the file, and why; else None. ``crashed`` is who
    held the lock before and came to no orderly end, None where nothing tells of one.
    """

    def __init__(self, *, directory: str, version: str, started_at: str, root: str | None = None) -> None:
        self.path = os.path.join(directory, NAME)
        self.warning: str | None = None
        self.crashed: LastHolder | None = None
        self._directory = directory
        self._root = root
        self._version = version
        self._started_at = started_at
        self._opened: OpenDirectory | None = None
        self._descriptor: int | None = None
        self._owner: int | None = None

    def acquire(self) -> None:
        """Take the lock, or take it again after the directory was replaced; never waits.

        A lock held before, on a file that is no longer at the path, is released after that.

        Raises:
            InstanceRunning: another process holds it.
            StartError: the directory cannot be opened or locked.
        """
        if self.still_held():
            return
        directory: OpenDirectory | None = None
        try:
            directory = open_directory(self._directory, root=self._root)
            descriptor, why = self._lock(directory)
        except OSError as error:
            if directory is not None:
                directory.close()
            raise StartError(
                f"cannot take the lock {self.path}: {error.strerror}. "
                "Make its directory writable for this user, or name another storage.metrics_dir."
            ) from error
        except BaseException:
            if directory is not None:
                directory.close()
            raise
        first = self._owner is None
        self.close()
        self._opened = directory
        self._descriptor = descriptor
        self._owner = os.getpid()
        if first and why is None:
            self.crashed = crashed_holder(descriptor, directory.fd)
        self.warning = None if why is None else f"{self.path} {why}: the directory itself is locked instead"
        if why is None:
            # On a full disk the lock holds all the same; only the file does not name this daemon then.
            with contextlib.suppress(OSError):
                self._introduce(descriptor)

    def still_held(self) -> bool:
        """Return whether this process holds the lock, and the path still leads to it.

        False after the directory was removed or replaced, and in a forked child.
        """
        if self._descriptor is None or self._opened is None or self._owner != os.getpid():
            return False
        if not self._opened.in_place():
            return False
        if self.warning is not None:  # once a lock file can be made, the next daemon will lock that
            return not _usable(self._opened)
        return _leads_to(self._opened, self._descriptor)

    def ended(self) -> None:
        """Write into the file that this process ends in order; harmless when the lock is not held."""
        if self._descriptor is not None and self._owner == os.getpid() and self.warning is None:
            with contextlib.suppress(OSError):
                self._introduce(self._descriptor, ended=True)

    def close(self) -> None:
        """Release the lock; harmless when it is not held.

        In a forked child only the child's copy of the descriptor is closed, and the parent keeps the lock. In
        the process that took it the lock is released even while a child still has a copy.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if os.getpid() == self._owner:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def __enter__(self) -> InstanceLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self, directory: OpenDirectory) -> tuple[int, str | None]:
        """Return the locked descriptor; and why the directory was locked, None for the lock file."""
        for _ in range(_ATTEMPTS):
            descriptor, why = _open(directory)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                running = holder_of(self.path, descriptor)
                os.close(descriptor)
                if why is not None and self.warning is not None:  # this process holds it itself
                    break
                raise running from None
            except BaseException:
                os.close(descriptor)
                raise
            # The directory may have been replaced before flock(): such a lock excludes nobody.
            if why is not None or _leads_to(directory, descriptor):
                return descriptor, why
            os.close(descriptor)
        raise OSError(errno.EAGAIN, "it keeps being replaced", self.path)

    def _introduce(self, descriptor: int, *, ended: bool = False) -> None:
        """Write into the lock file which process this is; keep out users other than owner and group.

        Any user who may read the file could lock it.
        """
        state = os.fstat(descriptor)
        if state.st_uid == os.geteuid() and state.st_mode & 0o007:
            os.fchmod(descriptor, stat.S_IMODE(state.st_mode) & ~0o007)
        if not may_be_written(descriptor, state):
            return
        folder = None if self._opened is None else self._opened.fd
        content = about(self._version, self._started_at, folder=folder, ended=ended)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


@contextlib.contextmanager
def borrowed(directory: str, *, root: str | None) -> Iterator[None]:
    """Hold the lock of a directory without writing who does: what it tells of the last coordd stays.

    Raises:
        InstanceRunning: another process holds it.
        OSError: the directory or the file cannot be opened.
    """
    with open_directory(directory, root=root) as opened:
        descriptor, _ = _open(opened)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise holder_of(os.path.join(directory, NAME), descriptor) from None
            yield
        finally:
            os.close(descriptor)


def demand_free(directory: str, *, root: str | None) -> None:
    """Check that no other process holds the lock of a directory; leaves no trace. A missing file is free.

    Raises:
        InstanceRunning: another process holds it.
    """
    try:
        with open_directory(directory, root=root) as opened:
            descriptor = open_file(NAME, directory=opened.fd)
    except OSError:
        return
    try:
        running = running_under(os.path.join(directory, NAME), descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
    if running is not None:
        raise running


def running_under(path: str, descriptor: int) -> InstanceRunning | None:
    """Return the error that names the process that holds a lock; None where it is free.

    The lock is shared for an instant to find out: a daemon that starts just then is refused.

    Args:
        path: of the lock file or of the directory in its place, for the error.
        descriptor: of it.

    Raises:
        OSError: flock(2) failed.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder_of(path, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return None


def _open(directory: OpenDirectory) -> tuple[int, str | None]:
    """Open the lock file, made if missing; or else the directory, with the reason why not the file."""
    for _ in range(_ATTEMPTS):
        try:
            state = os.stat(NAME, dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            state = None
        if state is not None and not stat.S_ISREG(state.st_mode):
            return os.open(".", _DIRECTORY, dir_fd=directory.fd), f"is {kind_of(state.st_mode)}"
        try:
            flags = os.O_RDWR | os.O_CREAT
            return open_regular(
                NAME, flags, refuse=FileExistsError, directory=directory.fd, mode=0o640, looked=True
            ), None
        except PermissionError as error:
            if state is None or _may_be_locked(state.st_ino):
                raise
            return os.open(".", _DIRECTORY, dir_fd=directory.fd), f"may not be written ({error.strerror})"
        except FileExistsError:
            continue  # it was replaced just now
    raise OSError(errno.EAGAIN, "it keeps being replaced", directory.path)


def _usable(directory: OpenDirectory) -> bool:
    """Return whether there is a lock file that can be opened, or one could be made."""
    try:
        os.close(open_regular(NAME, os.O_RDWR, refuse=FileExistsError, directory=directory.fd))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _may_be_locked(inode: int) -> bool:
    """Return whether another process may hold a lock on a file that this user may not open."""
    locked = flock_holders()
    return locked is None or inode in locked


def _leads_to(directory: OpenDirectory, descriptor: int) -> bool:
    """Return whether the lock file in a directory is the one that is open."""
    try:
        there, held = os.stat(NAME, dir_fd=directory.fd, follow_symlinks=False), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
