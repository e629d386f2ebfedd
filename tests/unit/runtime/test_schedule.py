"""Test that due jobs run, also when they are set again at a bad moment or the wall clock jumps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from time import monotonic, time
from typing import Any

import pytest
from waiting import PATIENCE, until

from coordd.runtime import alarm as alarm_module
from coordd.runtime import clock_watch as clock_watch_module
from coordd.runtime.clock_watch import ClockWatch
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule


class Reports:
    def __init__(self, *, grace: float = 2.0) -> None:
        self.steps: list[float] = []
        self.gaps: list[float] = []
        self.loop_monitor = LoopMonitor(grace=grace)
        self.schedule = Schedule(
            loop_monitor=self.loop_monitor,
            on_step=self.steps.append,
            on_gap=self.gaps.append,
        )

    @property
    def alarm(self) -> alarm_module.Alarm:
        return self.schedule._alarm


@asynccontextmanager
async def reporting(**options: float) -> AsyncIterator[Reports]:
    reports = Reports(**options)
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
    assert reports.schedule._table.next_wakeup() == inf


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
    """Make the wall clock jump, as the watch on the clocks and APScheduler see it."""
    import datetime as real

    from apscheduler.executors import base as executors
    from apscheduler.schedulers import base

    class Shifted(real.datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> real.datetime:
            moment = real.datetime.fromtimestamp(time() + seconds, real.UTC)
            return moment if tz is None else tz.fromutc(moment.replace(tzinfo=tz))

    patch.setattr(clock_watch_module, "time", lambda: time() + seconds)
    patch.setattr(base, "datetime", Shifted)
    patch.setattr(executors, "datetime", Shifted)


YEAR = 365 * 86400.0
STEPS = [-3600.0, 3600.0, YEAR, -YEAR, 56 * YEAR, -56 * YEAR]


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_step_of_the_wall_clock_is_reported_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
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
    monkeypatch.setattr(ClockWatch, "compare", lambda _watch: None)
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


@pytest.mark.parametrize("delay", [1e15, 1e300, float("inf"), float("nan"), -1.0, -float("inf")])
async def test_a_delay_beyond_the_calendar_stops_nothing(reports: Reports, delay: float) -> None:
    ran: list[float] = []
    other: list[float] = []
    reports.schedule.once("x", delay, counter(ran))
    reports.schedule.every("y", delay, counter(ran), first=delay)
    reports.schedule.once("z", 0.05, counter(other))
    await until(lambda: other)
    assert bool(ran) == (delay < 0)


async def test_a_stall_of_the_loop_is_reported_as_a_gap_before_any_job_runs() -> None:
    async with reporting(grace=0.1) as reports:
        known: list[list[float]] = []

        async def job() -> None:
            known.append(list(reports.gaps))

        reports.schedule.every("x", 0.05, job)
        began = monotonic()
        while monotonic() < began + 0.5:
            pass
        await until(lambda: known)
        assert reports.gaps[0] >= 0.4
        assert known[0] == reports.gaps[:1]
        assert reports.steps == []


async def test_a_stall_with_no_timer_in_it_is_no_gap() -> None:
    """Nothing was due, so nothing was missed: a daemon that sleeps cannot tell, and need not."""
    async with reporting(grace=0.1) as reports:
        ran: list[float] = []
        reports.schedule.once("x", 0.6, counter(ran))
        began = monotonic()
        while monotonic() < began + 0.3:
            pass
        await until(lambda: ran)
        assert reports.gaps == [] or monotonic() - began > 0.7  # the machine itself was slow


async def test_agents_are_judged_at_the_time_of_the_last_timer_until_a_late_one_is_reported() -> None:
    """A request that comes first after SIGCONT is answered as of then."""
    async with reporting(grace=0.1) as reports:
        ran: list[float] = []
        reports.schedule.once("x", 0.05, counter(ran))
        due = reports.alarm.due
        while monotonic() < due + 0.3:
            pass
        assert reports.loop_monitor.horizon(monotonic()) <= due
        reports.schedule.once("y", 0.01, counter(ran))  # what the request sets off changes nothing of that
        assert reports.loop_monitor.horizon(monotonic()) <= due
        await until(lambda: len(ran) == 2)
        assert reports.loop_monitor.horizon(monotonic()) > due + 0.3


async def test_lateness_is_measured_at_every_timer(reports: Reports) -> None:
    ran: list[float] = []
    reports.schedule.once("x", 0.01, counter(ran))
    began = monotonic()
    while monotonic() < began + 0.2:
        pass
    await until(lambda: ran)
    assert reports.loop_monitor.take_lag() >= 0.18


async def test_what_was_due_before_the_start_is_neither_lost_nor_late() -> None:
    reports = Reports(grace=0.05)
    ran: list[float] = []
    reports.schedule.once("x", 0.0, counter(ran))
    reports.schedule.every("y", 3600.0, counter(ran), first=0.0)
    await asyncio.sleep(0.2)
    assert ran == []
    reports.schedule.start()
    await until(lambda: len(ran) == 2)
    reports.schedule.stop()
    assert reports.gaps == []


async def test_a_far_job_is_apschedulers_and_runs(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_module, "NEAR", 0.0)
    ran: list[float] = []
    due = monotonic() + 0.2
    reports.schedule.once("x", 0.2, counter(ran))
    reports.schedule.every("y", 0.3, counter(ran))
    assert reports.alarm._near is None
    await until(lambda: len(ran) >= 4)
    assert ran[0] >= due - 0.01
    assert reports.alarm._near is None


async def test_apscheduler_is_told_of_the_next_deadline_alone(reports: Reports) -> None:
    for number in range(100):
        reports.schedule.once(f"far {number}", 1000.0 - number, counter([]))
    scheduler = reports.alarm._scheduler
    assert scheduler is not None
    (job,) = scheduler.get_jobs()
    zone = reports.alarm._zone
    assert zone is not None
    assert (job.next_run_time - zone.now()).total_seconds() == pytest.approx(901, abs=PATIENCE)
    ran: list[float] = []
    reports.schedule.once("near", 0.01, counter(ran))
    await until(lambda: ran)
    assert (job.next_run_time - zone.now()).total_seconds() == pytest.approx(901, abs=PATIENCE)


async def test_a_job_that_can_wait_runs_with_the_next_that_cannot(reports: Reports) -> None:
    ran: list[str] = []

    async def patient() -> None:
        ran.append("patient")

    async def urgent() -> None:
        ran.append("urgent")

    reports.schedule.every("patient", 3600.0, patient, first=0.01, slack=3600.0)
    reports.schedule.once("early", 0.0, counter([]))
    await asyncio.sleep(0.1)
    assert ran == []
    reports.schedule.once("urgent", 0.0, urgent)
    await until(lambda: len(ran) == 2)
    assert ran == ["urgent", "patient"]
    assert reports.schedule.waiting("patient") == pytest.approx(monotonic() + 3600, abs=PATIENCE)


async def test_a_fault_in_the_handling_of_a_step_stops_no_timer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with reporting() as reports:

        def broken() -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(reports.schedule._clock_watch, "compare", broken)
        ran: list[float] = []
        reports.schedule.every("x", 0.01, counter(ran))
        await until(lambda: len(ran) >= 3)
    assert "a step of the clock" in caplog.text


async def test_running_jobs_are_cancelled_at_the_end() -> None:
    async with reporting() as reports:
        begun = asyncio.Event()
        ended: list[str] = []

        async def job() -> None:
            begun.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append("x")

        reports.schedule.once("x", 0.0, job)
        await begun.wait()
    await until(lambda: ended)


async def test_what_is_set_after_the_end_does_not_run(reports: Reports) -> None:
    ran: list[float] = []
    reports.schedule.stop()
    reports.schedule.once("x", 0.0, counter(ran))
    await asyncio.sleep(0.05)
    assert ran == []


async def test_clocks_are_looked_at_now_and_then_where_the_kernel_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClockWatch, "start", lambda _watch: False)
    monkeypatch.setattr("coordd.runtime.schedule.LOOK_EVERY", 0.05)
    async with reporting() as reports:
        shift(monkeypatch, 3600.0)
        await until(lambda: reports.steps)
        assert reports.steps == [pytest.approx(3600.0, abs=1)]


async def test_stopping_twice_is_harmless(reports: Reports) -> None:
    reports.schedule.once("x", 3600, counter([]))
    reports.schedule.stop()
