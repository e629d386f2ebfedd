"""Find the process that holds the lock of a metrics directory, without taking the lock, and stop it.

The kernel tells which process holds an flock (/proc/locks), and which files a process has open; the lock
file's content is used only where there is no /proc. The signal goes through a pidfd, which is opened before
the holder is looked up a second time: so a pid that was used again in between is never hit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
import time
from dataclasses import dataclass

from coordd.errors import InstanceRunning, StartError
from coordd.service.lock import running_under
from coordd.util.flocks import flock_holders
from coordd.util.unit import unit_of

DRAIN = 8.0
"""Seconds for the first SIGTERM: coordd drains for five at most."""
FORCED = 3.0
"""Seconds for the second SIGTERM, after which coordd does not drain."""
_STEP = 0.05


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The process that holds a lock; ``pidfd`` is None where the system has no pidfds."""

    pid: int
    lock: str
    pidfd: int | None

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd is not None:
            os.close(self.pidfd)

    def manager(self) -> str | None:
        """Return the unit that runs it as a service; None where it was started by hand or by cron."""
        return unit_of(self.pid)

    def stop(self, *, drain: float = DRAIN, forced: float = FORCED) -> bool:
        """Tell the process to end and wait for that; return whether one SIGTERM was enough.

        Raises:
            StartError: this user may not signal it, or it does not end.
        """
        for patience in (drain, forced):
            try:
                self._signal(signal.SIGTERM)
            except ProcessLookupError:
                return True
            except PermissionError:
                raise StartError(
                    f"coordd with pid {self.pid} is another user's: stop it as that user, or as root"
                ) from None
            if self._gone(patience):
                return patience == drain
        raise StartError(
            f"coordd with pid {self.pid} does not end within {drain + forced:g} s of two SIGTERM. "
            f"If it hangs for good: kill -KILL {self.pid}; it has lost nothing that anybody was told."
        )

    def _signal(self, number: signal.Signals) -> None:
        if self.pidfd is None:
            os.kill(self.pid, number)
        else:
            signal.pidfd_send_signal(self.pidfd, number)

    def _gone(self, seconds: float) -> bool:
        if self.pidfd is not None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        deadline = time.monotonic() + seconds
        while find_pid(self.lock) == self.pid:
            if time.monotonic() > deadline:
                return False
            time.sleep(_STEP)
        return True


def find_holder(metrics_dir: str) -> LockHolder | None:
    """Return the process that records into a metrics directory now; None where none does.

    Raises:
        StartError: one does, but it cannot be told which.
    """
    lock = os.path.join(metrics_dir, ".lock")
    pid = find_pid(lock)
    if pid is None:
        return None
    pidfd = _pidfd(pid)
    if find_pid(lock) != pid:  # it has just ended, and the pidfd may be another process's
        if pidfd is not None:
            os.close(pidfd)
        return None
    return LockHolder(pid, lock, pidfd)


def find_pid(lock: str) -> int | None:
    """Return the process that holds the flock of this file, or of its directory in its place; None if free.

    Raises:
        StartError: the process is another user's, or is not a coordd of this directory; or the file cannot be
            examined.
    """
    locked = flock_holders()
    closed = False
    for path in (lock, os.path.dirname(lock)):
        try:
            inode = os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise StartError(f"cannot tell whether coordd runs: {path}: {error.strerror}") from error
        if path == lock and not stat.S_ISREG(inode.st_mode):
            continue
        if locked is None:
            running = _running(path)
            if running is not None and running.pid is None:
                raise StartError(f"somebody holds {path}, and it does not say who: lsof {path}")
            if running is not None:
                return running.pid
            continue
        for pid in locked.get(inode.st_ino, ()):
            try:
                if _has_open(pid, inode):
                    _demand_owner(pid, path, inode)
                    return pid
            except PermissionError:
                closed = closed or _running(path) is not None
    if closed:
        raise StartError(
            f"coordd runs as another user and holds {lock}: stop it as that user, or as root; where it is a "
            "service, with 'systemctl stop coordd'"
        )
    return None


def _demand_owner(pid: int, path: str, inode: os.stat_result) -> None:
    """Raise unless a holder owns what it locked, or is root or this user: any reader may lock a file.

    Raises:
        StartError: the holder is somebody else.
    """
    # The owner of its directory in /proc does not tell: that is root where it may not be traced (proc(5)).
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        uid = next((int(line.split()[2]) for line in file if line.startswith("Uid:")), None)
    if uid not in (0, os.geteuid(), inode.st_uid):
        raise StartError(
            f"{path} is locked by pid {pid} of uid {uid}, who does not own it: no coordd of this place, "
            f"and is left alone. See what it is with 'ps {pid}'; that user or root may end it."
        )


def _has_open(pid: int, inode: os.stat_result) -> bool:
    """Return whether a process has this very file open; another file system may use the same inode number."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return False
    for name in names:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state = os.stat(f"{folder}/{name}")
            if (state.st_dev, state.st_ino) == (inode.st_dev, inode.st_ino):
                return True
    return False


def _running(lock: str) -> InstanceRunning | None:
    """Return who holds a lock as far as its file says; None where it is free.

    Raises:
        StartError: it cannot be told.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise StartError(f"cannot tell whether coordd runs: {lock}: {error.strerror}") from error
    try:
        return running_under(lock, descriptor)
    finally:
        os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ESRCH, errno.EPERM):
            return None
        raise
