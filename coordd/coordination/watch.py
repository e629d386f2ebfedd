"""Hints from inotify: which folder or agent to read again. Events are hints; only a reading is the truth.

:meth:`Watcher.arm` makes system calls that may block on a hung file system, so it runs in a trace thread,
before each full reading: what changes in between is then announced. The loop only drains the descriptor.

What is watched, for each workspace, is the chain from the project directory to ``agents/``, ``claims/``,
``tasks/`` and ``status/``, each for its own vanishing, moving and change of rights; and where the next one of
the chain is missing or a symbolic link, also for names that appear. Of a workspace that does not exist its
nearest existing ancestor is watched, for one name. A watch stays with a directory that is renamed, so arming
resolves every path again and drops what no longer lies where it did.

Agents' files are watched for close-after-write, renames, deletion and attributes (``touch``, ``utime``,
``chmod``), not for each write: a beat is several writes, and read half-way it is no beat. A writer that
never closes its file is seen by the rescans and by the reading before each deadline. ``claims/``, ``tasks/``
and ``status/`` are also watched for creation, since a claim may be made by link(2).
"""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from coordd.coordination import inotify as ino
from coordd.coordination.files import COORDINATION, SUFFIXES
from coordd.coordination.hints import Hint, Signal
from coordd.coordination.mounts import remote_type
from coordd.coordination.parse import ACTIVE_LIST, is_half_written

_SELF = ino.DELETE_SELF | ino.MOVE_SELF | ino.ATTRIB | ino.ONLYDIR
_NAMES = ino.CREATE | ino.MOVED_TO | ino.MOVED_FROM | ino.DELETE
_AGENTS = _SELF | ino.CLOSE_WRITE | ino.MOVED_TO | ino.MOVED_FROM | ino.DELETE | ino.DONT_FOLLOW
_WORK = _AGENTS | ino.CREATE
_FLAGS = ino.ONLYDIR | ino.DONT_FOLLOW
_STRUCTURE = ino.DELETE_SELF | ino.MOVE_SELF | ino.UNMOUNT | ino.IGNORED

_FOLDERS: dict[str, tuple[int, Literal["agents", "work"]]] = {
    "agents": (_AGENTS, "agents"),
    "claims": (_WORK, "work"),
    "tasks": (_WORK, "work"),
    "status": (_WORK, "work"),
}
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_TRIES = 5  # for a path that comes to be while it is looked for; the reading every 30 s is there for the rest

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


@dataclass(frozen=True, slots=True)
class _Interest:
    """What one workspace wants to know of one watched directory."""

    workspace: str
    kind: Literal["chain", "agents", "work"]
    mask: int
    names: frozenset[str] = frozenset()


class _Watch:
    __slots__ = ("interests", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self.interests: tuple[_Interest, ...] = ()


class Watcher:
    """Watches workspaces and says where something changed.

    Args:
        on_hint: called on the loop with workspace and hint, many thousands of times a second, often with the
            same; must not raise.
        open_backend: the system calls; raises OSError where they cannot be had.
        remote: the type of the file system of a path where other machines write to it, else None.
    """

    def __init__(
        self,
        *,
        on_hint: Callable[[str, Hint], None],
        open_backend: Callable[[], ino.Backend] = ino.AsyncInotifyBackend,
        remote: Callable[[str], str | None] = remote_type,
    ) -> None:
        self._on_hint = on_hint
        self._open_backend = open_backend
        self._remote = remote
        self._backend: ino.Backend | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reason: str | None = "not started"
        # Trace threads replace whole values under the lock; the loop reads without it.
        self._lock = threading.Lock()
        self._watches: dict[int, _Watch] = {}
        self._armed: dict[str, frozenset[int]] = {}
        self._fstypes: dict[str, tuple[frozenset[int], str | None]] = {}

    @property
    def followed(self) -> Followed:
        """Whether there is inotify at all; each workspace has its own answer from :meth:`arm`."""
        return Followed("poll", self._reason) if self._reason is not None else Followed("inotify")

    def start(self, loop: asyncio.AbstractEventLoop) -> Followed:
        """Begin to listen, on the loop. Where that cannot be, say why, and watch nothing."""
        if sys.platform != "linux":
            self._reason = _NO_INOTIFY
            return self.followed
        try:
            self._backend = self._open_backend()
        except (OSError, ImportError, RuntimeError) as error:  # RuntimeError: a libc without inotify
            self._reason = _why(error)
            return self.followed
        self._loop = loop
        self._reason = None
        loop.add_reader(self._backend.fd, self._drain)
        return self.followed

    def close(self) -> None:
        """Stop listening, on the loop. An :meth:`arm` still running in its thread comes to nothing."""
        backend, self._backend = self._backend, None
        self._reason = "stopped"
        if backend is not None and self._loop is not None:
            self._loop.remove_reader(backend.fd)
            backend.close()
        with self._lock:
            self._watches.clear()
            self._armed.clear()

    def arm(self, workspace: str) -> Followed:
        """Watch a workspace as it lies there now. For a trace thread, each time before a full reading."""
        backend = self._backend
        if backend is None:
            return self.followed
        arming = _Arming(backend, workspace)
        arming.walk()
        if self._surplus(arming, backend):
            arming = _Arming(backend, workspace)
            arming.walk()
        self._commit(workspace, arming.found, backend)
        fstype = self._fstype(workspace, frozenset(arming.found))
        if fstype is not None:
            return Followed("poll", f"{fstype}: inotify does not see what other machines write")
        if arming.error is not None:
            return Followed("poll", _why(arming.error))
        return Followed("inotify")

    def forget(self, workspace: str) -> None:
        """Watch a workspace no longer."""
        backend = self._backend
        self._fstypes.pop(workspace, None)
        if backend is not None:
            self._commit(workspace, {}, backend)

    def _fstype(self, workspace: str, wds: frozenset[int]) -> str | None:
        """The remote file system it lies on, looked up once: the same directories lie on the same one."""
        known = self._fstypes.get(workspace)
        if known is None or known[0] != wds:
            known = wds, self._remote(f"{workspace}/{COORDINATION}")
            self._fstypes[workspace] = known
        return known[1]

    def _surplus(self, arming: _Arming, backend: ino.Backend) -> bool:
        """Drop watches that listen for more than anyone wants now: a mask only grows (IN_MASK_ADD)."""
        dropped = False
        with self._lock:
            for wd, interests in arming.found.items():
                watch = self._watches.get(wd)
                if watch is None or any(one.workspace != arming.workspace for one in watch.interests):
                    continue
                if watch.mask & ~_mask_of(interests):
                    self._watches.pop(wd, None)
                    backend.remove(wd)
                    dropped = True
        return dropped

    def _commit(self, workspace: str, found: dict[int, list[_Interest]], backend: ino.Backend) -> None:
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
                watch.mask |= _mask_of(interests)
            if found:
                self._armed[workspace] = frozenset(found)
            else:
                self._armed.pop(workspace, None)

    def _drain(self) -> None:
        """Take one read of events; the loop comes again at once while there are more."""
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
                    self._tell(interest, mask, name)
            if mask & ino.IGNORED:
                watches.pop(wd, None)
                backend.forgotten(wd)

    def _tell(self, interest: _Interest, mask: int, name: str) -> None:
        if not name:
            if mask & (_STRUCTURE | ino.ATTRIB):
                self._on_hint(interest.workspace, Signal.RESCAN)
        elif interest.kind == "agents":
            hint = _agents_hint(name)
            if hint is not None:
                self._on_hint(interest.workspace, hint)
        elif interest.kind == "work":
            if not is_half_written(name):
                self._on_hint(interest.workspace, Signal.CLAIMS)
        elif name in interest.names:
            self._on_hint(interest.workspace, Signal.RESCAN)

    def _fail(self, error: OSError) -> None:
        armed = list(self._armed)
        self.close()
        self._reason = _why(error)
        self._rescan(armed)

    def _rescan(self, workspaces: Iterable[str]) -> None:
        for workspace in workspaces:
            self._on_hint(workspace, Signal.RESCAN)


class _Arming:
    """One walk down the chain of one workspace."""

    def __init__(self, backend: ino.Backend, workspace: str) -> None:
        self._backend = backend
        self.workspace = workspace
        self.found: dict[int, list[_Interest]] = {}
        self.error: OSError | None = None

    def walk(self) -> None:
        parent = self._reach(self.workspace)
        if parent is None:
            return
        for part in COORDINATION.split("/"):
            path = f"{parent}/{part}"
            if os.path.islink(path):
                self._chain(parent, {part})
            if not self._chain(path):
                self._chain(parent, {part})
                if not self._chain(path):  # once more: it may have come before the parent was watched
                    return
            parent = path
        missing = {name for name in _FOLDERS if not self._folder(parent, name)}
        if missing:
            self._chain(parent, missing)
            for name in missing:
                self._folder(parent, name)

    def _reach(self, path: str) -> str | None:
        """Watch the project directory, or else its nearest ancestor for the next name on the way to it."""
        for _ in range(_TRIES):
            if self._chain(path):
                return path
            child = path
            while (ancestor := os.path.dirname(child)) != child:
                if self._chain(ancestor, {os.path.basename(child)}):
                    break
                child = ancestor
            if not os.path.lexists(child):
                break
            # It came before its ancestor was watched for it: look again.
        return None

    def _chain(self, path: str, names: Iterable[str] = ()) -> bool:
        wanted = frozenset(names)
        mask = _SELF | _NAMES if wanted else _SELF
        return self._add(path, _Interest(self.workspace, "chain", mask, wanted))

    def _folder(self, parent: str, name: str) -> bool:
        mask, kind = _FOLDERS[name]
        return self._add(f"{parent}/{name}", _Interest(self.workspace, kind, mask))

    def _add(self, path: str, interest: _Interest) -> bool:
        try:
            wd = self._backend.add(path, interest.mask | ino.MASK_ADD)
        except OSError as error:
            if error.errno not in _ABSENT:
                self.error = error
            return False
        self.found.setdefault(wd, []).append(interest)
        return True


def _mask_of(interests: Iterable[_Interest]) -> int:
    mask = 0
    for interest in interests:
        mask |= interest.mask
    return mask & ~_FLAGS


def _agents_hint(name: str) -> Hint | None:
    if name == ACTIVE_LIST:
        return Signal.LIST
    if name.endswith(SUFFIXES) and not name.startswith("."):
        return name[: name.rindex(".")]
    return None


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return _LIMITS.get(error.errno or 0) or f"inotify: {error.strerror or error}"
    return f"asyncinotify cannot be used: {error}"
