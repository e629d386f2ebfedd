"""Run the intake of sources in simulated time: a clock that only a test moves, and jobs that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coordd.agents.judging import Limits
from coordd.agents.key import AgentKey
from coordd.agents.remembered import RememberedAgent
from coordd.agents.store import AgentStore
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.source import Stores
from coordd.intake.sources import Intake
from coordd.intake.tasks import TaskIntake
from coordd.intake.trace_log import TraceLog
from coordd.model import AgentSample
from coordd.sources.base import SourceFinder
from coordd.tasks.board import Board

START = 1_795_262_400.0
"""The wall clock when the simulation begins: 2026-11-21T12:00:00Z."""


class Clock:
    """Both clocks, to stand in for ``time`` and ``monotonic`` in coordd.runtime.schedule."""

    def __init__(self) -> None:
        self.mono = 10_000.0

    def monotonic(self) -> float:
        return self.mono

    def time(self) -> float:
        return round(START + self.mono - 10_000.0, 6)


@dataclass
class _Job:
    due: float
    number: int
    job: Callable[[], Awaitable[None]]
    interval: float | None


class Jobs:
    """A schedule whose jobs run when simulated time passes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._number = 0
        self._running: set[asyncio.Future[None]] = set()

    def once(self, name: str, delay: float, job: Callable[[], Awaitable[None]], **_: Any) -> None:
        self._set(name, delay, job, None)

    def every(
        self,
        name: str,
        seconds: float,
        job: Callable[[], Awaitable[None]],
        *,
        first: float | None = None,
        **_: Any,
    ) -> None:
        self._set(name, seconds if first is None else first, job, seconds)

    def waiting(self, name: str) -> float | None:
        job = self._jobs.get(name)
        return None if job is None else job.due

    def cancel(self, name: str) -> None:
        self._jobs.pop(name, None)

    def _set(
        self, name: str, delay: float, job: Callable[[], Awaitable[None]], interval: float | None
    ) -> None:
        self._number += 1
        self._jobs[name] = _Job(self._clock.mono + delay, self._number, job, interval)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass: run each job when it is due, and let what it starts come to rest."""
        end = self._clock.mono + seconds
        await self.rest()
        while due := [name for name, job in self._jobs.items() if job.due <= end]:
            name = min(due, key=lambda name: (self._jobs[name].due, self._jobs[name].number))
            job = self._jobs.pop(name)
            self._clock.mono = max(self._clock.mono, job.due)
            if job.interval is not None:
                self._set(name, job.interval, job.job, job.interval)
            running = asyncio.ensure_future(job.job())
            await self.rest()
            running.result()  # a job that fails, fails the test
        self._clock.mono = max(self._clock.mono, end)

    async def rest(self) -> None:
        """Return when nothing runs any more but waits for its time."""
        for _ in range(100_000):
            if asyncio.all_tasks() == {asyncio.current_task()}:
                return
            await asyncio.sleep(0)
        raise AssertionError("it never comes to rest")


class Records:
    """A recorder that keeps what it writes, in batches: the events and the samples of one step."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[tuple[str, str, str | None]], list[AgentSample]]] = []
        self._events: list[tuple[str, str, str | None]] = []

    async def record(self, *, agent: Sequence[AgentSample] = ()) -> None:
        events, self._events = self._events, []
        self.batches.append((events, list(agent)))
        for _ in range(3):
            await asyncio.sleep(0)

    def event(
        self, kind: str, subject: str, _message: str, detail: Mapping[str, object] | None = None
    ) -> None:
        workspace = (detail or {}).get("workspace")
        self._events.append((kind, subject, workspace if isinstance(workspace, str) else None))

    @property
    def samples(self) -> list[AgentSample]:
        return [sample for _, samples in self.batches for sample in samples]


class OnTime:
    """A loop monitor that finds no gaps."""

    def horizon(self, mono: float) -> float:
        return mono


class Coordd:
    """The part of the daemon between sources and records, over one clock."""

    def __init__(
        self,
        *,
        clock: Clock,
        records: Records,
        finders: Sequence[SourceFinder],
        timeout: float,
        forget_after: float,
    ) -> None:
        monitor: Any = OnTime()
        recorder: Any = records
        self._clock = clock
        self.jobs = Jobs(clock)
        schedule: Any = self.jobs
        self.store = AgentStore(
            limits=Limits(timeout=timeout, forget_after=forget_after), loop_monitor=monitor
        )
        board = Board(store=self.store)
        agents = AgentIntake(store=self.store, recorder=recorder, host="h")
        tasks = TaskIntake(board=board, recorder=recorder, schedule=schedule)
        self.deadline_timer = DeadlineTimer(store=self.store, schedule=schedule, agents=agents, tasks=tasks)
        self.store.on_change = board.touched
        self.intake = Intake(
            finders=finders,
            stores=Stores(
                store=self.store,
                schedule=schedule,
                agents=agents,
                tasks=tasks,
                deadline_timer=self.deadline_timer,
                trace_log=TraceLog(),
            ),
        )

    async def start(self, remembered: Sequence[RememberedAgent] = ()) -> None:
        await self.intake.start(remembered)
        await self.jobs.rest()
        self.deadline_timer.start()

    async def stop(self) -> None:
        await self.intake.stop()
        self.deadline_timer.stop()
        await self.jobs.rest()

    def shown(self) -> dict[AgentKey, tuple[str, tuple[str, ...], int | None]]:
        """Return status, sources and active tasks of each agent that is shown."""
        return {
            one.agent.key: (one.verdict.status, one.agent.sources, one.agent.active_tasks)
            for one in self.store.shown(self._clock.mono)
        }
