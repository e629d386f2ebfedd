"""Timers: what is due runs, also when it is set again in an unlucky moment or the wall clock jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from time import monotonic, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.runtime import schedule as schedule_module
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule
from coordd.runtime.steady import IntervalTrigger, MonotonicZone

PATIENCE = 20.0


class Told:
    def __init__(self) -> None:
        self.steps: list[float] = []
        self.gaps: list[float] = []
        self.schedule = Schedule(
            loop_monitor=LoopMonitor(interval=schedule_module.TICK, mono=monotonic()),
            on_step=self.steps.append,
            on_gap=self.gaps.append,
        )


def run(test: Callable[[Told], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        told = Told()
        told.schedule.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await test(told)
        finally:
            told.schedule.stop()

    asyncio.run(bounded())


def counter(count: list[float]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def job() -> None:
        count.append(monotonic())

    return job


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  # a timer has no event to wait for
        await asyncio.sleep(0.005)


def test_once_runs_once_not_before_its_time() -> None:
    async def test(told: Told) -> None:
        ran: list[float] = []
        due = monotonic() + 0.1
        told.schedule.once("x", 0.1, counter(ran))
        assert told.schedule.waiting("x") == pytest.approx(due, abs=1)
        await until(lambda: ran)
        assert ran[0] >= due - 0.01
        assert told.schedule.waiting("x") is None
        other: list[float] = []
        told.schedule.once("y", 0.1, counter(other))
        await until(lambda: other)
        assert len(ran) == 1

    run(test)


def test_once_again_moves_it() -> None:
    async def test(told: Told) -> None:
        early: list[float] = []
        late: list[float] = []
        told.schedule.once("x", 3600, counter(early))
        told.schedule.once("x", 0.0, counter(late))
        await until(lambda: late)
        assert not early
        assert told.schedule.waiting("x") is None

    run(test)


def test_a_job_sets_itself_again_while_it_runs() -> None:
    async def test(told: Told) -> None:
        ran: list[float] = []

        async def job() -> None:
            ran.append(monotonic())
            if len(ran) < 20:
                told.schedule.once("x", 0.0, job)
                await asyncio.sleep(0.01)

        told.schedule.once("x", 0.0, job)
        await until(lambda: len(ran) == 20)
        assert told.schedule.waiting("x") is None

    run(test)


def test_set_again_between_being_due_and_running_it_still_waits_and_can_be_taken_back() -> None:
    async def test(told: Told) -> None:
        ran: list[float] = []
        told.schedule.once("x", 0.0, counter(ran))
        while not asyncio.all_tasks() - {asyncio.current_task()}:  # noqa: ASYNC110  # submitted, not begun
            await asyncio.sleep(0)
        assert not ran
        told.schedule.once("x", 3600, counter(ran))
        await until(lambda: ran)
        assert told.schedule.waiting("x") is not None
        told.schedule.cancel("x")
        assert told.schedule.waiting("x") is None
        assert told.schedule._scheduler.get_job("x") is None

    run(test)


def test_every_runs_again_and_again_until_it_is_taken_back() -> None:
    async def test(told: Told) -> None:
        ran: list[float] = []
        told.schedule.every("x", 0.05, counter(ran), first=0.0)
        await until(lambda: len(ran) >= 3)
        assert told.schedule.waiting("x") is not None
        told.schedule.cancel("x")
        told.schedule.cancel("x")
        await asyncio.sleep(0)
        count = len(ran)
        other: list[float] = []
        told.schedule.once("y", 0.2, counter(other))
        await until(lambda: other)
        assert len(ran) <= count + 1
        assert told.schedule.waiting("x") is None

    run(test)


def test_every_never_runs_twice_at_once() -> None:
    async def test(told: Told) -> None:
        running = worst = done = 0

        async def job() -> None:
            nonlocal running, worst, done
            running += 1
            worst = max(worst, running)
            await asyncio.sleep(0.05)
            running -= 1
            done += 1

        told.schedule.every("x", 0.01, job, first=0.0)
        await until(lambda: done >= 3)
        assert worst == 1

    run(test)


def test_a_job_that_fails_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    async def test(told: Told) -> None:
        ran: list[float] = []

        async def job() -> None:
            ran.append(1)
            raise RuntimeError("broken")

        told.schedule.every("x", 0.02, job, first=0.0)
        await until(lambda: len(ran) >= 2)

    run(test)
    assert "job x failed: broken" in caplog.text


def shift(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """The wall clock, as this module and APScheduler see it, jumps."""
    import datetime as real

    from apscheduler.executors import base as executors
    from apscheduler.schedulers import base

    class Shifted(real.datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> real.datetime:
            moment = real.datetime.fromtimestamp(time() + seconds, real.UTC)
            return moment if tz is None else tz.fromutc(moment.replace(tzinfo=tz))

    patch.setattr(schedule_module, "time", lambda: time() + seconds)
    patch.setattr(base, "datetime", Shifted)
    patch.setattr(executors, "datetime", Shifted)


YEAR = 365 * 86400.0
STEPS = [-3600.0, 3600.0, YEAR, -YEAR, 56 * YEAR, -56 * YEAR]


@pytest.mark.parametrize("seconds", STEPS)
def test_a_step_of_the_wall_clock_is_told_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(schedule_module, "TICK", 0.05)

    async def test(told: Told) -> None:
        every: list[float] = []
        once: list[float] = []
        far: list[float] = []
        told.schedule.every("every", 0.2, counter(every))
        told.schedule.once("once", 0.5, counter(once))
        told.schedule.once("far", 1800.0, counter(far))
        due = told.schedule.waiting("far")
        await until(lambda: every)
        shift(monkeypatch, seconds)
        await until(lambda: once)
        count = len(every)
        await until(lambda: len(every) >= count + 3)
        assert told.steps == [pytest.approx(seconds, abs=1)]
        assert not far
        assert told.schedule.waiting("far") == due

    run(test)


@pytest.mark.parametrize("seconds", STEPS)
def test_a_step_that_nobody_has_noticed_yet_moves_no_job(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Between the step and the next look at the clocks every job runs at its time, and once."""

    async def test(told: Told) -> None:
        every: list[float] = []
        far: list[float] = []
        told.schedule.every("every", 0.05, counter(every))
        told.schedule.every("rare", 900.0, counter(far))
        told.schedule.once("far", 1800.0, counter(far))
        await until(lambda: every)
        shift(monkeypatch, seconds)
        soon: list[float] = []
        began, before = monotonic(), len(every)
        told.schedule.once("soon", 0.2, counter(soon))  # set after it, so by the new clock
        await until(lambda: soon)
        assert soon[0] >= began + 0.19
        await until(lambda: len(every) >= before + 5)
        assert len(every) - before <= (monotonic() - began) / 0.05 + 2
        assert not far
        assert told.steps == []  # it really was not noticed

    run(test)


def test_many_steps_to_and_fro_move_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(told: Told) -> None:
        every: list[float] = []
        far: list[float] = []
        told.schedule.every("every", 0.02, counter(every))
        told.schedule.once("far", 1800.0, counter(far))
        began = monotonic()
        for number in range(50):
            shift(monkeypatch, STEPS[number % len(STEPS)])
            count = len(every)
            await until(lambda count=count: len(every) > count)
        assert len(every) <= (monotonic() - began) / 0.02 + 2
        assert not far

    run(test)


@given(
    interval=st.floats(0.001, 86400),
    late=st.floats(0, 100 * YEAR),
)
def test_an_interval_names_one_next_run_however_long_nothing_ran(interval: float, late: float) -> None:
    """Stopped for years (SIGSTOP), a job has one run to make up for, and keeps its beat."""
    zone = MonotonicZone()
    before = zone.now()
    now = before + timedelta(seconds=late)
    due = IntervalTrigger(interval).get_next_fire_time(before, now)
    assert now < due <= now + timedelta(seconds=interval) + timedelta.resolution
    behind = (due - before) / max(timedelta(seconds=interval), timedelta.resolution)
    assert behind == pytest.approx(round(behind), abs=1e-3)


@pytest.mark.parametrize("delay", [1e15, 1e300, float("inf"), float("nan"), -1.0, -float("inf")])
def test_a_delay_that_no_calendar_holds_stops_nothing(delay: float) -> None:
    async def test(told: Told) -> None:
        ran: list[float] = []
        other: list[float] = []
        told.schedule.once("x", delay, counter(ran))
        told.schedule.every("y", delay, counter(ran), first=delay)
        told.schedule.once("z", 0.05, counter(other))
        await until(lambda: other)
        assert bool(ran) == (delay < 0)

    run(test)


def test_a_stall_of_the_loop_is_told_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "TICK", 0.02)
    told = Told()
    told.schedule._loop_monitor = LoopMonitor(interval=0.02, grace=0.1, mono=monotonic())

    async def test() -> None:
        told.schedule.start()
        began = monotonic()
        while monotonic() < began + 0.5:
            pass
        async with asyncio.timeout(PATIENCE):
            await until(lambda: told.gaps)
        told.schedule.stop()

    asyncio.run(test())
    assert told.gaps[0] >= 0.4
    assert told.steps == []


def test_stopped_it_can_be_stopped_again() -> None:
    async def test(told: Told) -> None:
        told.schedule.once("x", 3600, counter([]))
        told.schedule.stop()

    run(test)
