"""Find the processes that have started since the last look, and those that run another program since.

A wrapper becomes the program that it is for: ``exec aider`` keeps the pid. So who has started lately is
looked at again, and a shell for as long as it is one. A look costs one listing, a file of each of these,
and a look at those that are new.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from coordd.host import processes
from coordd.host.process_facts import ProbeFailed, ProcessFacts

YOUNG = 300.0
"""Seconds after its start in which a process is expected to run another program."""
SHELLS = frozenset(
    {"ash", "bash", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "sh", "tcsh", "xonsh", "zsh"}
)
"""What people type ``exec`` into, at any time."""


class _Again(NamedTuple):
    """What a process ran when it was looked at, and until when, in epoch seconds, that may change."""

    image: int | None
    until: float


class Newcomers:
    """Remember which processes there were.

    A pid that was used again between two looks may be taken for the process before; :meth:`forget` mends
    that.

    Args:
        pids: returns the pids of all processes that may be seen.
        glance: returns what is seen of one without waiting for it.
        image: returns a number that changes once one runs another program; None: that cannot be told.
        wall: returns the time in epoch seconds.
    """

    def __init__(
        self,
        *,
        pids: Callable[[], Iterable[int]] = processes.pids,
        glance: Callable[[int], ProcessFacts | None] = processes.glance,
        image: Callable[[int], int | None] = processes.image_of,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._pids = pids
        self._glance = glance
        self._image = image
        self._wall = wall
        self._known: frozenset[int] = frozenset()
        self._again: dict[int, _Again] = {}

    def look(self) -> list[ProcessFacts]:
        """Return those that live now, and were not there or ran another program at the last call.

        The first call returns all.
        """
        pids, wall = frozenset(self._pids()), self._wall()
        self._again = {pid: one for pid, one in self._again.items() if pid in pids and wall < one.until}
        others = {
            pid for pid, one in self._again.items() if pid in self._known and self._image(pid) != one.image
        }
        new, self._known = (pids - self._known) | others, pids
        found = []
        for pid in sorted(new):
            self._again.pop(pid, None)
            try:
                seen = self._glance(pid)
            except ProbeFailed:
                continue
            if seen is not None:
                found.append(seen)
                until = math.inf if seen.name in SHELLS else seen.started + YOUNG
                if wall < until:
                    self._again[pid] = _Again(seen.image, until)
        return found

    def forget(self) -> None:
        """Have the next look return all that live."""
        self._known = frozenset()
