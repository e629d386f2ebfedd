"""Every timer of the daemon, on APScheduler, and the watch over the two clocks.

All timers count on the monotonic clock (steady.py): however far the wall clock is set, each job runs when it
would have run without it. Beside them runs one plain timer that is no job: it compares both clocks every few
seconds and tells of a step. A stall of the loop is noticed by the same timer.

APScheduler is imported by :meth:`Schedule.start`: it takes a fifth of the time to start, and the first answer
needs no timer. What is set before waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from time import monotonic, time
from typing import TYPE_CHECKING

from coordd.runtime.clocks import LoopMonitor, Moment

if TYPE_CHECKING:
    from apscheduler.events import JobExecutionEvent
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    from coordd.runtime.steady import Steady

log = logging.getLogger(__name__)

TICK = 2.0
"""Seconds between two looks at the clocks."""

STEP = 0.5
"""A difference between the clocks that changes by more than this many seconds within one tick is a step."""

Job = Callable[[], Awaitable[None]]


def now() -> Moment:
    """Both clocks at this instant."""
    return Moment(wall=time(), mono=monotonic())


class Schedule:
    """Named jobs, each a coroutine function that never runs twice at once.

    ``on_step(seconds)`` is told of a step of the wall clock, ``on_gap(seconds)`` of a time in which the loop
    did not turn.
    """

    def __init__(
        self, *, loop_monitor: LoopMonitor, on_step: Callable[[float], None], on_gap: Callable[[float], None]
    ) -> None:
        self._scheduler: AsyncIOScheduler | None = None
        self._zone: Steady | None = None
        self._early: dict[str, Callable[[], None]] = {}
        self._loop_monitor = loop_monitor
        self._on_step = on_step
        self._on_gap = on_gap
        self._due: dict[str, float] = {}
        self._every: dict[str, float] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._offset = 0.0

    @staticmethod
    def load() -> None:
        """Import what :meth:`start` needs; takes 50 ms and may be done in any thread."""
        import_module("apscheduler.schedulers.asyncio")
        import_module("coordd.runtime.steady")

    def start(self) -> None:
        """Begin; needs a running loop."""
        from apscheduler.events import EVENT_JOB_ERROR
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        from coordd.runtime.steady import Steady

        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        logging.getLogger("apscheduler.executors").setLevel(logging.CRITICAL)  # _failed says it
        self._zone = Steady()
        self._scheduler = AsyncIOScheduler(
            timezone=self._zone,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)
        self._scheduler.start()
        early, self._early = self._early, {}
        for add in early.values():
            add()
        self._offset = time() - monotonic()
        self._loop_monitor.start(monotonic())
        self._tick = asyncio.get_running_loop().call_later(TICK, self._look)

    def stop(self) -> None:
        """End without waiting for running jobs: the caller drains its own work first."""
        if self._tick:
            self._tick.cancel()
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def every(self, name: str, seconds: float, job: Job, *, first: float | None = None) -> None:
        """Run ``job`` each ``seconds``, the first time after ``first`` (default: after one interval)."""
        delay = seconds if first is None else first
        self._every[name] = seconds
        self._due[name] = monotonic() + delay

        async def run() -> None:
            if name in self._every:
                self._due[name] = monotonic() + self._every[name]
            await job()

        if self._scheduler is None or self._zone is None:
            self._early[name] = lambda: self.every(name, seconds, job, first=first)
            return
        from coordd.runtime.steady import Each

        self._scheduler.add_job(
            run, Each(seconds), id=name, replace_existing=True, next_run_time=self._zone.now(delay)
        )

    def once(self, name: str, delay: float, job: Job) -> None:
        """Run ``job`` after ``delay`` seconds; a job of that name that still waits is moved there."""
        due = self._due[name] = monotonic() + delay

        async def run() -> None:
            # Set again between being due and running, it still waits.
            if self._due.get(name) == due:
                del self._due[name]
            await job()

        if self._scheduler is None or self._zone is None:
            self._early[name] = lambda: self.once(name, max(0.0, due - monotonic()), job)
            return
        # A job may set itself again while it still runs; APScheduler would skip that run silently.
        self._scheduler.add_job(
            run, "date", run_date=self._zone.now(delay), id=name, replace_existing=True, max_instances=1000
        )

    def waiting(self, name: str) -> float | None:
        """The monotonic time at which the job of that name is due, None when there is none."""
        return self._due.get(name)

    def cancel(self, name: str) -> None:
        """Take a job back; one that does not exist is taken back already."""
        self._early.pop(name, None)
        if self._due.pop(name, None) is not None and self._scheduler and self._scheduler.get_job(name):
            self._scheduler.remove_job(name)
        self._every.pop(name, None)

    def _look(self) -> None:
        mono = monotonic()
        gap = self._loop_monitor.beat(mono)
        offset = time() - mono
        step, self._offset = offset - self._offset, offset
        self._tick = asyncio.get_running_loop().call_later(TICK, self._look)
        if abs(step) > STEP:
            self._on_step(step)
        if gap:
            self._on_gap(gap)

    def _failed(self, event: JobExecutionEvent) -> None:
        if not isinstance(event.exception, asyncio.CancelledError):  # it was under way when coordd ended
            log.error("job %s failed: %s", event.job_id, event.exception, exc_info=event.exception)
