"""Turn inotify events into hints: which folder or agent to read again.

Events are only hints; the state is what a reading finds. :meth:`Watcher.arm` makes system calls that may
block on a hung file system, so it runs in a trace thread, before each full reading: changes made in between
are announced. The loop only drains the descriptor.

A watch stays with a directory that is renamed, so arming resolves every path again and drops watches on
directories that have moved. chain.py decides what is watched, and for which events; ancestors.py watches what
is above.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from coordd.sources.coordination import COORDINATION
from coordd.sources.file.agent_files import ALL_SUFFIXES
from coordd.sources.file.ancestors import Ancestors
from coordd.sources.file.chain import SEARCH, Arming, Interest, mask_of
from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.mounts import remote_type
from coordd.sources.file.parse import ACTIVE_LIST, is_litter
from coordd.sources.file.search import Await
from coordd.util import inotify as ino

T = TypeVar("T")

_STRUCTURE = ino.DELETE_SELF | ino.MOVE_SELF | ino.UNMOUNT | ino.IGNORED
_APPEARED = ino.CREATE | ino.MOVED_TO
_TOLD = _APPEARED | ino.MOVED_FROM | ino.DELETE | ino.CLOSE_WRITE | ino.ATTRIB

_NO_INOTIFY = "inotify exists on Linux only"
_LIMITS = {
    errno.EMFILE: "too many inotify instances or open files: raise fs.inotify.max_user_instances",
    errno.ENFILE: "too many open files on this machine",
    errno.ENOSPC: "out of inotify watches: raise fs.inotify.max_user_watches",
}


@dataclass(frozen=True, slots=True)
class Followed:
    """How changes become known: announced by inotify, or found by polling for a ``reason``."""

    state: Literal["inotify", "poll"] = "poll"
    reason: str | None = None


class _Watch:
    __slots__ = ("interests", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self.interests: tuple[Interest, ...] = ()


class Watcher:
    """Watch workspaces and report where something changed.

    Args:
        on_hint: called on the loop with workspace and hint, many thousands of times a second and often with
            the same values; must not raise.
        on_search: called alike, where a workspace may have appeared that :meth:`search` did not find.
        on_maybe_link: called alike with the path of something that may do so if it is a link.
        open_backend: opens inotify; raises OSError if that fails.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    def __init__(
        self,
        *,
        on_hint: Callable[[str, Hint], None],
        on_search: Callable[[], None] = lambda: None,
        on_maybe_link: Callable[[str], None] = lambda _: None,
        open_backend: Callable[[], ino.Backend] = ino.LibcBackend,
        remote: Callable[[str], str | None] = remote_type,
    ) -> None:
        self._on_hint = on_hint
        self._on_search = on_search
        self._on_maybe_link = on_maybe_link
        self._open_backend = open_backend
        self._remote = remote
        self._backend: ino.Backend | None = None
        self._ancestors: Ancestors | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reason: str | None = "not started"
        # Trace threads replace whole values under the lock; the loop reads without it.
        self._lock = threading.Lock()
        self._watches: dict[int, _Watch] = {}
        self._armed: dict[str, frozenset[int]] = {}
        self._fstypes: dict[str, tuple[frozenset[int], str | None]] = {}

    @property
    def followed(self) -> Followed:
        """Whether inotify works at all; :meth:`arm` returns the answer for one workspace."""
        return Followed("poll", self._reason) if self._reason is not None else Followed("inotify")

    def start(self, loop: asyncio.AbstractEventLoop) -> Followed:
        """Begin to listen, on the loop; if that fails, watch nothing and return the reason."""
        if sys.platform != "linux":
            self._reason = _NO_INOTIFY
            return self.followed
        backend = None
        try:
            backend = self._open_backend()
            above = self._open_backend()
        except (OSError, AttributeError) as error:  # AttributeError: a C library without inotify
            if backend is not None:
                backend.close()
            self._reason = _reason_of(error)
            return self.followed
        self._backend, self._loop = backend, loop
        self._reason = None
        loop.add_reader(backend.fd, self._drain)
        self._ancestors = Ancestors(
            backend=above, loop=loop, on_moved=lambda one: self._rescan((one,)), on_failed=self._fail
        )
        self._ancestors.start()
        return self.followed

    def close(self) -> None:
        """Stop listening, on the loop; an :meth:`arm` that is still running in its thread has no effect."""
        backend, self._backend = self._backend, None
        self._reason = "stopped"
        if backend is not None and self._loop is not None:
            self._loop.remove_reader(backend.fd)
            backend.close()
        if self._ancestors is not None:
            self._ancestors.close()
        with self._lock:
            self._watches.clear()
            self._armed.clear()

    def arm(self, workspace: str, folder: str | None = None) -> Followed:
        """Watch a workspace as it exists now; for a trace thread, each time before a full reading.

        Args:
            workspace: its canonical path.
            folder: that of its coordination folder; None: below the workspace.
        """
        folder = folder or f"{workspace}/{COORDINATION}"
        backend, ancestors = self._backend, self._ancestors
        if backend is None or ancestors is None:
            return self.followed
        error = ancestors.watch(workspace, folder)
        arming = Arming(backend, workspace, folder)
        arming.walk()
        if self._drop_surplus(arming, backend):
            arming = Arming(backend, workspace, folder)
            arming.walk()
        self._commit(workspace, arming.found, backend)
        fstype = self._fstype(workspace, folder, frozenset(arming.found))
        if fstype is not None:
            return Followed("poll", f"{fstype}: inotify does not see what other machines write")
        error = arming.error or error
        if error is not None:
            return Followed("poll", _reason_of(error))
        return Followed("inotify")

    def search(self, look: Callable[[Await], T]) -> T:
        """Look for workspaces, and from then on watch what ``look`` asks for, alone; for a trace thread."""
        backend, ancestors = self._backend, self._ancestors
        if backend is None or ancestors is None:
            return look(lambda *_, **__: False)
        arming, climb = Arming(backend, SEARCH), ancestors.climb()
        asked: set[str] = set()

        def watch(
            path: str,
            names: frozenset[str] = frozenset(),
            pattern: re.Pattern[str] | None = None,
            *,
            any_change: bool = False,
        ) -> bool:
            if os.path.dirname(path) not in asked:  # else what is above it is watched
                climb.above(path)
            asked.add(path)
            return arming.search(path, names, pattern, any_change=any_change)

        found = look(watch)
        self._commit(SEARCH, arming.found, backend)
        ancestors.keep(SEARCH, climb)
        return found

    def forget(self, workspace: str) -> None:
        """Stop watching a workspace."""
        backend = self._backend
        self._fstypes.pop(workspace, None)
        if backend is not None:
            self._commit(workspace, {}, backend)
        if self._ancestors is not None:
            self._ancestors.keep(workspace, None)

    def _fstype(self, workspace: str, folder: str, wds: frozenset[int]) -> str | None:
        """Return the type of the workspace's file system if remote; cached for the same directories."""
        known = self._fstypes.get(workspace)
        if known is None or known[0] != wds:
            known = wds, self._remote(folder)
            self._fstypes[workspace] = known
        return known[1]

    def _drop_surplus(self, arming: Arming, backend: ino.Backend) -> bool:
        """Drop watches for more events than are needed now, since a mask only grows (IN_MASK_ADD)."""
        dropped = False
        with self._lock:
            for wd, interests in arming.found.items():
                watch = self._watches.get(wd)
                if watch is None or any(one.workspace != arming.workspace for one in watch.interests):
                    continue
                if watch.mask & ~mask_of(interests):
                    self._watches.pop(wd, None)
                    backend.remove(wd)
                    dropped = True
        return dropped

    def _commit(self, workspace: str, found: dict[int, list[Interest]], backend: ino.Backend) -> None:
        with self._lock:
            for wd in self._armed.get(workspace, frozenset()) - found.keys():
                watch = self._watches.get(wd)
                if watch is None:
                    continue
                watch.interests = tuple(one for one in watch.interests if one.workspace != workspace)
                if not watch.interests:
                    self._watches.pop(wd, None)  # the loop may have dropped it in between
                    backend.remove(wd)
            for wd, interests in found.items():
                watch = self._watches.setdefault(wd, _Watch())
                others = [one for one in watch.interests if one.workspace != workspace]
                watch.interests = (*others, *interests)
                watch.mask |= mask_of(interests)
            if found:
                self._armed[workspace] = frozenset(found)
            else:
                self._armed.pop(workspace, None)

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
        watches = self._watches
        for wd, mask, name in ino.parse_events(buffer):
            if mask & ino.Q_OVERFLOW:
                self._rescan(list(self._armed))
                continue
            watch = watches.get(wd)
            if watch is not None:
                for interest in watch.interests:
                    self._notify(interest, mask, name)
            if mask & ino.IGNORED:
                watches.pop(wd, None)

    def _notify(self, interest: Interest, mask: int, name: str) -> None:
        if not name:
            if mask & (_STRUCTURE | ino.ATTRIB):
                self._rescan((interest.workspace,))
        elif interest.kind == "search":
            if mask & interest.mask & _TOLD:
                self._appeared(interest, mask, name)
        elif interest.kind == "agents":
            hint = _agents_hint(name)
            if hint is not None:
                self._on_hint(interest.workspace, hint)
        elif interest.kind == "chain":
            if name in interest.names:
                self._on_hint(interest.workspace, Signal.RESCAN)
        elif not is_litter(name):
            self._on_hint(interest.workspace, WorkFile(interest.kind, name))

    def _appeared(self, interest: Interest, mask: int, name: str) -> None:
        if name in interest.names:
            self._on_search()
        elif interest.pattern is not None and interest.pattern.match(name) is not None:
            if mask & ino.ISDIR:
                self._on_search()
            elif mask & _APPEARED:  # most are files; to ask the file system here could block the loop
                self._on_maybe_link(f"{interest.path}/{name}")

    def _fail(self, error: OSError) -> None:
        armed = list(self._armed)
        self.close()
        self._reason = _reason_of(error)
        self._rescan(armed)

    def _rescan(self, workspaces: Iterable[str]) -> None:
        for workspace in workspaces:
            if workspace == SEARCH:
                self._on_search()
            else:
                self._on_hint(workspace, Signal.RESCAN)


def _agents_hint(name: str) -> Hint | None:
    if name == ACTIVE_LIST:
        return Signal.LIST
    if name.endswith(ALL_SUFFIXES) and not name.startswith("."):
        return name
    return None


def _reason_of(error: Exception) -> str:
    if isinstance(error, OSError):
        return _LIMITS.get(error.errno or 0) or f"inotify: {error.strerror or error}"
    return f"this C library has no inotify: {error}"
