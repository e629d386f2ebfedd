"""Test that due jobs run, also when they are set again at a bad moment or the wall clock jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from coordd.runtime import schedule as schedule_module
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule
from coordd.runtime.steady import IntervalTrigger, MonotonicZone


class Reports:
    def __init__(self) -> None:
        self.steps: list[float] = []
        self.gaps: list[float] = []
        self.schedule = Schedule(
            loop_monitor=LoopMonitor(interval=schedule_module.TICK, mono=monotonic()),
            on_step=self.steps.append,
            on_gap=self.gaps.append,
        )


@asynccontextmanager
async def reporting() -> AsyncIterator[Reports]:
    reports = Reports()
    reports.schedule.start()
    try:
        yield reports
    finally:
        reports.schedule.stop()


@pytest.fixture
async def reports() -> AsyncIterator[Reports]:
    async with reporting() as reports:
        yield reports


def counter(count: list[float]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def job() -> None:
        count.append(monotonic())

    return job


async def test_once_runs_once_at_its_time_or_later(reports: Reports) -> None:
    ran: list[float] = []
    due = monotonic() + 0.1
    reports.schedule.once("x", 0.1, counter(ran))
    assert reports.schedule.waiting("x") == pytest.approx(due, abs=1)
    await until(lambda: ran)
    assert ran[0] >= due - 0.01
    assert reports.schedule.waiting("x") is None
    other: list[float] = []
    reports.schedule.once("y", 0.1, counter(other))
    await until(lambda: other)
    assert len(ran) == 1


async def test_setting_a_job_again_moves_it(reports: Reports) -> None:
    early: list[float] = []
    late: list[float] = []
    reports.schedule.once("x", 3600, counter(early))
    reports.schedule.once("x", 0.0, counter(late))
    await until(lambda: late)
    assert not early
    assert reports.schedule.waiting("x") is None


async def test_a_job_sets_itself_again_while_it_runs(reports: Reports) -> None:
    ran: list[float] = []

    async def job() -> None:
        ran.append(monotonic())
        if len(ran) < 20:
            reports.schedule.once("x", 0.0, job)
            await asyncio.sleep(0.01)

    reports.schedule.once("x", 0.0, job)
    await until(lambda: len(ran) == 20)
    assert reports.schedule.waiting("x") is None


async def test_a_job_set_again_between_being_due_and_running_waits_and_can_be_cancelled(
    reports: Reports,
) -> None:
    ran: list[float] = []
    reports.schedule.once("x", 0.0, counter(ran))
    while not asyncio.all_tasks() - {asyncio.current_task()}:  # noqa: ASYNC110  # submitted, not begun
        await asyncio.sleep(0)
    assert not ran
    reports.schedule.once("x", 3600, counter(ran))
    await until(lambda: ran)
    assert reports.schedule.waiting("x") is not None
    reports.schedule.cancel("x")
    assert reports.schedule.waiting("x") is None
    assert reports.schedule._scheduler.get_job("x") is None


async def test_every_repeats_until_it_is_cancelled(reports: Reports) -> None:
    ran: list[float] = []
    reports.schedule.every("x", 0.05, counter(ran), first=0.0)
    await until(lambda: len(ran) >= 3)
    assert reports.schedule.waiting("x") is not None
    reports.schedule.cancel("x")
    reports.schedule.cancel("x")
    await asyncio.sleep(0)
    count = len(ran)
    other: list[float] = []
    reports.schedule.once("y", 0.2, counter(other))
    await until(lambda: other)
    assert len(ran) <= count + 1
    assert reports.schedule.waiting("x") is None


async def test_every_never_runs_twice_at_once(reports: Reports) -> None:
    running = worst = done = 0

    async def job() -> None:
        nonlocal running, worst, done
        running += 1
        worst = max(worst, running)
        await asyncio.sleep(0.05)
        running -= 1
        done += 1

    reports.schedule.every("x", 0.01, job, first=0.0)
    await until(lambda: done >= 3)
    assert worst == 1


async def test_a_job_that_fails_is_logged_and_runs_again(
    reports: Reports, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[float] = []

    async def job() -> None:
        ran.append(1)
        raise RuntimeError("broken")

    reports.schedule.every("x", 0.02, job, first=0.0)
    await until(lambda: len(ran) >= 2)
    assert "job x failed: broken" in caplog.text


def shift(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make the wall clock jump, as this module and APScheduler see it."""
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
async def test_a_step_of_the_wall_clock_is_reported_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(schedule_module, "TICK", 0.05)
    async with reporting() as reports:
        every: list[float] = []
        once: list[float] = []
        far: list[float] = []
        reports.schedule.every("every", 0.2, counter(every))
        reports.schedule.once("once", 0.5, counter(once))
        reports.schedule.once("far", 1800.0, counter(far))
        due = reports.schedule.waiting("far")
        await until(lambda: every)
        shift(monkeypatch, seconds)
        await until(lambda: once)
        count = len(every)
        await until(lambda: len(every) >= count + 3)
        assert reports.steps == [pytest.approx(seconds, abs=1)]
        assert not far
        assert reports.schedule.waiting("far") == due


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_step_not_yet_noticed_moves_no_job(
    reports: Reports, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Between the step and the next comparison of the clocks every job runs once, at its time."""
    every: list[float] = []
    far: list[float] = []
    reports.schedule.every("every", 0.05, counter(every))
    reports.schedule.every("rare", 900.0, counter(far))
    reports.schedule.once("far", 1800.0, counter(far))
    await until(lambda: every)
    shift(monkeypatch, seconds)
    soon: list[float] = []
    began, before = monotonic(), len(every)
    reports.schedule.once("soon", 0.2, counter(soon))  # set after it, so by the new clock
    await until(lambda: soon)
    assert soon[0] >= began + 0.19
    await until(lambda: len(every) >= before + 5)
    assert len(every) - before <= (monotonic() - began) / 0.05 + 2
    assert not far
    assert reports.steps == []  # it really was not noticed


async def test_many_steps_to_and_fro_move_no_job(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    every: list[float] = []
    far: list[float] = []
    reports.schedule.every("every", 0.02, counter(every))
    reports.schedule.once("far", 1800.0, counter(far))
    began = monotonic()
    for number in range(50):
        shift(monkeypatch, STEPS[number % len(STEPS)])
        count = len(every)
        await until(lambda count=count: len(every) > count)
    assert len(every) <= (monotonic() - began) / 0.02 + 2
    assert not far


@given(
    interval=st.floats(0.001, 86400),
    late=st.floats(0, 100 * YEAR),
)
def test_an_interval_names_one_next_run_however_long_nothing_ran(interval: float, late: float) -> None:
    """After years of SIGSTOP a job has one missed run to make up for, and keeps its rhythm."""
    zone = MonotonicZone()
    before = zone.now()
    now = before + timedelta(seconds=late)
    due = IntervalTrigger(interval).get_next_fire_time(before, now)
    assert now < due <= now + timedelta(seconds=interval) + timedelta.resolution
    behind = (due - before) / max(timedelta(seconds=interval), timedelta.resolution)
    assert behind == pytest.approx(round(behind), abs=1e-3)


@pytest.mark.parametrize("delay", [1e15, 1e300, float("inf"), float("nan"), -1.0, -float("inf")])
async def test_a_delay_beyond_the_calendar_stops_nothing(reports: Reports, delay: float) -> None:
    ran: list[float] = []
    other: list[float] = []
    reports.schedule.once("x", delay, counter(ran))
    reports.schedule.every("y", delay, counter(ran), first=delay)
    reports.schedule.once("z", 0.05, counter(other))
    await until(lambda: other)
    assert bool(ran) == (delay < 0)


async def test_a_stall_of_the_loop_is_reported_as_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_module, "TICK", 0.02)
    reports = Reports()
    reports.schedule._loop_monitor = LoopMonitor(interval=0.02, grace=0.1, mono=monotonic())
    reports.schedule.start()
    began = monotonic()
    while monotonic() < began + 0.5:
        pass
    await until(lambda: reports.gaps)
    reports.schedule.stop()
    assert reports.gaps[0] >= 0.4
    assert reports.steps == []


async def test_stopping_twice_is_harmless(reports: Reports) -> None:
    reports.schedule.once("x", 3600, counter([]))
    reports.schedule.stop()
