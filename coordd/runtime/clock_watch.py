"""Notice that the wall clock was set, and that the machine slept, without looking again and again.

How it is noticed, and what it is::

    wall clock less boot time changes       somebody set the clock: a step
    boot time less monotonic time grows     the machine slept: monotonic time stands still meanwhile
    a timer for "never" on the wall clock   the kernel cancels it at either (timerfd_create(2),
                                            TFD_TIMER_CANCEL_ON_SET), which wakes the loop at once

The clocks are compared whenever the schedule wakes anyway as well. Where the kernel does not tell of a step
(macOS; a seccomp filter without timerfd), the schedule has to look now and then, and a step is noticed up to
:data:`LOOK_EVERY` seconds late. libfaketime moves the clock that a process reads and no timer of the kernel:
under it a step is noticed at the next wake-up.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time as clocks
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import Protocol

STEP = 0.5
"""Seconds: a larger change of the difference between two clocks is a step, or sleep."""

LOOK_EVERY = 10.0
"""Seconds between two comparisons where the kernel tells of no step."""

_APART = 0.01
"""Seconds: readings of the clocks that lie further apart (the process was interrupted) are repeated."""


def uptime() -> float:
    """Return the seconds since the machine was started, with those asleep where the system counts them."""
    return clocks.clock_gettime(getattr(clocks, "CLOCK_BOOTTIME", clocks.CLOCK_MONOTONIC))


class StepTimer(Protocol):
    """What tells of a set clock: a descriptor that becomes readable then."""

    fd: int

    def arm(self) -> None:
        """Wait for the next step."""

    def close(self) -> None:
        """Close the descriptor."""


class TimerFd:
    """Implement :class:`StepTimer` by timerfd_create(2), through the C library: os has it from 3.13 on only.

    Raises:
        OSError: the kernel refuses it.
        AttributeError: this C library has none.
    """

    def __init__(self) -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._settime = libc.timerfd_settime
        largest = (1 << (8 * ctypes.sizeof(ctypes.c_long) - 1)) - 1
        # struct itimerspec: seconds and nanoseconds of the interval (none), and of the moment (never)
        self._never = (ctypes.c_long * 4)(0, 0, largest, 0)
        self.fd: int = libc.timerfd_create(clocks.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise self._error()
        try:
            self.arm()
        except OSError:
            self.close()
            raise

    def arm(self) -> None:
        """Wait for the next step; a step that was told of is forgotten.

        Raises:
            OSError: the kernel refuses it.
        """
        absolute, cancel_on_set = 1, 2
        with suppress(OSError):  # ECANCELED is how it tells; EAGAIN when nothing happened
            os.read(self.fd, 8)
        if self._settime(self.fd, absolute | cancel_on_set, self._never, None) < 0:
            raise self._error()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def _error(self) -> OSError:
        number = self._errno()
        return OSError(number, os.strerror(number))


class ClockWatch:
    """Compare the clocks when told to, and when the kernel says so, from :meth:`start` to :meth:`close`.

    Args:
        on_step: called with the seconds by which the wall clock was set.
        on_sleep: called with the seconds in which the machine slept.
        open_timer: makes what tells of a set clock; raises OSError or AttributeError if it cannot.
    """

    def __init__(
        self,
        *,
        on_step: Callable[[float], None],
        on_sleep: Callable[[float], None],
        open_timer: Callable[[], StepTimer] = TimerFd,
    ) -> None:
        self._on_step = on_step
        self._on_sleep = on_sleep
        self._open_timer = open_timer
        self._timer: StepTimer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asleep, self._offset = _differences()

    def start(self) -> bool:
        """Begin, in a running loop; return whether the kernel tells of steps, else somebody has to look."""
        self._asleep, self._offset = _differences()
        if sys.platform != "linux":
            return False
        try:
            self._timer = self._open_timer()
        except (OSError, AttributeError):
            return False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer.fd, self._told)
        return True

    def compare(self) -> None:
        """Report a step, or sleep, if the clocks moved against each other since the last comparison."""
        asleep, offset = _differences()
        slept, self._asleep = asleep - self._asleep, asleep
        step, self._offset = offset - self._offset, offset
        if slept > STEP:
            self._on_sleep(slept)
        if abs(step) > STEP:
            self._on_step(step)

    def close(self) -> None:
        """Watch no longer; closing twice is harmless."""
        timer, self._timer = self._timer, None
        if timer is not None and self._loop is not None:
            self._loop.remove_reader(timer.fd)
            timer.close()

    def _told(self) -> None:
        """Compare, after arming again: a step in between is told of anew."""
        if self._timer is None:
            return
        try:
            self._timer.arm()
        except OSError:
            self.close()  # every wake-up of the schedule compares all the same
        self.compare()


def _differences() -> tuple[float, float]:
    """Return boot time less monotonic time, and wall clock less boot time, in seconds."""
    for _ in range(5):
        before = monotonic()
        boot, wall = uptime(), time()
        if monotonic() - before < _APART:
            break
    return boot - before, wall - boot
