"""Find out which directories to watch for one workspace or for new ones, and for which events.

Each directory from the project to ``agents/``, ``claims/``, ``tasks/`` and ``status/`` is watched::

    always                                    for its own removal, move and change of permissions
    the next one is missing or is a link      also for names that appear in it
    the project does not exist                its nearest existing ancestor, for one name

A coordination folder that lies elsewhere than in its project is watched alike, where it lies.

search.py chooses where workspaces may appear; there, only names that appear count, directories that become
readable, and, of a link or of what git keeps, names that go or change.

Makes system calls that may block, and keeps nothing from one walk to the next.

Agents' files are watched for close-after-write, renames, deletion and attributes (``touch``, ``utime``,
``chmod``), not for each write: a heartbeat may take several writes, and a half-written one cannot be read.
Beats of a writer that never closes its file are found by the rescans and by the reading before each deadline.
All four folders are also watched for creation: link(2) may make a trace, and a new file may stay open.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from coordd.sources.coordination import COORDINATION
from coordd.util import inotify as ino

_SELF = ino.DELETE_SELF | ino.MOVE_SELF | ino.ATTRIB | ino.ONLYDIR
_NAMES = ino.CREATE | ino.MOVED_TO | ino.MOVED_FROM | ino.DELETE
_TRACES = _SELF | _NAMES | ino.CLOSE_WRITE | ino.DONT_FOLLOW
_SEARCH = _SELF | ino.CREATE | ino.MOVED_TO
_GONE = ino.MOVED_FROM | ino.DELETE
_ANY_CHANGE = _GONE | ino.CLOSE_WRITE
_FLAGS = ino.ONLYDIR | ino.DONT_FOLLOW

_FolderName = Literal["agents", "claims", "tasks", "status"]
_FOLDERS: tuple[_FolderName, ...] = ("agents", "claims", "tasks", "status")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_TRIES = 5  # for a path that is created during the search; the next rescan covers the rest


SEARCH = ""
"""Stands for the search for workspaces, where a workspace is meant otherwise."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What one workspace, or the search for them, wants to be told about one watched directory.

    ``names`` are what is looked for in it; of a search also directories, and links to them, that match
    ``pattern``; ``path`` is how it spells the directory.
    """

    workspace: str
    kind: Literal["chain", "search", "agents", "claims", "tasks", "status"]
    mask: int
    names: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    path: str = ""


class Arming:
    """Watch every directory on the way to one workspace's traces, or where workspaces may appear.

    ``folder`` is the coordination folder where it does not lie in the workspace.

    After :meth:`walk`, or calls of :meth:`search`, ``found`` maps watch numbers to what each is needed for,
    and ``error`` is the last reason other than absence why a directory could not be watched.
    """

    def __init__(self, backend: ino.Backend, workspace: str, folder: str | None = None) -> None:
        self._backend = backend
        self.workspace = workspace
        self._folder_path = folder
        self.found: dict[int, list[Interest]] = {}
        self.error: OSError | None = None

    def walk(self) -> None:
        """Watch every directory that exists now."""
        parent = self.workspace
        if not reach(parent, self._chain):
            return
        if self._folder_path not in (None, f"{parent.rstrip('/')}/{COORDINATION}"):
            if reach(self._folder_path, self._chain):
                self._folders(self._folder_path)
            return
        for part in COORDINATION.split("/"):
            path = f"{parent}/{part}"
            if os.path.islink(path):
                self._chain(parent, {part})
            if not self._chain(path):
                self._chain(parent, {part})
                if not self._chain(path):  # again: it may have been created before the parent was watched
                    return
            parent = path
        self._folders(parent)

    def _folders(self, parent: str) -> None:
        missing = {name for name in _FOLDERS if not self._folder(parent, name)}
        if missing:
            self._chain(parent, missing)
            for name in missing:
                self._folder(parent, name)

    def search(
        self,
        path: str,
        names: frozenset[str] = frozenset(),
        pattern: re.Pattern[str] | None = None,
        *,
        any_change: bool = False,
    ) -> bool:
        """Watch a directory in which a workspace may appear, as search.py's ``Await`` says."""
        mask = _SEARCH | (_ANY_CHANGE if any_change else _GONE if pattern else 0)
        return self._add(path, Interest(self.workspace, "search", mask, names, pattern, path))

    def _chain(self, path: str, names: Iterable[str] = ()) -> bool:
        wanted = frozenset(names)
        mask = _SELF | _NAMES if wanted else _SELF
        return self._add(path, Interest(self.workspace, "chain", mask, wanted))

    def _folder(self, parent: str, name: _FolderName) -> bool:
        return self._add(f"{parent}/{name}", Interest(self.workspace, name, _TRACES))

    def _add(self, path: str, interest: Interest) -> bool:
        try:
            wd = self._backend.add(path, interest.mask | ino.MASK_ADD)
        except OSError as error:
            if error.errno not in _ABSENT:
                self.error = error
            return False
        self.found.setdefault(wd, []).append(interest)
        return True


def reach(path: str, watch: Callable[[str, frozenset[str]], bool]) -> bool:
    """Watch a directory, or its nearest existing ancestor for the next name on the way; return which."""
    for _ in range(_TRIES):
        if watch(path, frozenset()):
            return True
        child = path
        while (ancestor := os.path.dirname(child)) != child:
            if watch(ancestor, frozenset({os.path.basename(child)})):
                break
            child = ancestor
        if not os.path.lexists(child):
            break
        # It was created before its ancestor was watched: try again.
    return False


def mask_of(interests: Iterable[Interest]) -> int:
    """Return all events that these interests need from one directory, without the flags for reaching it."""
    mask = 0
    for interest in interests:
        mask |= interest.mask
    return mask & ~_FLAGS
