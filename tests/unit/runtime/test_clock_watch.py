"""Test that a set clock and a sleep of the machine are noticed, told apart, and told once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from time import CLOCK_REALTIME, clock_gettime

import pytest
from waiting import until

from coordd.runtime import clock_watch
from coordd.runtime.clock_watch import ClockWatch, TimerFd


class Clocks:
    """The clocks as the watch reads them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.mono, self.boot, self.wall = 1000.0, 5000.0, 1_800_000_000.0
        patch.setattr(clock_watch, "monotonic", lambda: self.mono)
        patch.setattr(clock_watch, "uptime", lambda: self.boot)
        patch.setattr(clock_watch, "time", lambda: self.wall)

    def wait(self, seconds: float) -> None:
        self.mono += seconds
        self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds


class Told:
    """A watch, and what it told."""

    def __init__(self, **options: object) -> None:
        self.steps: list[float] = []
        self.sleeps: list[float] = []
        self.watch = ClockWatch(
            on_step=self.steps.append,
            on_sleep=self.sleeps.append,
            **options,  # type: ignore[arg-type]
        )


class Pipe:
    """Something readable in place of the kernel's timer."""

    def __init__(self) -> None:
        self.fd, self._other = os.pipe()
        os.set_blocking(self.fd, False)
        self.armed = 0
        self.broken = False

    def set_clock(self) -> None:
        os.write(self._other, b"x")

    def arm(self) -> None:
        os.read(self.fd, 100)
        if self.broken:
            raise OSError("refused from now on")
        self.armed += 1

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._other)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.fixture
def told(clocks: Clocks) -> Told:
    return Told()


def test_time_that_passes_is_nothing(clocks: Clocks, told: Told) -> None:
    for seconds in (0.1, 60.0, 1e7):
        clocks.wait(seconds)
        told.watch.compare()
    assert (told.steps, told.sleeps) == ([], [])


@pytest.mark.parametrize("seconds", [0.6, -0.6, 3600.0, -3600.0, -1.7e9, 1e10])
def test_a_step_is_told_once(clocks: Clocks, told: Told, seconds: float) -> None:
    clocks.wait(10.0)
    clocks.wall += seconds
    told.watch.compare()
    clocks.wait(10.0)
    told.watch.compare()
    assert told.steps == [pytest.approx(seconds)]
    assert told.sleeps == []


def test_sleep_is_told_once_and_is_no_step(clocks: Clocks, told: Told) -> None:
    clocks.sleep(28_800.0)
    told.watch.compare()
    told.watch.compare()
    assert told.sleeps == [pytest.approx(28_800.0)]
    assert told.steps == []


def test_a_clock_that_is_corrected_after_sleep_is_both(clocks: Clocks, told: Told) -> None:
    clocks.sleep(28_800.0)
    clocks.wall -= 7200.0
    told.watch.compare()
    assert told.sleeps == [pytest.approx(28_800.0)]
    assert told.steps == [pytest.approx(-7200.0)]


def test_small_corrections_are_nothing(clocks: Clocks, told: Told) -> None:
    for _ in range(100):
        clocks.wait(1.0)
        clocks.wall += 0.4
        told.watch.compare()
    assert told.steps == []


def test_a_process_that_was_interrupted_between_two_clocks_reads_them_again(
    monkeypatch: pytest.MonkeyPatch, clocks: Clocks, told: Told
) -> None:
    interrupted: Iterator[float] = iter([60.0])

    def uptime() -> float:
        clocks.wait(next(interrupted, 0.0))
        return clocks.boot

    monkeypatch.setattr(clock_watch, "uptime", uptime)
    told.watch.compare()
    assert next(interrupted, None) is None
    assert (told.steps, told.sleeps) == ([], [])


async def test_what_the_kernel_tells_is_looked_into_at_once(clocks: Clocks) -> None:
    pipe = Pipe()
    told = Told(open_timer=lambda: pipe)
    assert told.watch.start()
    for number in range(1, 4):
        clocks.wall += 60.0
        pipe.set_clock()
        await until(lambda number=number: len(told.steps) == number)
        assert pipe.armed == number
    told.watch.close()
    told.watch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe.fd)


async def test_a_kernel_that_tells_no_more_leaves_the_comparisons(clocks: Clocks) -> None:
    pipe = Pipe()
    told = Told(open_timer=lambda: pipe)
    assert told.watch.start()
    pipe.broken = True
    clocks.wall += 60.0
    pipe.set_clock()
    await until(lambda: told.steps)
    clocks.wall += 60.0
    told.watch.compare()
    assert len(told.steps) == 2


@pytest.mark.parametrize("error", [PermissionError("seccomp"), AttributeError("timerfd_create")])
async def test_a_kernel_that_refuses_is_said(error: Exception) -> None:
    def refuse() -> Pipe:
        raise error

    assert not Told(open_timer=refuse).watch.start()


async def test_elsewhere_than_on_linux_the_kernel_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not Told(open_timer=Pipe).watch.start()


async def test_the_kernels_timer_waits_for_ever_and_can_be_armed_again() -> None:
    """A real timer: it stays silent for as long as nobody sets the clock, and costs one descriptor."""
    told = Told()
    assert told.watch.start()
    timer = told.watch._timer
    assert isinstance(timer, TimerFd)
    assert "clockid: 0" in _about(timer.fd)
    assert "settime flags: 03" in _about(timer.fd)
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        os.read(timer.fd, 8)
    timer.arm()
    remaining = int(_about(timer.fd).partition("it_value: (")[2].partition(",")[0])
    assert remaining > 10 * 365 * 86400
    assert clock_gettime(CLOCK_REALTIME) > 0
    told.watch.close()


def _about(descriptor: int) -> str:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        return file.read()
