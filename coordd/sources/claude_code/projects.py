"""Find the transcripts of sessions below ``projects/``: by their ids, wherever they lie.

A folder is named after a working directory in a way that is only a hint, and a transcript moves to another
folder when its session enters a worktree. All calls may block, and belong in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from itertools import islice

from coordd.runtime.worker import renew_deadline

MAX_FOLDERS = 10_000
"""Folders below projects/ that are looked into."""
MAX_FILES = 100_000
"""Names in one folder that are looked at."""
_FEW = 8
"""Transcripts up to which each is looked for in each folder; for more of them the folders are listed."""


class ProjectFolders:
    """The folders below ``projects/`` of one home, as they were listed last."""

    __slots__ = ("_folders", "path")

    def __init__(self, home: str) -> None:
        self.path = f"{home}/projects"
        self._folders: dict[str, None] = {}

    def look(self) -> None:
        """List the folders anew; a missing or unreadable ``projects/`` has none."""
        try:
            if os.path.islink(self.path):
                raise NotADirectoryError
            with os.scandir(self.path) as entries:
                names = [
                    one.name for one in islice(entries, MAX_FOLDERS) if one.is_dir(follow_symlinks=False)
                ]
        except OSError:
            names = []
        self._folders = dict.fromkeys(sorted(names))

    def add(self, folder: str) -> bool:
        """Take in a folder that has just appeared; return whether it is one."""
        path = f"{self.path}/{folder}"
        if "/" in folder or folder == ".." or len(self._folders) >= MAX_FOLDERS:
            return False
        if os.path.islink(path) or not os.path.isdir(path):
            return False
        self._folders[folder] = None
        return True

    def find(self, name: str) -> str | None:
        """Return the path of a transcript by its name, None where there is none."""
        return self.find_all((name,)).get(name)

    def find_all(self, names: Collection[str], folders: Iterable[str] | None = None) -> dict[str, str]:
        """Return the paths of those of these transcripts that are there, in these folders, or in all.

        Of several of a name the one that was written last is it: the others were left behind.
        """
        wanted = frozenset(names)
        found: dict[str, tuple[int, str]] = {}
        for folder in self._folders if folders is None else folders:
            renew_deadline()
            there = wanted if len(wanted) <= _FEW else wanted & self._names(folder)
            for name in there:
                path = f"{self.path}/{folder}/{name}"
                try:
                    one = os.lstat(path).st_mtime_ns, path
                except OSError:
                    continue
                found[name] = max(one, found.get(name, one))
        return {name: path for name, (_, path) in found.items()}

    def by_likelihood(self, cwds: Iterable[str | None], most: int) -> list[str]:
        """Return at most so many folders, those first in which transcripts will probably appear.

        Args:
            cwds: the working directories of their sessions.
            most: the number.
        """
        likely = {one: None for one in map(named_after, cwds) if one in self._folders}
        others = [one for one in self._folders if one not in likely]
        if len(self._folders) > most:
            others.sort(key=self._changed, reverse=True)
        return [*likely, *others][:most]

    @property
    def names(self) -> AbstractSet[str]:
        """The names of the folders."""
        return self._folders.keys()

    def __contains__(self, folder: str) -> bool:
        return folder in self._folders

    def _names(self, folder: str) -> frozenset[str]:
        try:
            with os.scandir(f"{self.path}/{folder}") as entries:
                return frozenset(one.name for one in islice(entries, MAX_FILES))
        except OSError:
            return frozenset()

    def _changed(self, folder: str) -> int:
        renew_deadline()
        try:
            return os.lstat(f"{self.path}/{folder}").st_mtime_ns
        except OSError:
            return 0


def named_after(cwd: str | None) -> str:
    """Return the name that the folder of a working directory probably has."""
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in cwd or "")
