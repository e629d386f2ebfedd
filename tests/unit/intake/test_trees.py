"""Test for three hours what an agent with one long call is said to do, and the shares of a processor.

Simulated are the clocks and the processes; sources, store, deadlines and records are the daemon's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import pytest
from simulated import Clock, Coordd, Records

from coordd.agents.key import AgentKey
from coordd.agents.session import OpenCall, Session, Turn
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse
from coordd.intake.trees import TreeSampling
from coordd.runtime.worker import DeadlineMissed
from coordd.sources.base import OneSource
from coordd.sources.fake import FakeSource

HOUR = 3600.0
TICKS = 100
AGENT, NESTED = AgentKey("/a", "x"), AgentKey("/a", "nested")

Used = Callable[[float], float]
"""The processor seconds that a process has used, by its age in seconds."""


def steady(percent: float) -> Used:
    return lambda age: percent / 100 * age


class SteppedClock(Clock):
    """Clocks of which the wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0.0

    def time(self) -> float:
        return super().time() + self.step


class Scene:
    """A machine, coordd, and agents whose sessions a test writes."""

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock
        self.records = Records()
        self.source = FakeSource(SourceName("sessions", "/h"), workspace="/a")
        self.coordd = Coordd(
            clock=clock,
            records=self.records,
            finders=(OneSource(self.source),),
            timeout=120.0,
            forget_after=86_400.0,
        )
        self.hangs = False
        self.passes = 0
        schedule: Any = self.coordd.jobs
        worker: Any = self
        self.trees = TreeSampling(
            store=self.coordd.store,
            uses=self._uses,
            start_at=lambda wall: round((wall - clock.time() + clock.mono) * TICKS),
            worker=worker,
            asking=worker,
            ask=lambda _process: {},
            schedule=schedule,
        )
        self._processes: dict[int, tuple[ProcessUse, Used]] = {}

    async def run(self, call: Callable[..., Any], *about: object, deadline: float) -> Any:
        """Stand in for the worker."""
        if self.hangs:
            raise DeadlineMissed("it hangs", asyncio.get_running_loop().create_future())
        self.passes += 1
        return call(*about)

    def process(self, pid: int, parent: int, used: Used) -> Process:
        start = int(self.clock.mono * TICKS)
        self._processes[pid] = ProcessUse(pid, start, parent, 0.0, 1_000_000), used
        return Process(pid, start)

    def end(self, pid: int) -> None:
        del self._processes[pid]

    def works(self, key: AgentKey, process: Process, *, call: bool = True) -> None:
        """Write that the agent is in a turn, and has a call open."""
        wall = self.clock.time()
        calls = (OpenCall("Bash", wall),) if call else ()
        self._write(key, process, "working", Turn(open=True, since=wall, last=wall, calls=calls))

    def idles(self, key: AgentKey, process: Process) -> None:
        wall = self.clock.time()
        self._write(key, process, "idle", Turn(open=False, since=wall, last=wall))

    def activity(self, key: AgentKey = AGENT) -> str | None:
        shown = self.coordd.store.shown(self.clock.mono, wall=self.clock.time())
        return next(one.doing.activity for one in shown if one.agent.key == key)

    def share(self, key: AgentKey) -> float | None:
        shown = self.coordd.store.shown(self.clock.mono)
        tree = next(one.tree for one in shown if one.agent.key == key)
        return None if tree is None else tree.cpu_percent

    def recorded(self, key: AgentKey = AGENT) -> list[str | None]:
        """Return the activities in the records, one after the other."""
        told = [one.activity for one in self.records.samples if one.agent_id == key.agent_id]
        return [activity for activity, _ in groupby(told)]

    async def minutes(self, number: int) -> list[str | None]:
        """Let time pass, with a sample each minute; return what was shown after each."""
        shown = []
        for _ in range(number):
            await self.coordd.jobs.pass_time(60.0)
            await self.trees.sample()
            self.coordd.deadline_timer.update()
            await self.coordd.jobs.rest()
            shown.append(self.activity())
        return shown

    async def until_call(self) -> Process:
        """Start the agent, which idles at 12 % with a helper at 5 %, and an hour later its call."""
        program = self.process(100, 1, steady(12))
        self.process(101, 100, steady(5))
        self.idles(AGENT, program)
        await self.minutes(60)
        self.works(AGENT, program)
        return program

    def _uses(self) -> Iterator[ProcessUse]:
        for use, used in self._processes.values():
            cpu = used(self.clock.mono - use.start / TICKS)
            yield ProcessUse(use.pid, use.start, use.parent, cpu, use.rss)

    def _write(self, key: AgentKey, process: Process, declared: Any, turn: Turn) -> None:
        session = Session(
            "claude-code",
            key.agent_id,
            process,
            declared=declared,
            declared_at=self.clock.time(),
            turn=turn,
        )
        self.source.put(AgentTraces(key.agent_id, session=session))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    clock = SteppedClock()
    monkeypatch.setattr("coordd.runtime.schedule.monotonic", clock.monotonic)
    monkeypatch.setattr("coordd.runtime.schedule.time", clock.time)
    return clock


@asynccontextmanager
async def running(clock: SteppedClock) -> AsyncIterator[Scene]:
    scene = Scene(clock)
    await scene.coordd.start()
    yield scene
    await scene.coordd.stop()


def after_two_hours(shown: list[str | None]) -> list[str | None]:
    """Return what was shown once, in order, for a call of three hours; it works for the first two surely."""
    assert set(shown[:119]) == {"working"}
    return [activity for activity, _ in groupby(shown[121:])]


def by_turns(age: float) -> float:
    """Return what a shell has used that waits for a process a minute, each of which uses half a second."""
    return 0.5 * (age // 60)


HUNG = {
    "a process that does nothing": steady(0),
    "a process that looks for something now and then": steady(0.1),
    "a process that has worked in the first hour": lambda age: min(0.5 * age, 1800.0),
}
BUSY = {
    "a process that computes": steady(90),
    "a process that computes a little": steady(0.2),
    "a shell that has small things done": by_turns,
    "a process that computes each ten minutes": lambda age: 2.0 * (age // 600),
}


@pytest.mark.parametrize("used", HUNG.values(), ids=HUNG)
async def test_a_call_whose_processes_do_nothing_stalls_while_the_program_itself_uses_cpu(
    clock: SteppedClock, used: Used
) -> None:
    async with running(clock) as scene:
        await scene.until_call()
        scene.process(102, 100, used)
        assert after_two_hours(await scene.minutes(180)) == ["stalled"]
        assert scene.recorded() == ["idle", "working", "stalled"]


@pytest.mark.parametrize("used", BUSY.values(), ids=BUSY)
async def test_a_call_whose_processes_use_cpu_works(clock: SteppedClock, used: Used) -> None:
    async with running(clock) as scene:
        await scene.until_call()
        scene.process(102, 100, used)
        assert after_two_hours(await scene.minutes(180)) == ["working"]
        assert scene.recorded() == ["idle", "working"]
        scene._processes[102] = scene._processes[102][0], lambda age: used(3 * HOUR)  # it hangs from here on
        assert after_two_hours(["working"] * 121 + await scene.minutes(60)) == ["working", "stalled"]


async def test_what_starts_ends_and_is_waited_for_by_the_program_is_no_work_of_the_call(
    clock: SteppedClock,
) -> None:
    """The program has small processes of its own: a status line, a look at the repository."""
    async with running(clock) as scene:
        await scene.until_call()
        scene.process(102, 100, steady(0))
        shown = []
        for number in range(180):
            scene.process(1000 + number, 100, lambda age: min(age, 0.4))
            shown += await scene.minutes(1)
            scene.end(1000 + number)
        assert after_two_hours(shown) == ["stalled"]


@pytest.mark.parametrize(("nested_works", "expected"), [(False, "stalled"), (True, "working")])
async def test_an_agent_below_the_call_counts_by_what_it_does_itself(
    clock: SteppedClock, *, nested_works: bool, expected: str
) -> None:
    async with running(clock) as scene:
        await scene.until_call()
        scene.process(102, 100, steady(0))
        clock.mono += 0.1
        nested = scene.process(103, 102, steady(12))
        if nested_works:
            scene.works(NESTED, nested)
            scene.process(104, 103, steady(50))
        else:
            scene.idles(NESTED, nested)
        assert after_two_hours(await scene.minutes(180)) == [expected]
        assert scene.activity(NESTED) == ("working" if nested_works else "idle")


@pytest.mark.parametrize("step", [-HOUR, HOUR])
@pytest.mark.parametrize(("percent", "expected"), [(0.0, "stalled"), (50.0, "working")])
async def test_a_wall_clock_that_is_set_moves_no_process_into_or_out_of_the_call(
    clock: SteppedClock, step: float, percent: float, expected: str
) -> None:
    async with running(clock) as scene:
        await scene.until_call()
        scene.process(102, 100, steady(percent))
        shown = await scene.minutes(30)
        clock.step = step
        assert after_two_hours(shown + await scene.minutes(150)) == [expected]


async def test_processes_that_cannot_be_measured_any_more_tell_nothing(clock: SteppedClock) -> None:
    async with running(clock) as scene:
        await scene.until_call()
        scene.process(102, 100, steady(50))
        shown = await scene.minutes(150)
        scene.hangs = True
        shown += await scene.minutes(30)
        assert after_two_hours(shown) == ["working", "unknown"]
        scene.hangs = False
        await scene.minutes(3)
        assert scene.activity() == "working"


async def test_time_in_which_coordd_did_not_run_is_no_time_in_which_nothing_was_done(
    clock: SteppedClock,
) -> None:
    """A machine that is paused for an hour, in the third hour of a call that uses CPU each ten minutes."""
    async with running(clock) as scene:
        await scene.until_call()
        worked = {"for": 0.0}
        scene.process(102, 100, lambda _: 2.0 * (worked["for"] // 600))
        for _ in range(180):
            worked["for"] += 60
            await scene.minutes(1)
        clock.mono += HOUR
        scene.source.state.clock.skip(HOUR)
        scene.trees.skip(HOUR)
        for _ in range(20):
            worked["for"] += 60
            assert await scene.minutes(1) == ["working"]


async def test_agents_that_appear_leave_the_shares_of_all_others(clock: SteppedClock) -> None:
    async with running(clock) as scene:
        busy = scene.process(100, 1, steady(20))
        idle, idle_key = scene.process(200, 1, steady(1)), AgentKey("/a", "idle")
        scene.works(AGENT, busy)
        scene.idles(idle_key, idle)
        await scene.minutes(3)
        assert (scene.share(AGENT), scene.share(idle_key)) == (20.0, 1.0)
        for number in range(10):
            key = AgentKey("/a", f"new{number}")
            scene.idles(key, scene.process(300 + number, 1, steady(1)))
            await scene.coordd.jobs.pass_time(10.0)
            scene.trees.appeared(next(one for one in scene.coordd.store.named(key.agent_id)))
            await scene.coordd.jobs.pass_time(10.0)
            assert (scene.share(AGENT), scene.share(idle_key)) == (20.0, 1.0)
            await scene.minutes(1)
            assert (scene.share(AGENT), scene.share(idle_key)) == (20.0, 1.0)
        assert scene.share(AgentKey("/a", "new0")) == 1.0


async def test_what_idles_is_measured_each_five_minutes_once_its_share_is_known(clock: SteppedClock) -> None:
    async with running(clock) as scene:
        scene.idles(AGENT, scene.process(100, 1, steady(1)))
        await scene.minutes(3)
        assert scene.share(AGENT) == 1.0
        passes = scene.passes
        await scene.minutes(50)
        assert scene.passes == passes + 10
