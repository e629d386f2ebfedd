"""What to watch of one workspace, and for what.

The chain from the project directory to ``agents/``, ``claims/``, ``tasks/`` and ``status/``: each for its own
vanishing, moving and change of rights; and where the next one of the chain is missing or a symbolic link,
also for names that appear. Of a workspace that does not exist its nearest existing ancestor is watched, for
one name. Makes system calls that may block, and keeps nothing from one walk to the next.

Agents' files are watched for close-after-write, renames, deletion and attributes (``touch``, ``utime``,
``chmod``), not for each write: a beat is several writes, and read half-way it is no beat. A writer that
never closes its file is seen by the rescans and by the reading before each deadline. ``claims/``, ``tasks/``
and ``status/`` are also watched for creation, since a claim may be made by link(2).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from coordd.sources.file import inotify as ino
from coordd.sources.file.reader import COORDINATION

_SELF = ino.DELETE_SELF | ino.MOVE_SELF | ino.ATTRIB | ino.ONLYDIR
_NAMES = ino.CREATE | ino.MOVED_TO | ino.MOVED_FROM | ino.DELETE
_AGENTS = _SELF | ino.CLOSE_WRITE | ino.MOVED_TO | ino.MOVED_FROM | ino.DELETE | ino.DONT_FOLLOW
_WORK = _AGENTS | ino.CREATE
_FLAGS = ino.ONLYDIR | ino.DONT_FOLLOW

_FolderName = Literal["agents", "claims", "tasks", "status"]
_FOLDERS: dict[_FolderName, int] = {"agents": _AGENTS, "claims": _WORK, "tasks": _WORK, "status": _WORK}
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

_TRIES = 5  # for a path that comes to be while it is looked for; the reading every 30 s is there for the rest


@dataclass(frozen=True, slots=True)
class Interest:
    """What one workspace wants to know of one watched directory."""

    workspace: str
    kind: Literal["chain", "agents", "claims", "tasks", "status"]
    mask: int
    names: frozenset[str] = frozenset()


class Arming:
    """One walk down the chain of one workspace.

    Afterwards ``found`` has the watches by number with what each is wanted for, and ``error`` the last reason
    but absence for which a directory could not be watched.
    """

    def __init__(self, backend: ino.Backend, workspace: str) -> None:
        self._backend = backend
        self.workspace = workspace
        self.found: dict[int, list[Interest]] = {}
        self.error: OSError | None = None

    def walk(self) -> None:
        """Watch all there is."""
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
        return self._add(path, Interest(self.workspace, "chain", mask, wanted))

    def _folder(self, parent: str, name: _FolderName) -> bool:
        return self._add(f"{parent}/{name}", Interest(self.workspace, name, _FOLDERS[name]))

    def _add(self, path: str, interest: Interest) -> bool:
        try:
            wd = self._backend.add(path, interest.mask | ino.MASK_ADD)
        except OSError as error:
            if error.errno not in _ABSENT:
                self.error = error
            return False
        self.found.setdefault(wd, []).append(interest)
        return True


def mask_of(interests: Iterable[Interest]) -> int:
    """All that these want to hear of one directory, without the flags that say how to reach it."""
    mask = 0
    for interest in interests:
        mask |= interest.mask
    return mask & ~_FLAGS
