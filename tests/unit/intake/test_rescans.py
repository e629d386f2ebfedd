"""Test that many reasons to read everything cause few full readings, and that the last one is served."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from ticking import tick
from waiting import until

from coordd.agents.judging import Limits
from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentsChange, AgentTraces, Claim, Heartbeat, SourceTraces, WorkChange
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.source import SourceIntake, Stores
from coordd.intake.sources import Intake
from coordd.intake.tasks import TaskIntake
from coordd.intake.trace_log import TraceLog
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.pace import PAUSE
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import Worker
from coordd.sources.base import RESCAN, UNREADABLE
from coordd.sources.file.backend import FileBackend, FoundWorkspace
from coordd.sources.file.finder import FileFinder
from coordd.sources.file.found import ResolvedWorkspace
from coordd.sources.file.ground import Ground
from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.watch import Followed
from coordd.tasks.board import Board


class Reader:
    moved = False

    """Count full and partial readings."""

    def __init__(self) -> None:
        self.scans = 0
        self.gone = False
        self.waits: threading.Event | None = None
        self.agents: dict[str, AgentTraces] = {}
        self.reads: list[Collection[Hint]] = []

    def scan(self, _now: float) -> SourceTraces:
        self.scans += 1
        if self.waits is not None:
            self.waits.wait(20)
        if self.gone:
            return SourceTraces("/w", "unreadable", "it was removed", gone=True)
        return SourceTraces("/w", "read", agents=self.agents)

    def read(self, hints: Collection[Hint]) -> AgentsChange:
        self.reads.append(hints)
        return AgentsChange("/w", {}, work=WorkChange({"t": Claim("t", "a")}))


def found_workspace(*, explicit: bool = True) -> FoundWorkspace:
    one = ResolvedWorkspace("/w", "/w/.claude/coordination", (), "/w", explicit=explicit, project="/w")
    return FoundWorkspace(one, remote=False, entry="/w")


class Backend:
    entries: tuple[str, ...] = ("/w",)
    watched = True

    def __init__(self) -> None:
        self.one = Reader()
        self.found = [found_workspace()]
        self.guests: tuple[str, ...] = ()

    def find(self, _ground: Ground | None = None, _former: object = None) -> list[FoundWorkspace]:
        return self.found

    def reader(self, _found: ResolvedWorkspace) -> Reader:
        return self.one

    def follow(self, _path: str, _folder: str | None = None) -> Followed:
        return Followed("inotify")

    def unfollow(self, _path: str) -> None:
        return

    def start(self, _on_hint: object, _on_search: object, _on_maybe_link: object) -> None:
        return

    def close(self) -> None:
        return


class Records:
    """A recorder that asks for everything while it writes."""

    def __init__(self, board: Board, store: AgentStore) -> None:
        self._board = board
        self._store = store
        self.recorded: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def record(self, *, agent: Collection[Any] = (), **_: Any) -> None:
        await self.gate.wait()
        self.recorded += [one.agent_id for one in agent]
        for one in self._store.shown(monotonic()):
            self._board.touched(one.agent.key)  # its deadline passed
        self._board.counts(now())

    def event(self, *_: Any) -> None: ...


class Scene:
    """The intake of files with everything behind it, over a backend that the test sets or gives."""

    def __init__(self, *, files: FileBackend | None = None) -> None:
        self.loop_monitor = LoopMonitor()
        self.schedule = Schedule(
            loop_monitor=self.loop_monitor, on_step=lambda _: None, on_gap=lambda _: None
        )
        self.store = AgentStore(limits=Limits(timeout=120), loop_monitor=self.loop_monitor)
        self.board = Board(store=self.store)
        self.store.on_change = self.board.touched
        self.backend, self.worker = Backend(), Worker("t", replaceable=True)
        backend: Any = files or self.backend
        self.records = Records(self.board, self.store)
        recorder: Any = self.records
        agents = AgentIntake(store=self.store, recorder=recorder, host="h")
        tasks = TaskIntake(board=self.board, recorder=recorder, schedule=self.schedule)
        self.finder = FileFinder(backend=backend, local=self.worker, remote=self.worker)
        self.intake = Intake(
            finders=(self.finder,),
            stores=Stores(
                store=self.store,
                schedule=self.schedule,
                agents=agents,
                tasks=tasks,
                deadline_timer=DeadlineTimer(
                    store=self.store, schedule=self.schedule, agents=agents, tasks=tasks
                ),
                trace_log=TraceLog(),
            ),
        )

    async def start(self) -> None:
        await self.intake.start([])
        await self.intake.first_readings()

    def hint(self, hint: Hint) -> None:
        self.finder.hint("/w", hint)

    def source(self) -> SourceIntake:
        (source,) = self.intake._sources.values()
        return source


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    scene.schedule.start()
    yield scene
    await scene.intake.stop()
    scene.schedule.stop()
    scene.worker.close()


async def test_a_storm_costs_two_full_readings_a_second_and_its_end_is_seen(scene: Scene) -> None:
    await scene.start()
    reader, began = scene.backend.one, monotonic()
    while monotonic() < began + 2:
        scene.hint(Signal.RESCAN)
        scene.hint(WorkFile("claims", "t.claim"))
        await asyncio.sleep(0.01)
    during, elapsed = reader.scans, monotonic() - began
    scene.hint(Signal.RESCAN)
    assert 2 <= during <= 2 + elapsed / PAUSE[0]
    await until(lambda: reader.scans > during)
    assert reader.reads, "what else was hinted is read meanwhile"
    assert all(Signal.RESCAN not in hints for hints in reader.reads)


async def test_what_is_read_before_a_stall_is_noticed_is_not_dated_into_the_future(scene: Scene) -> None:
    """Otherwise the agent would fall silent too late, by the length of the stall."""
    await scene.start()
    scene.loop_monitor.expect(monotonic() - 100, monotonic() - 100)
    source = scene.source()
    reading = source._reading(pushed=True, fresh=False)
    now = monotonic()
    source.state.clock.skip(tick(scene.loop_monitor, now))
    assert reading.observed <= source.state.clock.now(now)


async def test_questions_during_and_after_the_drop_of_a_workspace_are_answered(scene: Scene) -> None:
    backend = scene.backend
    backend.one.agents = {"x": AgentTraces("x", heartbeat=Heartbeat(time(), time(), (1,)), tasks=("t",))}
    await scene.start()
    assert len(scene.store) == 1
    assert scene.store.get(AgentKey("/w", "x")) is not None
    backend.entries, backend.found = (), []
    await scene.intake.find()
    scene.board.rejudge_all()
    scene.board.settle(now())
    assert (len(scene.store), list(scene.board.source_tasks)) == (0, [])
    assert (scene.store.sources, scene.store.workspaces) == ({}, {})


async def test_names_made_faster_than_they_are_read_are_one_full_reading(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordd.intake.pending.MAX_PENDING", 10)
    await scene.start()
    scans = scene.backend.one.scans
    pending = scene.source()._pending
    for number in range(1000):
        scene.hint(f"{number}.heartbeat")
        assert len(pending._hints) <= 10
    assert pending.everything
    await until(lambda: scene.backend.one.scans == scans + 1)


async def test_a_workspace_found_by_a_pattern_leaves_with_its_project_and_comes_back(scene: Scene) -> None:
    backend, found = scene.backend, [found_workspace(explicit=False)]
    backend.found = found
    backend.one.agents = {"x": AgentTraces("x", heartbeat=Heartbeat(time(), time(), (1,)))}
    await scene.start()
    backend.found = []
    await scene.intake.find()
    assert len(scene.store) == 1, "its folder may only be away for a moment"
    backend.one.gone = True
    scene.hint(Signal.RESCAN)
    await until(lambda: not scene.store.sources)
    assert len(scene.store) == 0
    backend.found, backend.one.gone = found, False
    await scene.intake.find()
    await until(lambda: len(scene.store) == 1)


async def test_a_heartbeat_that_is_created_written_and_closed_is_one_record(tmp_path: Path) -> None:
    agents = tmp_path / ".claude/coordination/agents"
    agents.mkdir(parents=True)
    scene = Scene(files=FileBackend(entries=[str(tmp_path)]))
    scene.schedule.start()
    await scene.start()
    for number in range(20):
        with (agents / f"{number}.heartbeat").open("w") as file:
            file.write(f"{time():.3f}")
    await until(lambda: len(scene.store) == 20)
    (agents / "last.heartbeat").touch()
    await until(lambda: len(scene.store) == 21)
    assert sorted(scene.records.recorded) == sorted([*map(str, range(20)), "last"])
    await scene.intake.stop()
    scene.schedule.stop()
    scene.worker.close()


async def test_sources_are_looked_for_often_only_where_nothing_announces_them(scene: Scene) -> None:
    def due() -> float:
        at = scene.schedule.waiting("sources.find")
        assert at is not None
        return at - monotonic()

    await scene.start()
    assert UNREADABLE < due() <= RESCAN
    scene.backend.watched = False
    await scene.intake.find()
    assert due() <= UNREADABLE
    scene.backend.watched = True
    await scene.intake.find()
    assert UNREADABLE < due() <= RESCAN


async def test_a_search_that_fails_is_made_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.start()

    def fail(_ground: Ground | None = None, _former: object = None) -> list[FoundWorkspace]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(scene.backend, "find", fail)
    scene.schedule.cancel("sources.find")
    with pytest.raises(RuntimeError):
        await scene.intake.find()
    assert scene.schedule.waiting("sources.find") is not None


async def test_a_project_made_anew_while_the_one_before_is_being_removed_is_seen(scene: Scene) -> None:
    backend = scene.backend
    backend.found = [found_workspace(explicit=False)]
    backend.one.agents = {"x": AgentTraces("x", heartbeat=Heartbeat(time(), time(), (1,)))}
    await scene.start()
    first = scene.source()
    scene.records.gate.clear()  # the disk is slow
    backend.one.gone = True
    scene.hint(Signal.RESCAN)
    source: Any = first.source
    await until(lambda: source.stopped)
    backend.one.gone = False
    finding = asyncio.ensure_future(scene.intake.find())
    with suppress(AssertionError):  # a chance to be found too early, which is not to be taken
        await until(lambda: scene.finder._sources["/w"] is not source, within=0.5)
    scene.records.gate.set()
    await finding
    await until(lambda: scene.intake._sources and scene.source() is not first)
    await until(lambda: len(scene.store) == 1)
    assert list(scene.store.workspaces) == ["/w"]


async def test_a_source_that_ends_before_its_first_reading_keeps_nobody_waiting(scene: Scene) -> None:
    reading = threading.Event()
    scene.backend.one.waits = reading
    await scene.intake.start([])
    waiting = asyncio.ensure_future(scene.intake.first_readings())
    scene.backend.entries, scene.backend.found = (), []
    removing = asyncio.ensure_future(scene.intake.find())
    await until(waiting.done)
    reading.set()
    await removing
