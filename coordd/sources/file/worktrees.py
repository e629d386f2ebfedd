"""Find the git worktrees of projects, wherever they lie, and watch where git keeps them.

Watched, up to MAX_WATCHED directories of all projects together::

    a project without .git            for that name
    a repository without worktrees/   for that name
    worktrees/                        for what appears in it and what goes
    each entry of it                  for its files, which git writes one after the other

git.py says which entries count. May block; knows no coordination folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from coordd.sources.file.ground import Ground
from coordd.sources.file.search import MAX_WATCHED, Await
from coordd.sources.git import WORKTREES, linked_work_tree, repository_of

MAX_OF_ONE = 512
"""Worktrees of one project."""

_ANY = re.compile("")
_ENTRY = frozenset({"gitdir", "commondir"})


class Worktrees:
    """Find worktrees in one search.

    ``complete`` is false where another one may appear that nothing announces; ``cut`` names the projects that
    have more than are looked at.

    Args:
        watch: see :class:`~coordd.sources.file.search.Await`.
        ground: what may be touched.
    """

    def __init__(self, *, watch: Await, ground: Ground) -> None:
        self.complete = True
        self.cut: list[str] = []
        self._watch = watch
        self._ground = ground
        self._watched = 0
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, project: str, *, await_git: bool) -> tuple[str, ...]:
        """Return the canonical paths of the worktrees of the project at a canonical path.

        ``await_git``: have a project that has no ``.git`` watched for it.
        """
        if project not in self._known:
            trees = self._look(project, await_git=await_git) if self._ground.may(project) else ()
            self._known[project] = tuple(trees)
        return self._known[project]

    def _look(self, project: str, *, await_git: bool) -> Iterator[str]:
        repository = repository_of(project)
        if repository is None and await_git and not os.path.lexists(f"{project}/.git"):
            if self._watched < MAX_WATCHED:
                self._watched += self._watch(project, frozenset({".git"}), any_change=True)
            repository = repository_of(project)
        if repository is None:
            return
        folder = f"{repository}/{WORKTREES}"
        for name in self._entries(repository, folder):
            entry = f"{folder}/{name}"
            if not self._ground.may(entry):
                continue
            self._wait(entry, _ENTRY)
            tree = linked_work_tree(entry)
            if tree is not None and self._ground.may(tree):
                yield tree

    def _entries(self, repository: str, folder: str) -> list[str]:
        """Return the names in ``worktrees/``, which is watched from here on, or awaited."""
        if not self._ground.may(folder):
            return []
        watched = os.path.isdir(folder) and self._wait(folder, pattern=_ANY)
        if not watched:
            self._wait(repository, frozenset({WORKTREES}))
            if os.path.isdir(folder):  # it may have been made meanwhile
                self._wait(folder, pattern=_ANY)
        try:
            with os.scandir(folder) as entries:
                names = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
        except OSError:
            return []
        if len(names) > MAX_OF_ONE:
            self.cut.append(repository)
        return names[:MAX_OF_ONE]

    def _wait(
        self, path: str, names: frozenset[str] = frozenset(), pattern: re.Pattern[str] | None = None
    ) -> bool:
        if self._watched >= MAX_WATCHED:
            self.complete = False
            return False
        if not self._watch(path, names, pattern, any_change=True):
            self.complete = self.complete and not os.path.isdir(path)
            return False
        self._watched += 1
        return True
