"""Tell those who look for programs which processes have started, in the wake-up of the system sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coordd.host.newcomers import Newcomers
from coordd.host.process_facts import ProcessFacts
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker

DEADLINE = 5.0
"""Seconds that one look may take."""
FROM_SCRATCH = 600.0
"""Seconds after which all processes are told once more, for one may have become another unseen."""

Started = Callable[[Sequence[ProcessFacts]], None]
"""Is told of processes that are new or run another program, on the event loop, and returns at once.

All are told at the first time and every ten minutes, so one may be told again. None of them was waited for:
no command line was read.
"""


class NewcomerIntake:
    """Look when it is told to, once for all who listen.

    Args:
        worker: the thread that looks.
        newcomers: remembers which processes there were.
        listeners: are told.
    """

    def __init__(
        self, *, worker: Worker, newcomers: Newcomers | None = None, listeners: Sequence[Started]
    ) -> None:
        self._worker = worker
        self._newcomers = newcomers or Newcomers()
        self._listeners = listeners
        self._whole_at: float | None = None

    async def look(self) -> None:
        """Look for processes that have started since the last look, and tell of them."""
        mono = now().mono
        if self._whole_at is None or mono - self._whole_at >= FROM_SCRATCH:
            self._newcomers.forget()
            self._whole_at = mono
        try:
            found = await self._worker.run(self._newcomers.look, deadline=DEADLINE)
        except DeadlineMissed:  # the next look tells
            return
        if found:
            for listener in self._listeners:
                listener(found)
