"""Test that many reasons to read everything cause few full readings, and that the last one is served."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from time import monotonic, time
from typing import Any

import pytest

from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentsChange, AgentTraces, Claim, Heartbeat, WorkChange, SourceTraces
from coordd.agents.workspace import Workspace
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.files import FULL_READ_PAUSE, FileIntake, WorkspaceSource
from coordd.intake.source import TraceLog
from coordd.intake.tasks import TaskIntake
from coordd.runtime.clocks import LoopMonitor, ObservedClock
from coordd.runtime.schedule import TICK, Schedule, now
from coordd.runtime.worker import Worker
from coordd.sinks.recorder import Recorder
from coordd.sources.file.backend import FoundWorkspace
from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.watch import Followed
from coordd.tasks.board import Board


class Reader:
    """Count full and partial readings."""

    def __init__(self) -> None:
        self.scans = 0
        self.agents: dict[str, AgentTraces] = {}
        self.reads: list[Collection[Hint]] = []

    def scan(self, _now: float) -> SourceTraces:
        self.scans += 1
        return SourceTraces("/w", "read", agents=self.agents)

    def read(self, hints: Collection[Hint]) -> AgentsChange:
        self.reads.append(hints)
        return AgentsChange("/w", {}, work=WorkChange({"t": Claim("t", "a")}))


class Backend:
    entries = ("/w",)

    def __init__(self) -> None:
        self.one = Reader()
        self.found = [FoundWorkspace("/w", from_glob=False, remote=False)]

    def find(self) -> list[FoundWorkspace]:
        return self.found

    def reader(self, _path: str) -> Reader:
        return self.one

    def follow(self, _path: str) -> Followed:
        return Followed("inotify")

    def unfollow(self, _path: str) -> None:
        return


def intake_over(
    backend: Any, *, store: AgentStore, board: Board, recorder: Any, schedule: Schedule, worker: Worker
) -> FileIntake:
    """Return a file intake with everything behind it."""
    agents = AgentIntake(store=store, recorder=recorder, host="h", forget_after=86400)
    tasks = TaskIntake(board=board, recorder=recorder, schedule=schedule)
    return FileIntake(
        store=store,
        backend=backend,
        schedule=schedule,
        local=worker,
        remote=worker,
        agents=agents,
        tasks=tasks,
        deadline_timer=DeadlineTimer(store=store, schedule=schedule, agents=agents, tasks=tasks),
        trace_log=TraceLog(),
    )


async def storm() -> tuple[Reader, float, int]:
    loop_monitor = LoopMonitor(interval=TICK, mono=monotonic())
    schedule = Schedule(loop_monitor=loop_monitor, on_step=lambda _: None, on_gap=lambda _: None)
    store = AgentStore(timeout=120, loop_monitor=loop_monitor)
    board = Board(store=store, stall_after=900)
    writer, syncer, traces = Worker("w"), Worker("s"), Worker("t", replaceable=True)
    recorder = Recorder(sinks=(), writer=writer, syncer=syncer, schedule=schedule, host="h", fsync_interval=1)
    backend: Any = Backend()
    intake = intake_over(
        backend, store=store, board=board, recorder=recorder, schedule=schedule, worker=traces
    )
    schedule.start()
    await intake.start([])
    began = monotonic()
    while monotonic() < began + 2:
        intake.hint("/w", Signal.RESCAN)
        intake.hint("/w", WorkFile("claims", "t.claim"))
        await asyncio.sleep(0.01)
    at_the_end = backend.one.scans
    elapsed = monotonic() - began
    intake.hint("/w", Signal.RESCAN)
    while backend.one.scans == at_the_end and monotonic() < began + 15:  # noqa: ASYNC110  # a count has no event
        await asyncio.sleep(0.01)
    await intake.stop()
    schedule.stop()
    for worker in (writer, syncer, traces):
        worker.close()
    return backend.one, elapsed, at_the_end


def test_a_storm_costs_two_full_readings_a_second_and_its_end_is_seen() -> None:
    reader, elapsed, during = asyncio.run(storm())
    assert 2 <= during <= 2 + elapsed / FULL_READ_PAUSE[0]
    assert reader.scans > during
    assert reader.reads, "what else was hinted is read meanwhile"
    assert all(Signal.RESCAN not in hints for hints in reader.reads)


def test_what_is_read_before_a_stall_is_noticed_is_not_dated_into_the_future() -> None:
    """Otherwise the agent would fall silent too late, by the length of the stall."""
    loop_monitor = LoopMonitor(interval=TICK, mono=monotonic() - 100)
    schedule = Schedule(loop_monitor=loop_monitor, on_step=lambda _: None, on_gap=lambda _: None)
    store = AgentStore(timeout=120, loop_monitor=loop_monitor)
    worker = Worker("w")
    recorder = Recorder(sinks=(), writer=worker, syncer=worker, schedule=schedule, host="h", fsync_interval=1)
    backend: Any = Backend()
    intake = intake_over(
        backend,
        store=store,
        board=Board(store=store, stall_after=900),
        recorder=recorder,
        schedule=schedule,
        worker=worker,
    )
    clock = ObservedClock()
    source = WorkspaceSource(
        reader=backend.reader("/w"), workspace=Workspace(path="/w", clock=clock), worker=worker
    )
    reading = intake._reading(source, pushed=True)
    now = monotonic()
    clock.skip(loop_monitor.tick(now))
    assert reading.observed <= clock.now(now)


def test_questions_during_and_after_the_drop_of_a_workspace_are_answered() -> None:
    async def run() -> None:
        loop_monitor = LoopMonitor(interval=TICK, mono=monotonic())
        schedule = Schedule(loop_monitor=loop_monitor, on_step=lambda _: None, on_gap=lambda _: None)
        store = AgentStore(timeout=120, loop_monitor=loop_monitor)
        board = Board(store=store, stall_after=900)
        store.on_change = board.touched
        recorder: Any = AskingRecorder(board, store)
        backend: Any = Backend()
        backend.one.agents = {"x": AgentTraces("x", heartbeat=Heartbeat(time(), time(), (1,)), tasks=("t",))}
        traces = Worker("t", replaceable=True)
        intake = intake_over(
            backend, store=store, board=board, recorder=recorder, schedule=schedule, worker=traces
        )
        schedule.start()
        await intake.start([])
        assert len(store) == 1
        backend.entries, backend.found = (), []
        await intake.rescan()
        board.rejudge_all()
        board.settle(now())
        assert (len(store), list(board.source_tasks)) == (0, [])
        await intake.stop()
        schedule.stop()
        traces.close()

    asyncio.run(run())


class AskingRecorder:
    """A recorder that asks for everything while it writes."""

    def __init__(self, board: Board, store: AgentStore) -> None:
        self._board = board
        self._store = store

    async def record(self, **_: Any) -> None:
        for one in self._store.shown(monotonic()):
            self._board.touched(one.agent.key)  # its deadline passed
        self._board.counts(now())

    def event(self, *_: Any) -> None: ...


def test_names_made_faster_than_they_are_read_are_one_full_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordd.intake.files.MAX_HINTS", 10)
    monkeypatch.setattr("coordd.intake.files.FileIntake._await_batch", lambda _self, _source: None)
    loop_monitor = LoopMonitor(interval=TICK, mono=monotonic())
    schedule = Schedule(loop_monitor=loop_monitor, on_step=lambda _: None, on_gap=lambda _: None)
    store = AgentStore(timeout=120, loop_monitor=loop_monitor)
    backend: Any = Backend()
    worker = Worker("w")
    intake = intake_over(
        backend,
        store=store,
        board=Board(store=store, stall_after=900),
        recorder=None,
        schedule=schedule,
        worker=worker,
    )
    shown = Workspace(path="/w", clock=ObservedClock())
    source = intake._sources["/w"] = WorkspaceSource(
        reader=backend.reader("/w"), workspace=shown, worker=worker
    )
    for number in range(1000):
        intake.hint("/w", f"{number}.heartbeat")
        assert len(source.hints) <= 10
    assert Signal.RESCAN in source.hints
