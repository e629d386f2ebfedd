"""Hold one of coordd's own directories open while it runs, and report what replaced it.

::

    the path leads to        what happens
    the directory held       it is used
    nothing                  it is made and held anew: somebody removed or renamed it
    an empty directory       it is held instead; files that coordd puts into new directories do not count
    anything else            it is not used, and ``trouble`` says so: ``git checkout`` puts a branch's folder
    or
                             link there, and a link would decide where coordd writes

Once the path is free again, or leads back to the directory held, it is used again. For one thread at a time.
"""

from __future__ import annotations

import os
import shlex
import stat

from coordd.util.directories import OpenDirectory, made_here, open_directory, root_of
from coordd.util.regular_files import kind_of

_NOTHING_YET = frozenset({".gitignore", ".lock"})


class HeldDirectory:
    """One directory, made and opened by :meth:`look`; ``trouble`` says why it cannot be used, else None.

    Args:
        path: absolute.
        mode, gitignore: for a directory that is made; see open_directory. ``gitignore`` only counts below
            ``root``.
        root: canonical path of a project, below which no link is followed; None outside of projects.
    """

    def __init__(self, path: str, *, mode: int, gitignore: bool = False, root: str | None = None) -> None:
        self.path = path
        self.trouble: str | None = None
        self._mode = mode
        self._root = root_of(path, root)
        self._gitignore = gitignore and self._root is not None
        self._held: OpenDirectory | None = None

    def look(self) -> OpenDirectory | None:
        """Return the directory, making it if its path is free; None if something else stands there.

        Raises:
            OSError: the path is free, and the directory could not be made; see open_directory.
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
            self.trouble = self._in_the_way()  # a directory above it was replaced
            return None
        if held is not None:
            held.close()
        self._held, self.trouble = fresh, None
        return fresh

    def close(self) -> None:
        """Close the directory; harmless if it is not open."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _may_take(self) -> bool:
        """Return whether the new directory may be used: it is empty, or another part of coordd made it."""
        try:
            with open_directory(self.path, root=self._root) as there:
                return made_here(os.fstat(there.fd)) or _NOTHING_YET.issuperset(os.listdir(there.fd))
        except OSError:
            return False

    def _in_the_way(self) -> str:
        """Return in words what stands at the path, or (in a project) in place of a directory above it."""
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
