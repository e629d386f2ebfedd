"""Find out which workspace a directory belongs to: where its ``.claude/coordination`` really lies.

A directory is resolved once, here, and whoever reads a workspace follows no link below the path that comes of
it. So however many paths lead to one coordination folder, it is one workspace with one name::

    what the path leads to                              the workspace's name
    P/.claude/coordination, without a link              P, by its canonical path
    links that end in Q/.claude/coordination            Q: what the links lead to is the same workspace
    links that end in a folder called anything else     P, and its folder is that one

A link counts only if it belongs to root, to this user, or to the owner of what it leads to. Else whoever may
write somewhere could show others what this process may read and they may not.

Nothing here is kept between two resolvers. All calls may block.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from coordd.util.fields import jsonable

COORDINATION = ".claude/coordination"
_MAX_LINKS = 40  # as path_resolution(7)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where one directory leads.

    ``name`` is the workspace that it belongs to, ``project`` its own canonical path, ``folder`` that of its
    coordination folder; none of them needs to exist. ``identity`` is device and inode of the folder, None
    where it is missing or cannot be seen. ``links`` are the links on the way, each as the directory that
    holds it and its name. ``refusal`` says in words why a link is not followed, else it is None; ``error``
    is what kept the folder from being seen, other than that it does not exist. ``untouched`` is true where
    something on the way may not be touched, so that all of this is a guess.
    """

    name: str
    project: str
    folder: str
    identity: tuple[int, int] | None = None
    links: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None
    error: OSError | None = None
    untouched: bool = False

    @property
    def direct(self) -> bool:
        """Whether no link lies between the workspace and its folder."""
        return self.folder == f"{self.name.rstrip('/')}/{COORDINATION}"


class Resolver:
    """Resolve directories, and look at each link on the way to them once.

    Args:
        may: is asked before a path is touched; what may not be touched counts as it is spelled.
    """

    def __init__(self, may: Callable[[str], bool] = lambda _path: True) -> None:
        self._may = may
        self._links: dict[str, tuple[str, int] | None] = {}
        self._untouched = False

    def resolve(self, path: str) -> Resolved:
        """Return where an absolute path leads."""
        links: list[tuple[str, str]] = []
        owners: dict[int, str] = {}
        project, self._untouched = path, False
        try:
            project = self._canonical(path, links, owners)
            folder = self._canonical(f"{project}/{COORDINATION}", links, owners)
        except OSError as error:
            return Resolved(project, project, f"{project}/{COORDINATION}", links=tuple(links), error=error)
        name = folder.removesuffix(f"/{COORDINATION}") or "/"
        if name == folder:
            name = project
        state, denied = self._state(folder)
        refusal = self._refusal(owners, state or self._state(name)[0]) if owners else None
        identity = (state.st_dev, state.st_ino) if state and stat.S_ISDIR(state.st_mode) else None
        return Resolved(name, project, folder, identity, tuple(links), refusal, denied, self._untouched)

    def _canonical(self, path: str, links: list[tuple[str, str]], owners: dict[int, str]) -> str:
        """Return a path without links; those on the way are added to ``links``, their owners to ``owners``.

        Raises:
            OSError: ELOOP.
        """
        done, waiting, followed = "", path.split("/")[::-1], 0
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{name}"
            link = self._link(here)
            if link is None:
                done = here
                continue
            links.append((done or "/", name))
            followed += 1
            if followed > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target, owner = link
            owners.setdefault(owner, here)
            if target.startswith("/"):
                done = ""
            waiting.extend(target.split("/")[::-1])
        return done or "/"

    def _link(self, path: str) -> tuple[str, int] | None:
        """Return where a link leads and whose it is; None for anything else."""
        if path not in self._links:
            found = None
            try:
                if self._touchable(path) and stat.S_ISLNK((state := os.lstat(path)).st_mode):
                    found = os.readlink(path), state.st_uid
            except (OSError, ValueError):
                found = None
            if self._untouched:
                return found
            self._links[path] = found
        return self._links[path]

    def _touchable(self, path: str) -> bool:
        if self._may(path):
            return True
        self._untouched = True
        return False

    def _state(self, path: str) -> tuple[os.stat_result | None, OSError | None]:
        try:
            return (os.lstat(path), None) if self._touchable(path) else (None, None)
        except ValueError:
            return None, None
        except OSError as error:
            return None, None if error.errno in (errno.ENOENT, errno.ENOTDIR) else error

    def _refusal(self, owners: dict[int, str], state: os.stat_result | None) -> str | None:
        """Return why a link is not followed; with nothing at its end there is nothing to protect."""
        if state is None:
            return None
        trusted = (0, os.geteuid(), state.st_uid)
        for owner, link in owners.items():
            if owner not in trusted:
                return (
                    f"{jsonable(link)} is a link of uid {owner} to what is uid {state.st_uid}'s, "
                    "and is not followed"
                )
        return None
