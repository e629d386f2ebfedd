"""Run what stands between the sources and the records of the daemon, over simulated clocks and processes.

Everything here is the daemon's own, and put together as service/parts.py and service/daemon.py do. Simulated
are what the kernel tells, the threads, the files of heartbeats, and the writing of records.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordd.agents.join import Agent
from coordd.agents.judging import Limits
from coordd.agents.key import AgentKey
from coordd.agents.process import Here
from coordd.agents.samples import view_fields
from coordd.agents.shown import ShownAgent
from coordd.agents.source import SourceName
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces
from coordd.intake.agents import AgentIntake
from coordd.intake.announcing import Announcer
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.process_evidence import ProcessEvidence
from coordd.intake.processes import ProcessIntake
from coordd.intake.source import Stores
from coordd.intake.sources import Intake
from coordd.intake.tasks import TaskIntake
from coordd.intake.trace_log import TraceLog
from coordd.intake.trees import TreeSampling
from coordd.model import AgentSample, AgentView, AttentionEntry
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule, now
from coordd.sinks.restore import covered, restore
from coordd.sinks.snapshot_reader import LastSnapshot
from coordd.sources.base import OneSource
from coordd.sources.claude_code.sessions import HomeUnreadable
from coordd.sources.claude_code.source import ClaudeCodeSource
from coordd.sources.fake import FakeSource
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.work_tree import unresolved
from coordd.tasks.board import Board
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList
from coordd.util.timestamps import utc_date
from day.clock import Clock, Timers
from day.machine import EndWatch, FileWatch, Machine, Mailbox

HOST = "h"
SAMPLE_EVERY = 60.0
STALL = 2.0  # as in coordd/service/daemon.py
LIMITS = Limits(timeout=120.0)


class Inline:
    """A thread that answers at once."""

    async def run(self, call: Callable[..., Any], *about: object, deadline: float) -> Any:
        return call(*about)

    def close(self) -> None:
        """Do nothing."""


class WorkspaceSource(FakeSource):
    """The heartbeats of one workspace: a fake, whose changes are told as the kernel tells them."""

    def __init__(self, workspace: str, mail: Mailbox, agents: Mapping[str, AgentTraces]) -> None:
        super().__init__(SourceName("file", workspace), workspace=workspace)
        self.state.holds_tasks = True
        self.agents = dict(agents)
        self._mail = mail

    def _announce(self, agent_id: str) -> None:
        super_announce = super()._announce
        self._mail.post(lambda: super_announce(agent_id))


class HomeSource(ClaudeCodeSource):
    """The sessions of one home: the real source, over files; it can be made unreadable."""

    def __init__(self, path: str, *, watch: FileWatch, machine: Machine) -> None:
        worker: Any = Inline()
        watching: Any = watch
        places = Places(worker=worker, configured=lambda: (), resolve=lambda cwd, _: unresolved(cwd))
        super().__init__(
            path,
            named=True,
            worker=worker,
            places=places,
            watch=watching,
            look=machine.glance,
            wanted=lambda _place: True,
            remote=lambda _path: None,
        )
        sessions: Any = self._reader.sessions
        self._open = sessions._open

    def break_(self) -> None:
        """Let its ``sessions/`` be unreadable from now on."""

        def refuse() -> int:
            raise HomeUnreadable("permission denied")

        self._sessions._open = refuse

    def mend(self) -> None:
        """Let it be readable again; nothing tells coordd of that."""
        self._sessions._open = self._open

    @property
    def _sessions(self) -> Any:
        return self._reader.sessions


class Records:
    """A recorder that hands each sample on, and keeps in a file what was written since the last snapshot."""

    def __init__(self, directory: Path, tell: Callable[[AgentSample], None]) -> None:
        self._directory = directory
        self._tell = tell
        self._file: Any = None
        self.snapshot: LastSnapshot | None = None
        self.events = 0

    async def record(self, *, agent: Sequence[AgentSample] = ()) -> None:
        await asyncio.sleep(0)
        for sample in agent:
            self._tell(sample)
            if self._file is not None:
                self._file.write(msgspec.json.encode(sample) + b"\n")
        if self._file is not None:
            self._file.flush()

    def event(self, _kind: str, _subject: str, _message: str, _detail: object = None) -> None:
        self.events += 1

    def begin(self, snapshot: Sequence[bytes], forgotten: Sequence[Any], wall: float) -> None:
        """Note a snapshot, and keep what is written after it."""
        self.forget()
        self._file = (self._directory / f"agent_{utc_date(wall)}.jsonl").open("wb")
        self.snapshot = LastSnapshot(
            wall,
            [msgspec.Raw(one) for one in snapshot],
            self._covered(),
            msgspec.Raw(),
            forgotten=forgotten,
        )

    def forget(self) -> None:
        """Keep nothing."""
        if self._file is not None:
            self._file.close()
            os.unlink(self._file.name)
            self._file = None

    def remembered(self, wall: float) -> list[Any]:
        """Return what the next run knows of agents."""
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            return restore(self.snapshot, descriptor, now=wall, host=HOST)
        finally:
            os.close(descriptor)

    def _covered(self) -> dict[str, tuple[int, int]]:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            return covered(descriptor)
        finally:
            os.close(descriptor)


class Coordd:
    """One run of the daemon, from :meth:`start` to :meth:`stop` or :meth:`crash`."""

    def __init__(
        self,
        *,
        clock: Clock,
        machine: Machine,
        mail: Mailbox,
        records: Records,
        workspaces: Sequence[WorkspaceSource],
        home: HomeSource,
    ) -> None:
        self.home = home
        self.workspaces = {one.state.workspace: one for one in workspaces}
        self._clock = clock
        self._records = records
        recorder: Any = records
        inline: Any = Inline()
        monitor = LoopMonitor()
        self.timers = Timers(
            clock,
            lambda: Schedule(
                loop_monitor=monitor,
                on_step=lambda _seconds: self._intake.scan_soon(),
                on_gap=self._gap,
                on_sleep=lambda _seconds: self._slept(),
            ),
        )
        schedule = self._schedule = self.timers.schedule
        self.store = AgentStore(limits=LIMITS, loop_monitor=monitor)
        board = Board(store=self.store)
        self.needs = Needs(store=self.store, board=board, tasks=TaskList(board=board, store=self.store))
        agents = AgentIntake(store=self.store, recorder=recorder, host=HOST)
        self._announcer = Announcer(store=self.store, recorder=recorder, schedule=schedule, needs=self.needs)
        agents.on_doing = self._does
        self._agents = agents
        tasks = TaskIntake(board=board, recorder=recorder, schedule=schedule)
        self._deadline_timer = DeadlineTimer(store=self.store, schedule=schedule, agents=agents, tasks=tasks)

        def changed(key: AgentKey) -> None:
            board.touched(key)
            self._announcer.changed(key)

        self.store.on_change = changed
        self._intake = Intake(
            finders=[OneSource(one) for one in (*workspaces, home)],
            stores=Stores(
                store=self.store,
                schedule=schedule,
                agents=agents,
                tasks=tasks,
                deadline_timer=self._deadline_timer,
                trace_log=TraceLog(),
            ),
        )
        machine.watch = EndWatch(machine, mail)
        watch: Any = machine.watch
        self._processes = ProcessIntake(
            machine=machine,
            here=Here(frozenset({HOST}), own_pid=1),
            worker=inline,
            watch=watch,
            schedule=schedule,
        )
        self._evidence = ProcessEvidence(
            agents=agents,
            processes=self._processes,
            reread=self._intake.reread,
            sources=self.store.sources,
            boot=clock.time() - clock.uptime(),
            changed=self._deadline_timer.update,
        )
        self._trees = TreeSampling(
            store=self.store,
            uses=machine.uses,
            start_at=machine.start_at,
            worker=inline,
            asking=inline,
            ask=lambda _process: None,
            schedule=schedule,
        )

    async def start(self, remembered: Sequence[Any]) -> None:
        """Start, as the daemon does."""
        await self._intake.start(remembered)
        await self._intake.first_readings()
        await self._evidence.first_look()
        self._deadline_timer.start()
        self._announcer.start()
        self._schedule.start()
        self._schedule.every("host.sample", SAMPLE_EVERY, self._sample, first=0.2)

    async def stop(self) -> None:
        """End in order."""
        self._processes.stop()
        await self._intake.stop()
        self._deadline_timer.stop()
        self.write_snapshot()
        self._schedule.stop()

    def crash(self) -> None:
        """End as kill -9 does."""
        self._processes.stop()  # it tells nobody any more
        self._deadline_timer.stop()
        self._schedule.stop()
        self.home.stopped, self.home._listener = True, None
        for one in self.workspaces.values():
            one._listener = None

    def write_snapshot(self) -> None:
        """Write the snapshot."""
        wall = self._clock.time()
        shown = [msgspec.json.encode(self._view(one)) for one in self.shown()]
        self._records.begin(shown, self._agents.forgotten(wall), wall)

    def shown(self) -> list[ShownAgent]:
        """Return the agents as somebody who asks now is told."""
        return list(self.store.shown(self._clock.mono, wall=self._clock.time()))

    def attention(self) -> list[AttentionEntry]:
        """Return what needs a human now."""
        return self.needs.all_entries(now())

    def unreadable_since(self, source: str) -> float | None:
        """Return since when a source is shown as unreadable, None where it is not.

        ``source`` is "" for the home, else a workspace.
        """
        clock = (self.home if source == "" else self.workspaces[source]).state.clock
        mono = self._clock.mono
        return None if clock.readable else mono - (clock.now(mono) - clock.seen(mono))

    def _does(self, agent: Agent) -> None:
        self._announcer.doing(agent)
        self._trees.appeared(agent)

    def _view(self, shown: ShownAgent) -> AgentView:
        return AgentView(**view_fields(shown, wall=self._clock.time(), host=HOST))

    async def _sample(self) -> None:
        await self._processes.check()
        await self._trees.sample()
        self._deadline_timer.update()

    def _slept(self) -> None:
        self._intake.interrupted()
        self._intake.scan_soon()

    def _gap(self, seconds: float) -> None:
        self._trees.skip(seconds)
        if seconds < STALL:
            self._intake.skip(seconds)
        else:
            self._intake.gap(seconds)
