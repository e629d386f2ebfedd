"""A directory of coordd's own that is held open while it runs, and the word on what took its name.

::

    the name leads to    what happens
    what is held         it is used
    nothing              it is made and held anew: somebody removed or renamed it
    an empty directory   the same; what coordd itself puts into new ones does not count
    anything else        it is not used, and ``trouble`` says so: ``git checkout`` puts a branch's folder or
                         link there, and a link would choose where coordd writes

Once the name is free again, or leads back to what was held, all is well again. One thread uses it at a time.
"""

from __future__ import annotations

import os
import shlex
import stat

from coordd.util.directories import OpenDirectory, made_here, open_directory, root_of
from coordd.util.read_safely import kind_of

_NOTHING_YET = frozenset({".gitignore", ".lock"})


class HeldDirectory:
    """One directory, made and opened by :meth:`look`.

    Args:
        path: absolute.
        mode, gitignore: of what is made; see open_directory. ``gitignore`` counts below ``root`` alone.
        root: a project's canonical path, below which no link is followed; None for the user's own places.
    """

    def __init__(self, path: str, *, mode: int, gitignore: bool = False, root: str | None = None) -> None:
        self.path = path
        self.trouble: str | None = None
        self._mode = mode
        self._root = root_of(path, root)
        self._gitignore = gitignore and self._root is not None
        self._held: OpenDirectory | None = None

    def look(self) -> OpenDirectory | None:
        """The directory, made where nothing stands under its name; None where something else stands there.

        Raises:
            OSError: as open_directory, where it is not in place and could be made.
        """
        held = self._held
        if held is not None:
            if held.in_place():
                self.trouble = None
                return held
            if not held.free() and not self._may_take():
                self.trouble = self._in_the_way()
                return None
        try:
            fresh = open_directory(
                self.path, root=self._root, make=True, mode=self._mode, gitignore=self._gitignore
            )
        except NotADirectoryError:
            if held is None:
                raise
            self.trouble = self._in_the_way()  # it is a directory above that was replaced
            return None
        if held is not None:
            held.close()
        self._held, self.trouble = fresh, None
        return fresh

    def close(self) -> None:
        """Let go of the directory; harmless when it is not held."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _may_take(self) -> bool:
        """Whether it holds nothing yet, or another part of coordd has made it again already."""
        try:
            with open_directory(self.path, root=self._root) as there:
                return made_here(os.fstat(there.fd)) or _NOTHING_YET.issuperset(os.listdir(there.fd))
        except OSError:
            return False

    def _in_the_way(self) -> str:
        """What stands under the name, or in a project under the name of a directory above it."""
        at = self._root or os.path.dirname(self.path)
        kind = "something else"
        for part in os.path.relpath(self.path, at).split("/"):
            at = os.path.join(at, part)
            try:
                mode = os.lstat(at).st_mode
            except OSError:
                break
            kind = kind_of(mode)
            if not stat.S_ISDIR(mode):
                break
        return (
            f"{self.path} was replaced while coordd ran: {at} is {kind} that it did not make, and leaves "
            f"alone; move that away (mv {shlex.quote(at)} {shlex.quote(at + '.aside')}), or restart coordd"
        )
