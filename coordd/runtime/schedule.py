"""Run the timers of the daemon on APScheduler, and watch both clocks.

The rule: all timers count on the monotonic clock (steady.py), so that a step of the wall clock moves no job.
Beside the jobs one plain timer of the loop compares both clocks every few seconds; it reports steps of the
wall clock and stalls of the loop.

APScheduler is imported by :meth:`Schedule.start`: that takes a fifth of the start, and the first answer needs
no timer. Jobs set before wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from time import monotonic, time
from typing import TYPE_CHECKING

from coordd.runtime.clocks import LoopMonitor, Moment
from coordd.runtime.footprint import import_apscheduler

if TYPE_CHECKING:
    from apscheduler.events import JobExecutionEvent
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    from coordd.runtime.steady import MonotonicZone

log = logging.getLogger(__name__)

TICK = 2.0
"""Seconds between two comparisons of the clocks."""

STEP = 0.5
"""Seconds: a larger change of the difference between both clocks within one tick is a step."""

Job = Callable[[], Awaitable[None]]


def now() -> Moment:
    """Return both clocks at this instant."""
    return Moment(wall=time(), mono=monotonic())


class Schedule:
    """Run named jobs, each a coroutine function; a repeated job never runs twice at the same time.

    Args:
        loop_monitor: finds gaps of the loop from its ticks.
        on_step: is called with the seconds of a step of the wall clock.
        on_gap: is called with the seconds in which the loop did not run.
    """

    def __init__(
        self, *, loop_monitor: LoopMonitor, on_step: Callable[[float], None], on_gap: Callable[[float], None]
    ) -> None:
        self._scheduler: AsyncIOScheduler | None = None
        self._zone: MonotonicZone | None = None
        self._before_start: dict[str, Callable[[], None]] = {}
        self._loop_monitor = loop_monitor
        self._on_step = on_step
        self._on_gap = on_gap
        self._due: dict[str, float] = {}
        self._every: dict[str, float] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._offset = 0.0

    @staticmethod
    def load() -> None:
        """Import what :meth:`start` needs; it takes 50 ms and may run in any thread."""
        import_apscheduler()
        import_module("coordd.runtime.steady")

    def start(self) -> None:
        """Start the jobs that are set; needs a running loop."""
        self.load()
        from apscheduler.events import EVENT_JOB_ERROR
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        from coordd.runtime.steady import MonotonicZone

        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        logging.getLogger("apscheduler.executors").setLevel(logging.CRITICAL)  # _failed logs it
        self._zone = MonotonicZone()
        self._scheduler = AsyncIOScheduler(
            timezone=self._zone,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._failed, EVENT_JOB_ERROR)
        self._scheduler.start()
        early, self._before_start = self._before_start, {}
        for add in early.values():
            add()
        self._offset = time() - monotonic()
        self._loop_monitor.start(monotonic())
        self._tick = asyncio.get_running_loop().call_later(TICK, self._check_clocks)

    def stop(self) -> None:
        """Stop without waiting for running jobs; the caller finishes its own work first."""
        if self._tick:
            self._tick.cancel()
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def every(self, name: str, seconds: float, job: Job, *, first: float | None = None) -> None:
        """Run ``job`` every ``seconds``, the first time after ``first`` seconds (default: one interval)."""
        delay = seconds if first is None else first
        self._every[name] = seconds
        self._due[name] = monotonic() + delay

        async def run() -> None:
            if name in self._every:
                self._due[name] = monotonic() + self._every[name]
            await job()

        if self._scheduler is None or self._zone is None:
            self._before_start[name] = lambda: self.every(name, seconds, job, first=first)
            return
        from coordd.runtime.steady import IntervalTrigger

        self._scheduler.add_job(
            run, IntervalTrigger(seconds), id=name, replace_existing=True, next_run_time=self._zone.now(delay)
        )

    def once(self, name: str, delay: float, job: Job) -> None:
        """Run ``job`` once after ``delay`` seconds; it replaces a waiting job of that name."""
        due = self._due[name] = monotonic() + delay

        async def run() -> None:
            # The job may have been set again between being due and running; then it still waits.
            if self._due.get(name) == due:
                del self._due[name]
            await job()

        if self._scheduler is None or self._zone is None:
            self._before_start[name] = lambda: self.once(name, max(0.0, due - monotonic()), job)
            return
        from coordd.runtime.steady import OnceTrigger

        # A job may set itself again while it still runs; APScheduler would skip that run silently.
        self._scheduler.add_job(
            run, OnceTrigger(self._zone.now(delay)), id=name, replace_existing=True, max_instances=1000
        )

    def waiting(self, name: str) -> float | None:
        """Return the monotonic time at which the job of that name is due, None when there is none."""
        return self._due.get(name)

    def cancel(self, name: str) -> None:
        """Cancel a job; a name without a job changes nothing."""
        self._before_start.pop(name, None)
        if self._due.pop(name, None) is not None and self._scheduler and self._scheduler.get_job(name):
            self._scheduler.remove_job(name)
        self._every.pop(name, None)

    def _check_clocks(self) -> None:
        mono = monotonic()
        gap = self._loop_monitor.tick(mono)
        offset = time() - mono
        step, self._offset = offset - self._offset, offset
        self._tick = asyncio.get_running_loop().call_later(TICK, self._check_clocks)
        if abs(step) > STEP:
            self._on_step(step)
        if gap:
            self._on_gap(gap)

    def _failed(self, event: JobExecutionEvent) -> None:
        if not isinstance(event.exception, asyncio.CancelledError):  # cancelled when coordd ended
            log.error("job %s failed: %s", event.job_id, event.exception, exc_info=event.exception)
