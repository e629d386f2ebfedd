"""One coordd per metrics directory: flock(2) on ``<metrics_dir>/.lock``.

The kernel's lock alone decides who runs; what stands in the file (pid, version, start time) is only for the
message to the one who comes second, and is never believed beyond that: pids are used again. The file is never
unlinked, or two processes could each lock their own.
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

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_LIMIT = 4096
_TEXT_LIMIT = 64
_ATTEMPTS = 5


class InstanceLock:
    """The lock of one metrics directory, held from :meth:`acquire` to :meth:`close` or process end.

    Args:
        directory: the metrics directory; it must exist by the time of :meth:`acquire`.
        version: coordd's version, for whoever comes second.
        started_at: when this process started, ``2026-11-22T06:05:00.123Z``, for the same.
    """

    def __init__(self, *, directory: str, version: str, started_at: str) -> None:
        self.path = os.path.join(directory, ".lock")
        self._version = version
        self._started_at = started_at
        self._descriptor: int | None = None
        self._owner: int | None = None

    def acquire(self) -> None:
        """Take the lock, or take it anew after the directory was replaced; never waits.

        The lock held before, on a file that the path no longer leads to, is let go only once the new one is
        held.

        Raises:
            InstanceRunning: another process holds it.
            StartError: the lock file cannot be opened or locked.
        """
        if self.still_held():
            return
        try:
            descriptor = self._lock()
        except OSError as error:
            raise StartError(
                f"cannot take the lock {self.path}: {error.strerror}. "
                "Make its directory writable for this user, or name another storage.metrics_dir."
            ) from error
        self.close()
        self._descriptor = descriptor
        self._owner = os.getpid()
        # On a full disk the lock still holds: the daemon then starts degraded, and is only not named.
        with contextlib.suppress(OSError):
            self._introduce(descriptor)

    def still_held(self) -> bool:
        """Whether this process holds the lock and the path still leads to it.

        Not so once the directory was removed or replaced, and never in a forked child.
        """
        return (
            self._descriptor is not None and self._owner == os.getpid() and self._leads_to(self._descriptor)
        )

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

    def _lock(self) -> int:
        for _ in range(_ATTEMPTS):
            descriptor = os.open(self.path, _FLAGS, 0o640)
            try:
                _demand_regular(descriptor, self.path)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read_holder(descriptor)
                os.close(descriptor)
                pid, version, started_at = holder
                raise InstanceRunning(self.path, pid=pid, version=version, started_at=started_at) from None
            except BaseException:
                os.close(descriptor)
                raise
            # Between open and flock the directory may have been replaced: such a lock excludes nobody.
            if self._leads_to(descriptor):
                return descriptor
            os.close(descriptor)
        raise OSError(errno.EAGAIN, "it keeps being replaced", self.path)

    def _leads_to(self, descriptor: int) -> bool:
        try:
            there, held = os.lstat(self.path), os.fstat(descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def _introduce(self, descriptor: int) -> None:
        about = {"pid": os.getpid(), "version": self._version, "started_at": self._started_at}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode() + b"\n", 0)


def _demand_regular(descriptor: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EEXIST, "it is not a regular file", path)


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
