"""One coordd per metrics directory: flock(2) on ``<metrics_dir>/.lock``.

The kernel's lock alone decides who runs; what stands in the file (pid, version, start time) is only for the
message to the one who comes second, and is never believed beyond that: pids are used again. The file is never
unlinked, or two processes could each lock their own.

Where no lock file can be had under that name (a clone brought a directory, a FIFO, a link; it is another
user's), the metrics directory itself is locked: that is as good, and only tells nobody of us.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from types import TracebackType

from coordd.errors import InstanceRunning, StartError
from coordd.util.directories import OpenDirectory, open_directory
from coordd.util.regular_files import kind_of, open_file

NAME = ".lock"
LOCKS = "/proc/locks"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_LIMIT = 4096
_ABOUT = {"pid", "version", "started_at"}
_TEXT_LIMIT = 64
_ATTEMPTS = 5


class InstanceLock:
    """The lock of one metrics directory, held from :meth:`acquire` to :meth:`close` or process end.

    Args:
        directory: the metrics directory; it must exist by the time of :meth:`acquire`.
        version: coordd's version, for whoever comes second.
        started_at: when this process started, ``2026-11-22T06:05:00.123Z``, for the same.
        root: a project's canonical path, below which no link is followed; see open_directory.

    A lock file that holds anything else than coordd writes there is locked and keeps every byte: then whoever
    comes second is not told of whom it meets.

    ``warning`` says that the directory is locked in place of a file, and why; else None.
    """

    def __init__(self, *, directory: str, version: str, started_at: str, root: str | None = None) -> None:
        self.path = os.path.join(directory, NAME)
        self.warning: str | None = None
        self._directory = directory
        self._root = root
        self._version = version
        self._started_at = started_at
        self._place: OpenDirectory | None = None
        self._descriptor: int | None = None
        self._owner: int | None = None

    def acquire(self) -> None:
        """Take the lock, or take it anew after the directory was replaced; never waits.

        The lock held before, on a file that the path no longer leads to, is let go only once the new one is
        held.

        Raises:
            InstanceRunning: another process holds it.
            StartError: the directory cannot be opened or locked.
        """
        if self.still_held():
            return
        place: OpenDirectory | None = None
        try:
            place = open_directory(self._directory, root=self._root)
            descriptor, why = self._lock(place)
        except OSError as error:
            if place is not None:
                place.close()
            raise StartError(
                f"cannot take the lock {self.path}: {error.strerror}. "
                "Make its directory writable for this user, or name another storage.metrics_dir."
            ) from error
        except BaseException:
            if place is not None:
                place.close()
            raise
        self.close()
        self._place = place
        self._descriptor = descriptor
        self._owner = os.getpid()
        self.warning = None if why is None else f"{self.path} {why}: the directory itself is locked instead"
        if why is None:
            # On a full disk the lock still holds: the daemon then starts degraded, and is only not named.
            with contextlib.suppress(OSError):
                self._introduce(descriptor)

    def still_held(self) -> bool:
        """Whether this process holds the lock and the path still leads to it.

        Not so once the directory was removed or replaced, and never in a forked child.
        """
        if self._descriptor is None or self._place is None or self._owner != os.getpid():
            return False
        if not self._place.in_place():
            return False
        if self.warning is not None:  # once a lock file can be had, whoever starts next will lock that
            return not _usable(self._place)
        return _leads_to(self._place, self._descriptor)

    def close(self) -> None:
        """Let the lock go; harmless when it is not held.

        In a forked child only the child's copy of the descriptor is closed and the parent goes on holding the
        lock; in the process that took it the lock is gone even while a child still has a copy.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if os.getpid() == self._owner:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)
            if self._place is not None:
                self._place.close()
                self._place = None

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

    def _lock(self, place: OpenDirectory) -> tuple[int, str | None]:
        """The locked descriptor, and why it is the directory's where it is."""
        for _ in range(_ATTEMPTS):
            descriptor, why = _open(place)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, version, started_at = _read_holder(descriptor)
                os.close(descriptor)
                if why is not None and self.warning is not None:  # it is ourselves
                    break
                raise InstanceRunning(self.path, pid=pid, version=version, started_at=started_at) from None
            except BaseException:
                os.close(descriptor)
                raise
            # Between open and flock the directory may have been replaced: such a lock excludes nobody.
            if why is not None or _leads_to(place, descriptor):
                return descriptor, why
            os.close(descriptor)
        raise OSError(errno.EAGAIN, "it keeps being replaced", self.path)

    def _introduce(self, descriptor: int) -> None:
        """Say who holds it, and keep users out who are neither owner nor group: whoever may read may lock."""
        state = os.fstat(descriptor)
        if state.st_uid == os.geteuid() and state.st_mode & 0o007:
            os.fchmod(descriptor, stat.S_IMODE(state.st_mode) & ~0o007)
        if not _ours(descriptor, state):
            return
        about = {"pid": os.getpid(), "version": self._version, "started_at": self._started_at}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode() + b"\n", 0)


def demand_free(directory: str, *, root: str | None) -> None:
    """Look whether another process holds the lock of a directory, without a trace; nothing there is free.

    Raises:
        InstanceRunning: one does.
    """
    try:
        with open_directory(directory, root=root) as place:
            descriptor = open_file(NAME, directory=place.fd)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, version, started_at = _read_holder(descriptor)
        path = os.path.join(directory, NAME)
        raise InstanceRunning(path, pid=pid, version=version, started_at=started_at) from None
    except OSError:
        return
    finally:
        os.close(descriptor)


def locked_inodes() -> dict[int, list[int]] | None:
    """The inode numbers that are locked by flock(2), with the pids that hold them; None without /proc.

    The device is not told: on overlayfs and btrfs it is another than stat(2) says.
    """
    try:
        with open(LOCKS, encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return None
    found: dict[int, list[int]] = {}
    for row in rows:
        if len(row) > 5 and row[1] == "FLOCK":
            with contextlib.suppress(ValueError):
                found.setdefault(int(row[5].rpartition(":")[2]), []).append(int(row[4]))
    return found


def _open(place: OpenDirectory) -> tuple[int, str | None]:
    """The lock file, made where there is none; else the directory itself, and why not the file."""
    for _ in range(_ATTEMPTS):
        try:
            state = os.stat(NAME, dir_fd=place.fd, follow_symlinks=False)
        except FileNotFoundError:
            state = None
        if state is not None and not stat.S_ISREG(state.st_mode):
            return os.open(".", _DIRECTORY, dir_fd=place.fd), f"is {kind_of(state.st_mode)}"
        try:
            descriptor = os.open(NAME, _FLAGS, 0o640, dir_fd=place.fd)
        except PermissionError as error:
            if state is None or _may_be_locked(state.st_ino):
                raise
            return os.open(".", _DIRECTORY, dir_fd=place.fd), f"may not be written ({error.strerror})"
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                continue  # replaced this moment
            raise
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor, None
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "it keeps being replaced", place.path)


def _usable(place: OpenDirectory) -> bool:
    """Whether a lock file is there or could be made."""
    try:
        state = os.stat(NAME, dir_fd=place.fd, follow_symlinks=False)
        if stat.S_ISREG(state.st_mode):
            os.close(os.open(NAME, _FLAGS & ~os.O_CREAT, dir_fd=place.fd))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode)


def _may_be_locked(inode: int) -> bool:
    """Whether somebody may hold a lock on a file that is not ours to open."""
    locked = locked_inodes()
    return locked is None or inode in locked


def _leads_to(place: OpenDirectory, descriptor: int) -> bool:
    """Whether the lock file in a directory is the one that is open."""
    try:
        there, held = os.stat(NAME, dir_fd=place.fd, follow_symlinks=False), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def _ours(descriptor: int, state: os.stat_result) -> bool:
    """Whether nothing is lost by writing: others use that name too, and it may be a hard link of theirs."""
    content = os.pread(descriptor, _READ_LIMIT + 1, 0)
    if not content.strip(b"\0"):  # a power loss leaves NUL bytes
        return state.st_size <= _READ_LIMIT and state.st_nlink == 1
    try:
        about = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return state.st_size <= _READ_LIMIT and isinstance(about, dict) and about.keys() == _ABOUT


def _read_holder(descriptor: int) -> tuple[int | None, str | None, str | None]:
    """Pid, version and start time as far as the file tells; it may be empty, torn, or a stranger's."""
    try:
        about = json.loads(os.pread(descriptor, _READ_LIMIT, 0))
    except (OSError, ValueError, RecursionError):
        return None, None, None
    if not isinstance(about, dict):
        return None, None, None
    pid = about.get("pid")
    known = isinstance(pid, int) and not isinstance(pid, bool) and 0 < pid < 2**31
    return pid if known else None, _text(about.get("version")), _text(about.get("started_at"))


def _text(value: object) -> str | None:
    usable = isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT and value.isprintable()
    return value if usable and isinstance(value, str) else None
