"""Test what the service manager is told: ready after the first sample, alive while samples are fresh."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, cast

import pytest
from waiting import PATIENCE, until

from coordd.agents.judging import Limits
from coordd.agents.store import AgentStore
from coordd.model import SystemSample
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule
from coordd.service.supervision import Supervision
from coordd.util.sdnotify import NoNotifier

WATCHDOG = 0.3
SAMPLE = cast("SystemSample", object())  # only its being there counts


class Scene:
    """A supervised daemon without the daemon: what it does is set, what it says is heard."""

    def __init__(
        self, *, watchdog: float | None = WATCHDOG, grace: float = 2.0, manager: bool = True
    ) -> None:
        self.heard: list[str] = []
        self.late = 0.0
        self.summary = "all well"
        self.summary_until = math.inf
        self.summaries = 0
        self.loop_monitor = LoopMonitor(grace=grace)
        self.schedule = Schedule(
            loop_monitor=self.loop_monitor, on_step=lambda _: None, on_gap=lambda _: None
        )
        self.store = AgentStore(limits=Limits(timeout=120), loop_monitor=self.loop_monitor)
        self.supervision = Supervision(
            notifier=self if manager else NoNotifier(),
            watchdog=watchdog,
            schedule=self.schedule,
            loop_monitor=self.loop_monitor,
            store=self.store,
            lateness=lambda mono: self.late,
            summary=self._summed_up,
            summary_until=lambda moment: self.summary_until,
        )

    def _summed_up(self, _moment: object) -> str:
        self.summaries += 1
        return self.summary

    def send(self, message: str) -> None:
        self.heard.append(message)

    def signs(self) -> int:
        return self.heard.count("WATCHDOG=1")


@asynccontextmanager
async def supervised(**options: Any) -> AsyncIterator[Scene]:
    scene = Scene(**options)
    scene.schedule.start()
    try:
        yield scene
    finally:
        scene.schedule.stop()


async def test_ready_with_the_first_sample_and_not_before() -> None:
    async with supervised(watchdog=None) as scene:
        scene.supervision.sampled()  # the attempt failed
        assert scene.heard == []
        with scene.supervision.reloading():
            pass  # a reload that comes early must not make it ready
        assert scene.heard == []
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        scene.supervision.sampled()
        assert scene.heard == ["READY=1\nSTATUS=all well"]
        scene.summary = "degraded"
        scene.supervision.sampled()
        assert scene.heard[1:] == ["STATUS=degraded"]


async def test_a_sign_of_life_only_while_samples_are_fresh(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with supervised() as scene:
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        await until(lambda: scene.signs() >= 4)
        scene.late = 61.0
        await until(lambda: scene.schedule.waiting("watchdog.retry"))
        before = scene.signs()
        due = scene.schedule.waiting("watchdog.retry")
        await until(lambda: scene.schedule.waiting("watchdog.retry") not in (None, due))
        assert scene.signs() == before
        assert [r.getMessage()[:32] for r in caplog.records] == ["the host sample is 61 s late: th"]
        scene.late = 0.0
        await until(lambda: scene.signs() > before)


async def test_no_sign_of_life_between_a_stall_and_the_timer_that_reports_it() -> None:
    async with supervised(grace=0.05) as scene:
        signs: list[int] = []

        async def stall() -> None:
            time.sleep(0.5)  # noqa: ASYNC251  # the loop stands still, and the next timer is overdue
            asyncio.get_running_loop().call_soon(lambda: signs.append(scene.signs()))

        scene.store.system = SAMPLE
        scene.schedule.once("stall", 0.0, stall)  # begins with the first sign of life, and before it
        scene.supervision.sampled()
        await until(lambda: scene.schedule.waiting("watchdog.retry"))
        assert signs == [0]
        await until(lambda: scene.signs() > 0)  # the timer has rung


async def test_no_manager_that_wants_signs_no_timer() -> None:
    async with supervised(watchdog=None) as scene:
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        assert scene.schedule.waiting("watchdog") is None


async def test_a_reload_is_told_from_its_begin_to_its_end_also_a_bad_one() -> None:
    async with supervised(watchdog=None) as scene:
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        del scene.heard[:]

        def bad() -> None:
            with scene.supervision.reloading():
                raise ValueError("a bad configuration")

        with pytest.raises(ValueError, match="bad"):
            bad()
        begun, done = scene.heard
        assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
        told = int(begun.splitlines()[1].partition("=")[2]) / 1e6
        assert told == pytest.approx(monotonic(), abs=PATIENCE)
        assert done == "READY=1\nSTATUS=all well"


async def test_at_the_end_no_more_signs() -> None:
    async with supervised() as scene:
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        await until(lambda: scene.signs() >= 1)
        scene.supervision.stopping()
        heard = list(scene.heard)
        assert heard[-1].startswith("STOPPING=1\n")
        assert scene.schedule.waiting("watchdog") is None
        scene.supervision.sampled()  # the last sample, while it drains
        with scene.supervision.reloading():
            pass
        assert scene.heard == heard


async def test_a_changed_status_line_is_told_at_once_and_many_changes_once() -> None:
    async with supervised(watchdog=None) as scene:
        scene.supervision.changed()
        await asyncio.sleep(0)
        assert (scene.heard, scene.summaries) == ([], 0)  # it is not ready
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        scene.summary = "degraded"
        for _ in range(1000):
            scene.supervision.changed()
        await until(lambda: scene.heard[1:] == ["STATUS=degraded"])
        scene.summary = "well again"
        for _ in range(1000):
            scene.supervision.changed()
            await asyncio.sleep(0)
        await until(lambda: scene.heard[2:] == ["STATUS=well again"])
        assert scene.summaries <= 6
        assert scene.schedule.waiting("status.line.due") is None
        scene.supervision.changed()  # nothing is told twice
        await until(lambda: scene.schedule.waiting("status.line") is None)
        assert len(scene.heard) == 3


async def test_what_time_alone_changes_is_told_when_it_is_due() -> None:
    async with supervised(watchdog=None) as scene:
        scene.store.system = SAMPLE
        scene.summary_until = monotonic() + 0.1
        scene.supervision.sampled()
        assert scene.schedule.waiting("status.line.due") is not None
        scene.summary, scene.summary_until = "over", math.inf
        await until(lambda: scene.heard[1:] == ["STATUS=over"])
        assert scene.schedule.waiting("status.line.due") is None
        scene.supervision.stopping()
        scene.summary = "late"
        scene.supervision.changed()
        await asyncio.sleep(0)
        assert scene.heard[-1].startswith("STOPPING=1")


async def test_without_a_service_manager_no_status_line_is_made() -> None:
    async with supervised(watchdog=None, manager=False) as scene:
        scene.store.system = SAMPLE
        scene.supervision.sampled()
        before = scene.summaries
        scene.supervision.changed()
        await asyncio.sleep(0)
        assert (scene.summaries, scene.schedule.waiting("status.line.due")) == (before, None)
