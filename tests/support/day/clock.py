"""Simulate the clocks and timers of a machine: time passes only as a script lets it."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

from coordd.runtime.clock_watch import ClockWatch
from coordd.runtime.schedule import Schedule

MONO = 10_000.0
START = 1_795_262_400.0
"""The clocks at the beginning; the wall clock says 2026-11-21T12:00:00Z."""


class Clock:
    """The clocks: ``mono`` stands still while the machine sleeps, the others do not."""

    def __init__(self) -> None:
        self.mono = MONO
        self.asleep = 0.0

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return self.mono

    def uptime(self) -> float:
        """Return the seconds since the machine was started."""
        return self.mono + self.asleep

    def time(self) -> float:
        """Return the wall clock."""
        return round(START - MONO + self.uptime(), 6)


@contextmanager
def in_force(clock: Clock) -> Iterator[None]:
    """Have coordd read this clock until the end of the block."""
    with ExitStack() as stack:
        for name, reading in (
            ("runtime.schedule.monotonic", clock.monotonic),
            ("runtime.schedule.time", clock.time),
            ("runtime.clock_watch.monotonic", clock.monotonic),
            ("runtime.clock_watch.time", clock.time),
            ("runtime.clock_watch.uptime", clock.uptime),
            ("intake.source.uptime", clock.uptime),
        ):
            stack.enter_context(patch(f"coordd.{name}", reading))
        yield


class _Alarm:
    """An alarm that rings when a script says that its time has come."""

    def __init__(self, *, ring: Callable[[], None]) -> None:
        self.started = False
        self.due = math.inf
        self._ring = ring

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.started, self.due = False, math.inf

    def set(self, due: float) -> None:
        if self.started:
            self.due = min(self.due, due)

    def ring(self) -> None:
        self.due = math.inf
        self._ring()


class _StepTimer:
    """What the kernel tells of a clock that jumped by."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)

    def arm(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)


class Timers:
    """The real schedule, over a simulated alarm."""

    def __init__(self, clock: Clock, make: Callable[[], Schedule]) -> None:
        self._clock = clock
        self._step_timers: list[_StepTimer] = []
        alarms: list[_Alarm] = []

        def alarm(*, ring: Callable[[], None]) -> _Alarm:
            alarms.append(_Alarm(ring=ring))
            return alarms[-1]

        with (
            patch("coordd.runtime.schedule.Alarm", alarm),
            patch("coordd.runtime.schedule.ClockWatch", partial(ClockWatch, open_timer=self._step_timer)),
        ):
            self.schedule = make()
        (self._alarm,) = alarms

    @property
    def due(self) -> float:
        """The monotonic time at which the next timer rings."""
        return self._alarm.due

    async def pass_until(self, mono: float) -> None:
        """Let time pass, and each timer ring in its time."""
        while self._alarm.due <= mono:
            self._clock.mono = max(self._clock.mono, self._alarm.due)
            await self.ring()
        self._clock.mono = max(self._clock.mono, mono)

    async def ring(self) -> None:
        """Let the next timer ring now, however late, and what it begins come to rest."""
        self._alarm.ring()
        await rest()

    async def tell_of_sleep(self) -> None:
        """Let the kernel tell that the machine has slept."""
        for one in self._step_timers:
            os.eventfd_write(one.fd, 1)
        await rest()

    def _step_timer(self) -> _StepTimer:
        self._step_timers.append(_StepTimer())
        return self._step_timers[-1]


async def rest() -> None:
    """Return when nothing runs any more but waits for its time."""
    await asyncio.sleep(0)
    for _ in range(100_000):
        await asyncio.sleep(0)
        if len(asyncio.all_tasks()) == 1:
            return
    raise AssertionError("it never comes to rest")
