"""Hold a directory of coordd's own open while it runs, and judge what has taken its name since.

::

    the name leads to        what :meth:`HeldDirectory.look` does
    the directory held       returns it: one fstatat(2)
    nothing                  makes the directory and holds that: somebody removed or renamed the old one
    a directory that is      holds that one; by default one that is empty (what coordd itself puts into new
    accepted                 directories does not count) or that another part of coordd has just made
    anything else            returns None, and ``trouble`` says what stands there: ``git checkout`` puts a
                             branch's folder or link there, and a link would choose where coordd writes

The old directory stays open until another one is held in its place. So it is recognised when it is moved
back, and its inode number cannot be given to another directory meanwhile. One thread uses an object at a
time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from coordd.util.directories import OpenDirectory, made_here, open_directory, root_of
from coordd.util.regular_files import kind_of
from coordd.util.shell import shell_word

_NOTHING_YET = frozenset({".gitignore", ".lock"})


class Obstacle(NamedTuple):
    """What stands in the way of a directory: under its name, or under that of a directory above it.

    ``mode`` is as of lstat(2); None where nothing was found any more.
    """

    path: str
    mode: int | None


def holds_nothing(directory: OpenDirectory) -> bool:
    """Return whether a directory is empty, apart from what coordd puts into new ones."""
    return _NOTHING_YET.issuperset(os.listdir(directory.fd))


def is_new(directory: OpenDirectory) -> bool:
    """Return whether a directory holds nothing, or was made by another part of coordd."""
    return made_here(os.fstat(directory.fd)) or holds_nothing(directory)


class HeldDirectory:
    """Make and open one directory with :meth:`look`, and keep it open.

    ``path`` is the directory; ``root`` the project it lies in, None elsewhere; ``trouble`` says in words why
    :meth:`look` returned None, and is None otherwise.

    Args:
        path: absolute.
        mode, gitignore: of a directory that is made; see open_directory. ``gitignore`` counts below ``root``
            alone.
        root: a project's canonical path, below which no link is followed; None elsewhere.
        accepts: decides whether a directory that took the name may be used in place of the one held. An
            OSError that it raises means no.
    """

    def __init__(
        self,
        path: str,
        *,
        mode: int,
        gitignore: bool = False,
        root: str | None = None,
        accepts: Callable[[OpenDirectory], bool] = is_new,
    ) -> None:
        self.path = path
        self.root = root_of(path, root)
        self.trouble: str | None = None
        self._mode = mode
        self._gitignore = gitignore and self.root is not None
        self._accepts = accepts
        self._held: OpenDirectory | None = None

    def look(self) -> OpenDirectory | None:
        """Return the directory, made where nothing has its name; None where something else stands there.

        Raises:
            OSError: as open_directory, where the directory is not in place and could be made.
        """
        held = self._held
        if held is None:
            self._held = self._make()
        elif not held.in_place():
            found = self._make_again() if held.free() else self._found()
            if found is None:
                self.trouble = self._in_the_way()
                return None
            held.close()
            self._held = found
        self.trouble = None
        return self._held

    def obstacle(self) -> Obstacle:
        """Return what stands under the name, or in a project under the name of a directory above it."""
        at, mode = self.root or os.path.dirname(self.path), None
        for part in os.path.relpath(self.path, at).split("/"):
            at = os.path.join(at, part)
            try:
                mode = os.lstat(at).st_mode
            except OSError:
                return Obstacle(at, None)
            if not stat.S_ISDIR(mode):
                break
        return Obstacle(at, mode)

    def close(self) -> None:
        """Close the directory; harmless if it is not open."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _make(self) -> OpenDirectory:
        return open_directory(
            self.path, root=self.root, make=True, mode=self._mode, gitignore=self._gitignore
        )

    def _make_again(self) -> OpenDirectory | None:
        try:
            return self._make()
        except NotADirectoryError:  # it is a directory above that was replaced
            return None

    def _found(self) -> OpenDirectory | None:
        """Open what stands under the name, if it is a directory that is accepted."""
        try:
            found = open_directory(self.path, root=self.root)
        except OSError:
            return None
        try:
            if self._accepts(found):
                return found
        except OSError:
            pass
        found.close()
        return None

    def _in_the_way(self) -> str:
        at, mode = self.obstacle()
        kind = "something else" if mode is None else kind_of(mode)
        return (
            f"{self.path} was replaced while coordd ran: {at} is {kind} that it did not make, and leaves "
            f"alone; move that away (mv {shell_word(at)} {shell_word(at + '.aside')}), or restart coordd"
        )
