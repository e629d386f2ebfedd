"""Tell by inotify that something changed in homes: which folder or file, never what is there now.

One inotify serves all homes. Whoever watches is an *owner*, and says each time anew what it watches: so a
path that leads elsewhere by now is followed. A transcript is watched for one event: its session is then read
no sooner than it may be, and watched anew just before. :meth:`Watch.arm` makes system calls that may block,
so it runs in a thread; the loop only drains the descriptor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterable

from coordd.util import inotify as ino

Tell = Callable[[int, str], None]
"""Called on the loop with the event's mask and the name in the watched folder ("": the watched thing itself;
a mask of Q_OVERFLOW: events were lost)."""

ONCE = 0x8000_0000  # IN_ONESHOT
FOLLOW = 0x1_0000_0000
"""None of the kernel's: follow a link in the last place, such as leads to what a process has open."""
GONE = ino.DELETE_SELF | ino.MOVE_SELF | ino.UNMOUNT
APPEARED = ino.CREATE | ino.MOVED_TO
VANISHED = ino.DELETE | ino.MOVED_FROM
MODIFY = 0x2

_PASSED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
"""Errors of what is not there, or not for coordd: reading says what there is to say."""
_LIMITS = {
    errno.EMFILE: "too many inotify instances or open files: raise fs.inotify.max_user_instances",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOSPC: "out of inotify watches: raise fs.inotify.max_user_watches",
}
_MAX_EARLY = 1000


class Watch:
    """Watch paths for owners.

    Args:
        open_backend: opens inotify; raises OSError if that fails.
    """

    def __init__(self, *, open_backend: Callable[[], ino.Backend] = ino.LibcBackend) -> None:
        self._open_backend = open_backend
        self._backend: ino.Backend | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reason: str | None = "not started"
        # Threads change what is below under the lock, and make no system call that may block under it.
        self._lock = threading.Lock()
        self._tells: dict[int, dict[Hashable, Tell]] = {}
        self._armed: dict[Hashable, frozenset[int]] = {}
        self._early: dict[int, int] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen, on the loop; ``reason`` says why not if that fails, and is None otherwise.

        Whoever shares it may call this and :meth:`close`; the first call of each counts.
        """
        if self._backend is not None:
            return
        if sys.platform != "linux":
            self.reason = "inotify exists on Linux only"
            return
        try:
            self._backend = self._open_backend()
        except (OSError, AttributeError) as error:  # AttributeError: a C library without inotify
            self.reason = explain(error)
            return
        self._loop, self.reason = loop, None
        loop.add_reader(self._backend.fd, self._drain)

    def close(self) -> None:
        """Stop listening, on the loop; an :meth:`arm` that is still running in its thread has no effect."""
        backend, self._backend = self._backend, None
        self.reason = "stopped"
        if backend is not None and self._loop is not None:
            self._loop.remove_reader(backend.fd)
            backend.close()
        with self._lock:
            self._tells.clear()
            self._armed.clear()
            self._early.clear()

    def arm(self, owner: Hashable, wanted: Iterable[tuple[str, int]], tell: Tell) -> Exception | None:
        """Watch these paths for an owner, each for the events of its mask, and nothing else any more.

        For a thread. Returns why something could not be watched; what is not there is passed over.
        """
        backend = self._backend
        if backend is None:
            return None
        found: dict[int, None] = {}
        failed = None
        for path, mask in wanted:
            try:
                grow = 0 if mask & ONCE else ino.MASK_ADD  # another owner may watch the same folder
                last = 0 if mask & FOLLOW else ino.DONT_FOLLOW
                found[backend.add(path, mask & ~FOLLOW | last | grow)] = None
            except OSError as error:
                if error.errno not in _PASSED:
                    failed = error
        early = self._commit(owner, frozenset(found), tell, backend)
        if early and self._loop is not None:
            try:
                for event in early:
                    self._loop.call_soon_threadsafe(tell, event, "")
            except RuntimeError:  # the loop is closed
                return failed
        return failed

    def forget(self, owner: Hashable) -> None:
        """Watch nothing for an owner any more; from any thread."""
        backend = self._backend
        if backend is not None:
            self._commit(owner, frozenset(), _nothing, backend)

    @property
    def owners(self) -> frozenset[Hashable]:
        """Who watches anything."""
        with self._lock:
            return frozenset(self._armed)

    def _commit(self, owner: Hashable, found: frozenset[int], tell: Tell, backend: ino.Backend) -> list[int]:
        """Note what an owner watches; return events that came before that was known."""
        surplus = []
        with self._lock:
            early = [self._early.pop(wd) for wd in found if wd in self._early]
            for wd in self._armed.pop(owner, frozenset()) - found:
                tells = self._tells.get(wd)
                if tells is not None:
                    tells.pop(owner, None)
                    if not tells:
                        del self._tells[wd]
                        surplus.append(wd)
            for wd in found:
                self._tells.setdefault(wd, {})[owner] = tell
            if found:
                self._armed[owner] = found
        for wd in surplus:
            backend.remove(wd)
        return early

    def _drain(self) -> None:
        """Handle the events of one read; the loop calls again at once while there are more."""
        backend = self._backend
        if backend is None:
            return
        try:
            buffer = os.read(backend.fd, ino.READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        calls: list[tuple[Tell, int, str]] = []
        with self._lock:
            for wd, mask, name in ino.parse_events(buffer):
                if mask & ino.Q_OVERFLOW:
                    calls += [(tell, mask, "") for tells in self._tells.values() for tell in tells.values()]
                    continue
                known = self._tells.get(wd)
                if known is not None:
                    if mask & ~ino.IGNORED:
                        calls += [(tell, mask, name) for tell in known.values()]
                    if mask & ino.IGNORED:
                        del self._tells[wd]
                elif mask & ~ino.IGNORED:
                    if len(self._early) >= _MAX_EARLY:  # of watches that have ended
                        del self._early[next(iter(self._early))]
                    self._early[wd] = mask
        for tell, mask, name in calls:
            tell(mask, name)

    def _fail(self, error: OSError) -> None:
        with self._lock:
            tells = [tell for one in self._tells.values() for tell in one.values()]
        self.close()
        self.reason = explain(error)
        for tell in tells:
            tell(ino.Q_OVERFLOW, "")


def explain(error: Exception) -> str:
    """Return in words why nothing can be watched."""
    if isinstance(error, OSError):
        return _LIMITS.get(error.errno or 0) or f"inotify: {error.strerror or error}"
    return f"this C library has no inotify: {error}"


def _nothing(_mask: int, _name: str) -> None:
    """Do nothing."""
