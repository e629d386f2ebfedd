"""Wake the schedule at one moment, by APScheduler or, where that is near, by the loop itself.

APScheduler owns the timers, as one job whose next run is set to the next real deadline. Telling it costs
0.3 ms more than a timer of the loop does, which matters for delays of which there may be many a second
(batches of hints, events that are gathered): what is due within :data:`NEAR` seconds is a timer of the loop.

APScheduler is imported by :meth:`Alarm.start`: that takes a fifth of the start, and the first answer needs no
timer.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING

from coordd.runtime.footprint import import_apscheduler

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    from coordd.runtime.steady import MonotonicZone

NEAR = 1.0
"""Seconds of the longest delay for which the loop's own timer is used."""
_ID = "wake"


class Alarm:
    """Call ``ring`` at the moment that was set, from :meth:`start` to :meth:`stop`.

    A moment whose reason has gone is kept: then the call is for nothing.
    """

    def __init__(self, *, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._scheduler: AsyncIOScheduler | None = None
        self._zone: MonotonicZone | None = None
        self._far = math.inf
        self._near: asyncio.TimerHandle | None = None

    @staticmethod
    def load() -> None:
        """Import what :meth:`start` needs; it takes 50 ms and may run in any thread."""
        import_apscheduler()
        import_module("coordd.runtime.steady")

    @property
    def started(self) -> bool:
        """Whether it was started and not stopped."""
        return self._scheduler is not None

    @property
    def due(self) -> float:
        """Return the monotonic time of the next call, infinity when none is set."""
        return min(self._far, math.inf if self._near is None else self._near.when())

    def start(self) -> None:
        """Begin; needs a running loop."""
        self.load()
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        from coordd.runtime.steady import MonotonicZone, SetByHand

        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._zone = MonotonicZone()
        self._scheduler = AsyncIOScheduler(timezone=self._zone)
        self._scheduler.start()
        self._scheduler.add_job(
            self._ring_far, SetByHand(), id=_ID, misfire_grace_time=None, coalesce=True, max_instances=1
        )

    def stop(self) -> None:
        """Call no more; stopping twice is harmless."""
        if self._near is not None:
            self._near.cancel()
            self._near = None
        scheduler, self._scheduler, self._far = self._scheduler, None, math.inf
        if scheduler is not None:
            scheduler.shutdown(wait=False)

    def set(self, due: float) -> None:
        """Call at ``due`` as well, a monotonic time, if no call comes before that anyway."""
        if self._scheduler is None or self._zone is None or due >= self.due:
            return
        delay = due - monotonic()
        if delay > NEAR:
            self._far = due
            self._scheduler.modify_job(_ID, next_run_time=self._zone.now(delay))
            return
        if self._near is not None:
            self._near.cancel()
        self._near = asyncio.get_running_loop().call_at(due, self._ring_near)

    async def _ring_far(self) -> None:
        """Ring in the loop's next turn, when APScheduler has done: threads that start then have no rival."""
        asyncio.get_running_loop().call_soon(self._ring_after)

    def _ring_after(self) -> None:
        self._far = math.inf
        self._ring()

    def _ring_near(self) -> None:
        self._near = None
        self._ring()
