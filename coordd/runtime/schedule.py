"""Run the timers of the daemon: one table of jobs, and one alarm that is set to the next of them.

The rule: all timers count on the monotonic clock, so that a step of the wall clock moves no job. Nobody looks
at anything at intervals: each wake-up has a job that has to begin then (timetable.py), and before any job the
clocks are compared (clock_watch.py) and the lateness is noted (clocks.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic, time

from coordd.runtime.alarm import Alarm
from coordd.runtime.clock_watch import LOOK_EVERY, ClockWatch
from coordd.runtime.clocks import LoopMonitor, Moment
from coordd.runtime.timetable import Job, Timetable, bounded

log = logging.getLogger(__name__)

_ON_TIME = 0.001
"""Seconds by which a job may run early, for the loop's clock is not finer."""


def now() -> Moment:
    """Return both clocks at this instant."""
    return Moment(wall=time(), mono=monotonic())


class Schedule:
    """Run named jobs, each a coroutine function; a repeated job never runs twice at the same time.

    Jobs may be set before :meth:`start`; they wait for it.

    Args:
        loop_monitor: finds gaps of the loop from late timers.
        on_step: is called with the seconds by which the wall clock was set.
        on_gap: is called with the seconds in which the loop did not run.
        on_sleep: is called with the seconds in which the machine slept.
    """

    def __init__(
        self,
        *,
        loop_monitor: LoopMonitor,
        on_step: Callable[[float], None],
        on_gap: Callable[[float], None],
        on_sleep: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._table = Timetable()
        self._alarm = Alarm(ring=self._wake)
        self._clock_watch = ClockWatch(on_step=on_step, on_sleep=on_sleep)
        self._loop_monitor = loop_monitor
        self._on_gap = on_gap
        self._running: set[asyncio.Task[None]] = set()
        self._repeated_running: set[str] = set()

    @staticmethod
    def load() -> None:
        """Import what :meth:`start` needs; it takes 50 ms and may run in any thread."""
        Alarm.load()

    def start(self) -> None:
        """Start the jobs that are set; needs a running loop."""
        self._alarm.start()
        if not self._clock_watch.start():
            self.every("clocks.look", LOOK_EVERY, _nothing)
        self._table.forgive(monotonic())
        self._arm()

    def stop(self) -> None:
        """Stop, and cancel running jobs; the caller finishes its own work first."""
        self._alarm.stop()
        self._clock_watch.close()
        for task in self._running:
            task.cancel()

    def every(
        self,
        name: str,
        seconds: float,
        job: Callable[[], Awaitable[None]],
        *,
        first: float | None = None,
        slack: float = 0.0,
    ) -> None:
        """Run ``job`` every ``seconds``, the first time after ``first`` seconds (default: one interval).

        It may begin up to ``slack`` seconds late, with another job; missed runs are skipped.
        """
        interval = bounded(seconds)
        delay = interval if first is None else bounded(first)
        self._put(Job(name, job, due=monotonic() + delay, slack=slack, interval=interval))

    def once(
        self, name: str, delay: float, job: Callable[[], Awaitable[None]], *, slack: float = 0.0
    ) -> None:
        """Run ``job`` once after ``delay`` seconds; it replaces a waiting job of that name.

        It may begin up to ``slack`` seconds late, with another job.
        """
        self._put(Job(name, job, due=monotonic() + bounded(delay), slack=slack))

    def waiting(self, name: str) -> float | None:
        """Return the monotonic time at which the job of that name is due, None when there is none."""
        job = self._table.get(name)
        return None if job is None else job.due

    def cancel(self, name: str) -> None:
        """Cancel a job that waits; a name without a job changes nothing."""
        self._table.remove(name)

    def _put(self, job: Job) -> None:
        self._table.put(job)
        if self._alarm.started and job.latest < self._alarm.due:
            self._arm()

    def _arm(self) -> None:
        self._alarm.set(self._table.next_wakeup())
        self._loop_monitor.expect(self._alarm.due, monotonic())

    def _wake(self) -> None:
        """Compare the clocks, report a gap, and begin what is due."""
        mono = monotonic()
        gap = self._loop_monitor.woke(mono)
        try:
            self._clock_watch.compare()
            if gap:
                self._on_gap(gap)
        except Exception:  # a bug there must not stop all timers
            log.exception("handling a step of the clock or a gap failed")
        due = self._table.take(mono + _ON_TIME)
        self._arm()
        for job in due:
            self._begin(job)

    def _begin(self, job: Job) -> None:
        if job.interval is not None:
            if job.name in self._repeated_running:
                return
            self._repeated_running.add(job.name)
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, job: Job) -> None:
        try:
            await job.run()
        except Exception as error:
            log.error("job %s failed: %s", job.name, error, exc_info=error)  # noqa: TRY400 - as the text has it
        finally:
            if job.interval is not None:
                self._repeated_running.discard(job.name)


async def _nothing() -> None:
    """Do nothing: the wake-up is what counts."""
