"""Keep a search for workspaces off the directories that do not answer, and tell which one it waits for.

A call on a hung mount may never return, and nothing tells beforehand. So a search asks of each path before it
touches it: what hangs is then known by name, the next search leaves it out, and everything else is found. The
loop gives a search up from outside; its thread learns of that when it asks for its next path.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator


class GivenUp(Exception):
    """Internal: raised in the thread of a search that was given up; nobody waits for what it would find."""


class Ground:
    """What one search may touch, and what it touches.

    ``left_out`` are the directories that it was kept off, each with the entries that lead below it by name;
    what a pattern merely matches leads there without an entry.

    Args:
        hanging: the directories that do not answer.
    """

    def __init__(self, hanging: Collection[str] = ()) -> None:
        self.left_out: dict[str, list[str]] = {}
        self._hanging = frozenset(hanging)
        self._touched: str | None = None
        self._given_up = False
        self._reached: set[str] = set()

    def may(self, path: str) -> bool:
        """Return whether a path may be touched, which then is what the search waits for."""
        if self._given_up:
            raise GivenUp
        if self._hanging and (place := self.place_of(path)) is not None:
            self.left_out.setdefault(place, [])
            return False
        self._touched = path
        return True

    def leads(self, entry: str, path: str) -> bool:
        """Return the same for the path of an entry of the configuration, having touched all above it.

        So of many entries on one mount the mount itself is what hangs, once for all.
        """
        for above in (*_above(path), path):
            if above in self._reached:
                continue
            if not self.may(above):
                self.left_out[self.place_of(above) or above].append(entry)
                return False
            os.path.lexists(above)
            self._reached.add(above)
        return True

    def place_of(self, path: str) -> str | None:
        """Return the directory that does not answer in which a path lies, None for any other path."""
        if path in self._hanging:
            return path
        return next((above for above in _above(path) if above in self._hanging), None)

    def give_up(self) -> str | None:
        """End the search before it touches anything else; return what it waits for, None for nothing."""
        self._given_up = True
        return self._touched


def _above(path: str) -> Iterator[str]:
    """Yield the directories above an absolute path, the upper one first, without the root."""
    position = path.find("/", 1)
    while 0 < position < len(path) - 1:
        yield path[:position]
        position = path.find("/", position + 1)
