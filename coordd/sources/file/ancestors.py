"""Watch the directories above each workspace for their own removal, move and unmount, and for nothing else.

A project whose parent is moved away and made anew is another project, and nothing in it tells. The watches
have an inotify of their own: a directory has one mask in each, so a busy ancestor such as ``/tmp`` or a home
could not be kept quiet where another workspace hears of names in it. Here the kernel queues nothing for what
is made in them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator

from coordd.sources.coordination import COORDINATION
from coordd.util import inotify as ino

_MASK = ino.DELETE_SELF | ino.MOVE_SELF | ino.ONLYDIR  # an unmount is told without being asked for
_ENDS = ino.DELETE_SELF | ino.MOVE_SELF | ino.UNMOUNT | ino.IGNORED
_PASSED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
"""Errors of an ancestor that is not there, or that only others may read: the full readings find its end."""


class Ancestors:
    """Watch what is above workspaces; an ancestor of many is watched once.

    Args:
        backend: an inotify that nothing else uses; it is closed with this object.
        loop: reads its events.
        on_moved: called on the loop with each workspace below a directory that was moved or removed.
        on_failed: called on the loop when events can be read no longer.
    """

    def __init__(
        self,
        *,
        backend: ino.Backend,
        loop: asyncio.AbstractEventLoop,
        on_moved: Callable[[str], None],
        on_failed: Callable[[OSError], None],
    ) -> None:
        self._backend = backend
        self._loop = loop
        self._on_moved = on_moved
        self._on_failed = on_failed
        self._lock = threading.Lock()  # no system call that may block is made under it
        self._below: dict[int, set[str]] = {}
        self._above: dict[str, frozenset[int]] = {}

    def start(self) -> None:
        """Begin to read events, on the loop."""
        self._loop.add_reader(self._backend.fd, self._drain)

    def close(self) -> None:
        """Stop, on the loop; calling it twice is harmless."""
        if self._backend.fd >= 0:
            self._loop.remove_reader(self._backend.fd)
        self._backend.close()
        with self._lock:
            self._below.clear()
            self._above.clear()

    def watch(self, workspace: str, folder: str) -> OSError | None:
        """Watch all directories above a workspace as they are now; return why one could not be watched.

        ``folder`` is the canonical path of its coordination folder, which may lie elsewhere.

        For a trace thread, before the workspace itself is watched.
        """
        climb = Climb(self._backend)
        climb.over(_above(workspace, folder))
        self.keep(workspace, climb)
        return climb.error

    def climb(self) -> Climb:
        """Return a climb for directories that are named one after the other; :meth:`keep` is to follow."""
        return Climb(self._backend)

    def keep(self, owner: str, climb: Climb | None) -> None:
        """Watch for ``owner`` what the climb has found, and no longer what one before had."""
        found = frozenset(climb.found) if climb is not None else frozenset()
        with self._lock:
            for wd in self._above.pop(owner, frozenset()) - found:
                below = self._below.get(wd)
                if below is not None:
                    below.discard(owner)
                    if not below:
                        del self._below[wd]
                        self._backend.remove(wd)
            for wd in found:
                self._below.setdefault(wd, set()).add(owner)
            if found:
                self._above[owner] = found

    def _drain(self) -> None:
        try:
            buffer = os.read(self._backend.fd, ino.READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_failed(error)
            return
        moved: set[str] = set()
        with self._lock:
            for wd, mask, _ in ino.parse_events(buffer):
                if mask & ino.Q_OVERFLOW:
                    moved.update(self._above)
                elif mask & _ENDS:
                    moved.update(self._below.get(wd, ()))
                if mask & ino.IGNORED:
                    self._below.pop(wd, None)
        for workspace in moved:
            self._on_moved(workspace)


class Climb:
    """One walk over ancestors; ``found`` are their watch numbers, ``error`` is why one is not watched."""

    def __init__(self, backend: ino.Backend) -> None:
        self._backend = backend
        self._seen: set[str] = set()
        self.found: set[int] = set()
        self.error: OSError | None = None

    def over(self, directories: Iterable[str]) -> None:
        """Watch these directories, the upper one first: a move meanwhile is told, or its outcome watched."""
        for path in directories:
            if path in self._seen:
                continue
            self._seen.add(path)
            try:
                self.found.add(self._backend.add(path, _MASK | ino.MASK_ADD))
            except OSError as error:
                if error.errno not in _PASSED:
                    self.error = error

    def above(self, path: str) -> None:
        """Watch everything above one directory."""
        for spelling in dict.fromkeys((path, os.path.realpath(path))):
            self.over(_parents(spelling))


def _above(workspace: str, folder: str) -> Iterator[str]:
    """Yield the directories above a workspace, and above where its folder and links in its path lead."""
    yield from _parents(workspace)
    real = os.path.realpath(workspace)
    if real != workspace:
        yield from _parents(real)
    if folder != f"{workspace}/{COORDINATION}":
        yield from _parents(folder)


def _parents(path: str) -> Iterator[str]:
    """Yield the directories above a path, the upper one first."""
    position = path.find("/")
    while 0 <= position < len(path) - 1:
        yield path[:position] or "/"
        position = path.find("/", position + 1)
