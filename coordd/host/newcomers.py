"""Find the processes that have started since the last look, at the cost of one listing and a look at each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordd.host import processes
from coordd.host.process_facts import ProbeFailed, ProcessFacts


class Newcomers:
    """Remember which processes there were.

    A pid that was used again between two looks is taken for the process before; :meth:`forget` mends that.

    Args:
        pids: returns the pids of all processes that may be seen.
        glance: returns what is seen of one without waiting for it.
    """

    def __init__(
        self,
        *,
        pids: Callable[[], Iterable[int]] = processes.pids,
        glance: Callable[[int], ProcessFacts | None] = processes.glance,
    ) -> None:
        self._pids = pids
        self._glance = glance
        self._known: frozenset[int] = frozenset()

    def look(self) -> list[ProcessFacts]:
        """Return those that were not there at the last call and live now; the first call returns all."""
        pids = frozenset(self._pids())
        new, self._known = pids - self._known, pids
        found = []
        for pid in sorted(new):
            try:
                seen = self._glance(pid)
            except ProbeFailed:
                continue
            if seen is not None:
                found.append(seen)
        return found

    def forget(self) -> None:
        """Have the next look return all that live."""
        self._known = frozenset()
