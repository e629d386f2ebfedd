"""Find out where sessions work, in a thread of its own: a project may lie on a file system that hangs.

A directory that cannot be resolved in time counts as its own workspace until it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.sessions.work_tree import Place, place_of, unresolved

DEADLINE = 1.0
"""Seconds for one directory."""
KEPT = 590.0
"""Seconds for which what was found is used again."""
MAX_KEPT = 4096
"""Directories that are remembered."""


class Places:
    """Resolve working directories, and remember what was found.

    Args:
        worker: the thread; nothing else that matters may wait for it.
        configured: returns the names of the configured workspaces, by the paths that lead to each.
        resolve: finds one place; it may block.
    """

    def __init__(
        self,
        *,
        worker: Worker,
        configured: Callable[[], Mapping[str, str]],
        resolve: Callable[[str, Mapping[str, str]], Place] = place_of,
    ) -> None:
        self._worker = worker
        self._configured = configured
        self._resolve = resolve
        self._found: dict[str, tuple[float, Place]] = {}
        self._hung: set[str] = set()

    async def of(self, directories: Collection[str], resolved: Callable[[], None]) -> Mapping[str, Place]:
        """Return the places of these directories.

        Args:
            directories: absolute paths.
            resolved: is called on the loop once one is resolved that could not be in time.
        """
        mono = now().mono
        places: dict[str, Place] = {}
        hangs = False
        for one in directories:
            known = self._found.get(one)
            if known is not None and mono - known[0] < KEPT:
                places[one] = known[1]
                continue
            place = None
            if not hangs and one not in self._hung:
                place = await self._look(one, resolved)
                hangs = place is None
            places[one] = place or (known[1] if known is not None else unresolved(one))
        return places

    def forget(self) -> None:
        """Resolve everything anew when it is asked for next: what is configured has changed."""
        self._found.clear()

    async def _look(self, directory: str, resolved: Callable[[], None]) -> Place | None:
        try:
            place = await self._worker.run(
                self._resolve, directory, dict(self._configured()), deadline=DEADLINE
            )
        except DeadlineMissed as missed:
            self._hung.add(directory)

            def answers_again(late: asyncio.Future[Place]) -> None:
                self._hung.discard(directory)
                if not late.cancelled() and late.exception() is None:
                    self._keep(directory, late.result())
                    resolved()

            missed.future.add_done_callback(answers_again)
            return None
        self._keep(directory, place)
        return place

    def _keep(self, directory: str, place: Place) -> None:
        if len(self._found) >= MAX_KEPT and directory not in self._found:
            del self._found[next(iter(self._found))]
        self._found[directory] = now().mono, place
