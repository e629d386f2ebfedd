"""Await transcripts that are not there: watch the folders in which they may appear.

=====================================  =======================================================================
what happens                           what is looked at
=====================================  =======================================================================
the first transcript is missing, or    all folders; the likely ones, then those that changed last are watched
everything is read
another one is missing as well         all folders for that one; its likely folder is watched too
a folder appears                       that folder alone
a transcript appears                   nothing: it is read
not all folders can be watched         all folders, at growing intervals (source.py)
=====================================  =======================================================================

All calls but the properties may block, and belong in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from coordd.sources.claude_code.projects import ProjectFolders, named_after
from coordd.sources.sessions.watch import APPEARED
from coordd.util import inotify as ino

MAX_WATCHED = 512
"""Folders below projects/ that are watched while a transcript is missing."""
_MASK = APPEARED | ino.ONLYDIR


class Awaiting:
    """Await transcripts of one home.

    Args:
        projects: its folders.
        watch: watches a folder, "" for ``projects/`` itself, for the events of a mask.
        forget: watches a folder no more.
    """

    def __init__(
        self,
        projects: ProjectFolders,
        *,
        watch: Callable[[str, int], None],
        forget: Callable[[str], None],
    ) -> None:
        self._projects = projects
        self._watch = watch
        self._forget = forget
        self._missing: dict[str, str | None] = {}
        self._odd: Collection[str] = ()
        self._watched: set[str] = set()

    @property
    def names(self) -> Collection[str]:
        """The names of the transcripts that are awaited."""
        return self._missing.keys()

    @property
    def complete(self) -> bool:
        """Whether every folder in which one may appear is watched."""
        return not self._missing or self._projects.names <= self._watched

    def announces(self, name: str) -> bool:
        """Return whether it will be told when this transcript appears."""
        return name in self._missing and self.complete

    def update(
        self, missing: Mapping[str, str | None], *, anew: bool, odd: Collection[str] = ()
    ) -> Collection[str]:
        """Await these; return the ones that are there after all.

        Args:
            missing: the working directories of sessions, by the names of their transcripts.
            anew: whether folders may have come and gone that nothing told of.
            odd: those in whose place something lies that is no transcript: what is told of them counts.
        """
        new = missing.keys() - self._missing.keys()
        begins = not self._missing
        self._missing, self._odd = dict(missing), frozenset(odd)
        if not missing:
            self._let_go(self._watched)
            return ()
        if anew or begins:
            self._watch_folders()
            return self._appeared(missing)
        if not new:
            return ()
        for folder in {named_after(missing[name]) for name in new}:
            if folder in self._projects:
                self._add(folder)
        return self._appeared(new)

    def appeared(self, names: Collection[str], folders: Collection[str]) -> Collection[str]:
        """Take in that transcripts or folders have appeared; return the awaited ones that are there."""
        found = {name for name in names if name in self._missing}
        for folder in folders:
            if self._missing and self._projects.add(folder):
                self._watched.discard(folder)  # one of that name was watched, and is gone
                self._add(folder)
                found |= self._projects.find_all(self._missing, (folder,)).keys()
        return self._found(found)

    def look_everywhere(self) -> Collection[str]:
        """Look for all that is awaited, whether or not anything was told; return what is there."""
        self._projects.look()
        return self._appeared(self._missing)

    def _appeared(self, names: Collection[str]) -> Collection[str]:
        return self._found(self._projects.find_all(set(names) - set(self._odd)).keys())

    def _found(self, names: Collection[str]) -> Collection[str]:
        found = list(names)
        for name in found:
            self._missing.pop(name, None)
        return found

    def _watch_folders(self) -> None:
        self._watch("", _MASK)  # before they are listed: a folder that comes later is told
        self._projects.look()
        folders = {"", *self._projects.by_likelihood(self._missing.values(), MAX_WATCHED)}
        self._let_go(self._watched - folders)
        self._watched = {""}
        for folder in folders - {""}:
            self._add(folder)

    def _add(self, folder: str) -> None:
        """Watch a folder; one that is likely counts beyond the limit, which the next full reading keeps."""
        if folder not in self._watched and len(self._watched) < 2 * MAX_WATCHED:
            self._watch(folder, _MASK)
            self._watched.add(folder)

    def _let_go(self, folders: Collection[str]) -> None:
        for folder in folders:
            self._forget(folder)
        self._watched = self._watched - set(folders)
