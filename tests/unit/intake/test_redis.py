"""Test the intake of Redis between two of its steps: lost connections, announcements while a job waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

import pytest
from waiting import until

from coordd.agents.judging import Limits
from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentsChange, AgentTraces, Claim, Heartbeat, Registration, SourceTraces
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.source import BATCH, SourceIntake, Stores
from coordd.intake.tasks import TaskIntake
from coordd.intake.trace_log import TraceLog
from coordd.model import AgentSample
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import RedisLost
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule, now
from coordd.sources.redis import change_listener
from coordd.sources.redis.source import RedisSource
from coordd.sources.redis.tracking import TrackingSubscription
from coordd.tasks.board import Board


class Records:
    """A recorder whose writer can be made slow."""

    def __init__(self) -> None:
        self.samples: list[AgentSample] = []
        self.events: list[tuple[str, str]] = []
        self.writing = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def record(self, *, agent: Any = ()) -> None:
        self.samples += agent
        self.writing.set()
        await asyncio.sleep(0)
        await self.gate.wait()

    def event(self, kind: str, subject: str, _message: str, _detail: object = None) -> None:
        self.events.append((kind, subject))


@dataclass
class Reader:
    """A reader of Redis whose content the test sets."""

    agents: dict[str, AgentTraces] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    due: float | None = None
    tracked: tuple[bytes, ...] = ()
    troubles: dict[str, str] = field(default_factory=dict)
    fails: Exception | None = None
    refuses: bool = False

    async def scan(self, _session: object, _wall: float) -> SourceTraces:
        if self.fails:
            raise self.fails
        return SourceTraces("", "read", agents=dict(self.agents), claims=dict(self.claims))

    async def read(self, _session: object, keys: Collection[bytes], _wall: float) -> AgentsChange:
        ids = [key.decode().partition(":")[2] for key in keys]
        return AgentsChange("", {one: self.agents.get(one) for one in ids})

    async def reread(self, _session: object, ids: Collection[str], _wall: float) -> AgentsChange:
        if self.refuses:
            return AgentsChange("", {}, rescan_needed=True)
        return AgentsChange("", {one: self.agents.get(one) for one in ids})


class Pushes:
    """A subscription that announces what the test puts in."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Collection[bytes] | None] = asyncio.Queue()

    async def changed(self) -> Collection[bytes] | None:
        return await self.changes.get()

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class Session:
    """A connection to a Redis that lets agents write."""

    async def call(self, *commands: object) -> list[bytes]:
        return [b"PONG", *[b""] * (len(commands) - 1)]


class Scene:
    """An intake of Redis with everything behind it, over a fake Redis."""

    def __init__(self) -> None:
        loop_monitor = LoopMonitor()
        self.schedule = Schedule(loop_monitor=loop_monitor, on_step=lambda _: None, on_gap=lambda _: None)
        self.store = AgentStore(limits=Limits(timeout=120), loop_monitor=loop_monitor)
        self.board = Board(store=self.store)
        self.store.on_change = self.board.touched
        self.records, self.reader, self.pushes = Records(), Reader(), Pushes()
        recorder: Any = self.records
        reader: Any = self.reader
        agents = AgentIntake(store=self.store, recorder=recorder, host="h")
        tasks = TaskIntake(board=self.board, recorder=recorder, schedule=self.schedule)
        self.deadline_timer = DeadlineTimer(
            store=self.store, schedule=self.schedule, agents=agents, tasks=tasks
        )
        self.lost: list[str] = []
        self.source = RedisSource(
            url="redis://localhost",
            reader=reader,
            broken=lambda lost: self.lost.append(str(lost)),
            flushed=lambda: None,
        )
        agents.add_source(self.source.state)
        self.intake = SourceIntake(
            self.source,
            Stores(
                store=self.store,
                schedule=self.schedule,
                agents=agents,
                tasks=tasks,
                deadline_timer=self.deadline_timer,
                trace_log=TraceLog(),
            ),
            drop=lambda _: None,
        )
        self.intake.start()

    def up(self, run_id: str | None = "1") -> None:
        session: Any = Session()
        self.intake.first.clear()
        self.source.up(session, RedisFacts(connected=True, run_id=run_id))

    def down(self, trouble: str = "is gone") -> None:
        self.source.down(trouble)

    def waiting(self, job: str) -> float | None:
        return self.schedule.waiting(f"redis:.{job}")

    def beats(self, agent: str, mark: object = 0, *, registered: bool = False) -> None:
        self.reader.agents[agent] = AgentTraces(
            agent,
            heartbeat=Heartbeat(time(), None, (mark,)),
            registration=Registration(status="idle") if registered else None,
        )

    def names(self) -> list[str]:
        return [one.agent.key.agent_id for one in self.store.shown(monotonic())]


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    scene = Scene()

    async def track(*_: object) -> TrackingSubscription:
        pushes: Any = scene.pushes
        return pushes  # type: ignore[no-any-return]  # it can do what a subscription can

    monkeypatch.setattr(change_listener, "track", track)
    scene.schedule.start()
    yield scene
    scene.records.gate.set()
    await scene.intake.stop()
    scene.schedule.stop()


async def test_what_is_being_recorded_when_redis_goes_is_shown_and_not_recorded_again(scene: Scene) -> None:
    scene.beats("x")
    scene.records.gate.clear()
    scene.up()
    await scene.records.writing.wait()
    scene.down("is gone")
    scene.records.gate.set()
    await until(lambda: scene.names() == ["x"])
    scene.up()
    await until(scene.intake.first.is_set)
    assert [one.agent_id for one in scene.records.samples] == ["x"]


async def test_a_reading_that_outlives_its_connection_does_not_count(scene: Scene) -> None:
    scene.beats("x")
    scene.reader.claims["t"] = Claim("t", "x")
    scene.up()
    await until(scene.intake.first.is_set)
    scene.deadline_timer.start()
    scene.beats("x", 2)
    scene.records.writing.clear()
    scene.records.gate.clear()
    scene.intake.scan_soon()
    await scene.records.writing.wait()
    scene.down("is gone")
    scene.records.gate.set()
    await until(lambda: len(scene.records.samples) == 2)
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert scene.board.counts(now()).claimed is None
    assert scene.store.workspaces[""].state == "unreadable"


async def test_a_push_is_not_kept_waiting_by_what_is_read_seldom(scene: Scene) -> None:
    scene.up()
    await until(lambda: scene.source.mode == "push")
    scene.reader.due = monotonic() + 600  # the registry is large, and was read just now
    scene.beats("a")
    await scene.pushes.changes.put([b"heartbeat:a"])
    await until(lambda: scene.names() == ["a"])
    await until(lambda: (scene.waiting("batch") or 0) > monotonic() + 300)
    scene.beats("b")
    await scene.pushes.changes.put([b"heartbeat:b"])
    await until(scene.pushes.changes.empty)
    await asyncio.sleep(0)
    due = scene.waiting("batch")
    assert scene.names() == ["a", "b"] or (due is not None and due < monotonic() + 10 * BATCH)
    await until(lambda: scene.names() == ["a", "b"])
    await until(lambda: (scene.waiting("batch") or 0) > monotonic() + 300)


async def test_an_unexpected_failure_of_a_reading_is_shown_and_the_reading_repeated(scene: Scene) -> None:
    scene.beats("x")
    scene.up()
    await until(scene.intake.first.is_set)
    for _ in range(2):
        scene.reader.fails = ZeroDivisionError("a bug")
        scene.intake.scan_soon()
        await until(lambda: "ZeroDivisionError" in str(scene.source.troubles))
        scene.reader.fails = None
        assert scene.waiting("scan") is not None
        scene.intake.scan_soon()
        await until(lambda: not scene.source.troubles)
    assert scene.names() == ["x"]
    assert scene.lost == []


async def test_after_a_restart_of_redis_agents_not_yet_registered_again_have_not_left(scene: Scene) -> None:
    for agent in ("a", "b"):
        scene.beats(agent, registered=True)
    scene.up("1")
    await until(scene.intake.first.is_set)
    scene.down("is gone")
    del scene.reader.agents["b"]  # "a" was quicker
    scene.up("2")
    await until(scene.intake.first.is_set)
    assert scene.names() == ["a", "b"]
    assert scene.records.events == []
    scene.down("is gone")
    scene.beats("b", 2, registered=True)
    scene.up("2")
    await until(scene.intake.first.is_set)
    scene.down("was away")
    del scene.reader.agents["b"]
    scene.up("2")  # the same server: "b" has left
    await until(lambda: scene.names() == ["a"])


async def test_after_stop_a_new_connection_is_not_read(scene: Scene) -> None:
    scene.up()
    await until(scene.intake.first.is_set)
    await scene.intake.stop()
    scene.beats("x")
    scene.up()
    for _ in range(20):
        await asyncio.sleep(0.01)
        assert scene.names() == []


async def test_the_server_is_listened_to_while_everything_is_read(scene: Scene) -> None:
    """A first reading may take longer than the silence after which a subscription counts as lost."""
    scene.beats("x")
    scene.records.gate.clear()
    scene.up()
    await scene.records.writing.wait()  # the first reading goes on
    scene.beats("y")
    scene.pushes.changes.put_nowait([b"heartbeat:y"])
    await until(scene.pushes.changes.empty)
    scene.records.gate.set()
    await until(lambda: scene.names() == ["x", "y"])  # what was heard meanwhile is read afterwards
    assert scene.lost == []


async def test_keys_announced_before_the_first_reading_are_read_after_it(scene: Scene) -> None:
    scene.beats("x")
    scene.pushes.changes.put_nowait([b"heartbeat:y"])
    scene.records.gate.clear()
    scene.up()
    await scene.records.writing.wait()
    scene.beats("y")
    scene.records.gate.set()
    await until(lambda: scene.names() == ["x", "y"])


async def test_a_second_report_of_a_lost_connection_only_replaces_the_reason(scene: Scene) -> None:
    scene.beats("x")
    scene.up()
    await until(scene.intake.first.is_set)
    scene.deadline_timer.start()
    state = scene.source.state
    scene.down("closed the connection")
    assert (state.state, state.error) == ("unreadable", "closed the connection")
    since, waiting = state.clock.now(0.0), scene.waiting("lost")
    assert waiting is not None
    await until(lambda: scene.waiting("lost") is None)
    scene.down("refuses connections")
    assert (state.state, state.error) == ("unreadable", "refuses connections")
    assert scene.waiting("lost") is None, "nothing is judged again"
    assert state.clock.now(0.0) == since
    assert scene.store.get(AgentKey("", "x")) is not None


async def test_what_can_only_be_read_in_full_is_read_so_before_a_verdict(scene: Scene) -> None:
    """Otherwise an agent of a Redis that refuses everything would be judged by its silence."""
    scene.beats("x")
    scene.up()
    await until(scene.intake.first.is_set)
    scene.reader.refuses, scene.reader.fails = True, RedisLost("is busy running a script")
    await scene.intake.reread(["x"])
    assert scene.source.state.state == "unreadable"
    assert not scene.source.state.clock.readable
