"""Find the processes that have started since the last look, and those that run another program since.

A wrapper becomes the program that it is for: ``exec aider`` keeps the pid. It costs one listing, one file of
each process, and a look at those that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordd.host import processes
from coordd.host.process_facts import ProbeFailed, ProcessFacts

_NONE = object()


class Newcomers:
    """Remember which processes there were.

    Where nothing tells of images, a pid that was used again between two looks is taken for the process
    before; :meth:`forget` mends that.

    Args:
        pids: returns the pids of all processes that may be seen.
        glance: returns what is seen of one without waiting for it.
        image: returns a number that changes once one runs another program; None: that cannot be told.
    """

    def __init__(
        self,
        *,
        pids: Callable[[], Iterable[int]] = processes.pids,
        glance: Callable[[int], ProcessFacts | None] = processes.glance,
        image: Callable[[int], int | None] = processes.image_of,
    ) -> None:
        self._pids = pids
        self._glance = glance
        self._image = image
        self._known: dict[int, int | None] = {}

    def look(self) -> list[ProcessFacts]:
        """Return those that live now, and were not there or ran another program at the last call.

        The first call returns all.
        """
        # the image is read before the process: what it becomes in between is told next time
        images = {pid: self._image(pid) for pid in self._pids()}
        new = [pid for pid, image in images.items() if self._known.get(pid, _NONE) != image]
        self._known = images
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
        self._known = {}
