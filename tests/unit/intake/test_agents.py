"""Test the records and events of agents that Redis and workspaces see: each is written once, and is true."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic, time
from typing import Any

import pytest

from coordd.agents.liveness import Verdict
from coordd.agents.reducer import KnownAgent, Reading
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.agents.workspace import Workspace
from coordd.intake.agents import AgentIntake
from coordd.model import AgentSample
from coordd.runtime.clocks import LoopMonitor, ObservedClock
from coordd.runtime.schedule import now

TIMEOUT = 120.0
FORGET = 86_400.0


class Records:
    """A recorder that keeps what it writes, and may be slow; ``shown`` is called at each record."""

    def __init__(self) -> None:
        self.samples: list[AgentSample] = []
        self.events: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._one_by_one = asyncio.Lock()
        self.look: Callable[[], None] = lambda: None

    async def record(self, *, agent: Sequence[AgentSample] = ()) -> None:
        self.samples += agent
        async with self._one_by_one:
            await asyncio.sleep(0)
            await self.gate.wait()
        self.look()

    def event(self, kind: str, subject: str, _message: str, _detail: object = None) -> None:
        self.events.append((kind, subject))

    def recorded(self) -> list[tuple[str | None, str, str]]:
        """Return (workspace, cause, status) of each sample."""
        return [(one.workspace, one.cause, one.status) for one in self.samples]

    def clear(self) -> None:
        self.samples.clear()
        self.events.clear()


class Scene:
    """An agent intake over Redis and two workspaces."""

    def __init__(self, *paths: str) -> None:
        self.store = AgentStore(timeout=TIMEOUT, loop_monitor=LoopMonitor())
        for path in paths or ("", "/a", "/b"):
            self.store.workspaces[path] = Workspace(path=path, clock=ObservedClock())
        self.records = Records()
        recorder: Any = self.records
        self.intake = AgentIntake(store=self.store, recorder=recorder, host="h", forget_after=FORGET)
        self.marks = 0

    def reading(self, path: str, **fields: Any) -> Reading:
        moment = now()
        observed = self.store.workspaces[path].clock.now(moment.mono)
        given: dict[str, Any] = {"wall": moment.wall, "observed": observed, "since": observed - 1e6}
        return Reading(**given | {"timeout": TIMEOUT} | fields)

    def traces(self, age: float | None = 0.0, *, tasks: tuple[str, ...] = (), **fields: Any) -> AgentTraces:
        self.marks += 1
        written = None if age is None else time() - age
        beat = None if written is None else Heartbeat(written, None, (self.marks,))
        return AgentTraces("x", heartbeat=beat, tasks=tasks, **fields)

    async def read(self, path: str, traces: AgentTraces | None, **fields: Any) -> AgentTraces | None:
        await self.intake.take(path, {"x": traces}, self.reading(path, **fields))
        return traces

    async def let_time_count(self) -> None:
        await self.intake.record_verdicts(self.store.take_unrecorded(monotonic()))

    def age(self, seconds: float) -> None:
        """Make all beats older."""
        for path, workspace in self.store.workspaces.items():
            for agent in self.store.in_workspace(path or None):
                assert agent.beat_at is not None
                older = replace(agent, beat_at=agent.beat_at - seconds)
                self.store.remove(agent.key, monotonic())
                self.store.publish(older, monotonic())
            assert workspace.clock.readable
        self.store.take_moved()


def scenario(*paths: str) -> Callable[[Callable[[Scene], Any]], Callable[[], None]]:
    """Run a coroutine function of a scene as a test."""

    def wrap(function: Callable[[Scene], Any]) -> Callable[[], None]:
        def test() -> None:
            async def run() -> None:
                await function(Scene(*paths))

            asyncio.run(run())

        test.__name__ = function.__name__
        return test

    return wrap


@scenario()
async def test_a_silent_agent_of_both_sources_comes_back_with_a_beat_in_either(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    await scene.read("", scene.traces(40))
    scene.age(200)
    scene.records.clear()
    await scene.let_time_count()
    assert scene.records.events == [("agent.inactive", "x")]
    await scene.read("", scene.traces(0))
    assert scene.records.events == [("agent.inactive", "x"), ("agent.active", "x")]


@scenario()
async def test_a_change_that_both_sources_show_is_recorded_once(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    await scene.read("", scene.traces(40))
    scene.age(200)
    await scene.let_time_count()
    await scene.read("/a", scene.traces(1))
    scene.records.clear()
    await scene.read("", scene.traces(0))
    assert scene.records.events == []


@scenario()
async def test_other_tasks_in_redis_do_not_record_the_silence_again(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    redis = await scene.read("", scene.traces(40))
    assert redis is not None
    scene.age(200)
    await scene.let_time_count()
    scene.records.clear()
    await scene.read("", replace(redis, tasks=("t",)))
    assert scene.records.events == []
    assert scene.records.recorded() == [("/a", "tasks", "inactive")]


@scenario()
async def test_a_beat_in_both_sources_is_one_record(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    await scene.read("", scene.traces(30))
    scene.records.clear()
    at = time()
    await scene.read("", AgentTraces("x", heartbeat=Heartbeat(at, None, ("r",))))
    await scene.read("/a", AgentTraces("x", heartbeat=Heartbeat(at, at + 0.004, ("f",))))
    assert len(scene.records.samples) == 1


def remembered(workspace: str | None, age: float = 30.0, **fields: Any) -> KnownAgent:
    """Return an agent as restored from the records of the last run."""
    at = round(time() - age, 3)
    known: dict[str, Any] = {
        "key": (workspace, "x"),
        "verdict": Verdict("active", "heartbeat"),
        "cause": "heartbeat",
        "traces": None,
        "beat_wall": at,
        "run_since": at,
        "restored_tasks": 0,
        "restored_wall": at,
        "restored_seen": at,
        "sources": ("file",) if workspace else ("redis",),
    }
    return KnownAgent(**known | fields)


@pytest.mark.parametrize("first", ["/a", ""])
def test_a_restart_samples_no_tasks_of_two_sources_twice(first: str) -> None:
    async def run() -> None:
        scene = Scene()
        one = remembered("/a", restored_tasks=3, sources=("file", "redis"), restored_status="busy")
        assert one.beat_wall is not None
        await scene.intake.restore([one], now())
        file = AgentTraces(
            "x",
            heartbeat=Heartbeat(one.beat_wall, one.beat_wall, (1,)),
            tasks=("t1", "t2"),
            registration=Registration(status="busy"),
        )
        redis = AgentTraces("x", heartbeat=Heartbeat(one.beat_wall - 5, None, (2,)), tasks=("t2", "t3"))
        for path in (first, "/a" if first == "" else ""):
            await scene.read(path, file if path else redis, fresh=True, starting=True)
            shown = scene.store.get(("/a", "x"))
            assert shown is not None
            assert (shown.active_tasks, shown.declared_status) == (3, "busy")
        assert scene.records.recorded() == []
        assert scene.records.events == []

    asyncio.run(run())


def test_whole_seconds_in_one_source_are_no_later_beat_after_a_restart() -> None:
    async def run() -> None:
        scene = Scene()
        second = float(int(time()) - 20)
        one = remembered("/a", sources=("file", "redis"))
        one = replace(one, beat_wall=second, restored_wall=second + 0.95, restored_seen=second + 0.9)
        await scene.intake.restore([one], now())
        redis = AgentTraces("x", heartbeat=Heartbeat(second + 0.4, None, (1,)))
        file = AgentTraces("x", heartbeat=Heartbeat(second, second + 0.9, (1,)))
        await scene.read("", redis, fresh=True, starting=True)
        await scene.read("/a", file, fresh=True, starting=True)
        assert scene.records.recorded() == []
        later = AgentTraces("x", heartbeat=Heartbeat(second + 10.2, None, (2,)))
        await scene.read("", later, fresh=True)
        assert scene.records.recorded() == [("/a", "heartbeat", "active")]

    asyncio.run(run())


@pytest.mark.parametrize("order", [(None, "/a", "/b"), ("/a", None, "/b"), ("/b", "/a", None)])
def test_agents_restored_from_the_last_run_keep_their_keys(order: tuple[str | None, ...]) -> None:
    async def run() -> None:
        scene = Scene()
        found = [remembered(path, age=10.0 if path else 200.0) for path in order]
        found = [
            replace(one, verdict=Verdict("inactive", "silent")) if one.key[0] is None else one
            for one in found
        ]
        await scene.intake.restore(found, now())
        await scene.intake.take("/a", {}, scene.reading("/a"))
        await scene.let_time_count()
        assert scene.records.recorded() == []
        assert [one.agent.key[0] for one in scene.store.shown(monotonic())] == [None, "/a", "/b"]

    asyncio.run(run())


def test_an_agent_shown_under_another_key_after_a_restart_is_recorded_there() -> None:
    async def run() -> None:
        scene = Scene("", "/a")
        # /b, which had it as well, is not ours any more; nor is /c, which had the other one.
        gone = replace(remembered("/c", sources=("file", "redis")), key=("/c", "y"))
        await scene.intake.restore([remembered(None), remembered("/a"), remembered("/b"), gone], now())
        await scene.intake.take("/a", {}, scene.reading("/a"))
        assert sorted(scene.records.recorded(), key=str) == [
            (None, "appeared", "active"),
            (None, "removed", "active"),
        ]

    asyncio.run(run())


@scenario()
async def test_an_agent_forgotten_by_both_sources_is_removed_once(scene: Scene) -> None:
    file = await scene.read("/a", scene.traces(30))
    redis = await scene.read("", scene.traces(40))
    scene.age(FORGET + 100)
    await scene.let_time_count()
    scene.records.clear()
    for _ in range(2):
        await scene.read("/a", file)
        await scene.read("", redis)
    assert scene.records.recorded() == [("/a", "removed", "inactive")]
    assert scene.records.events == [("agent.removed", "x")]
    assert len(scene.store) == 0


@scenario()
async def test_an_agent_that_remains_in_redis_alone_is_recorded_before_it_is_shown(scene: Scene) -> None:
    await scene.read("/a", scene.traces(0))
    await scene.read("", scene.traces(10))
    scene.records.clear()
    old = scene.store.observation((None, "x"))
    assert old is not None
    assert old.beat_at is not None
    scene.store.publish(replace(old, beat_at=old.beat_at - 300), monotonic())

    def look() -> None:
        if (None, "x") in {one.agent.key for one in scene.store.shown(monotonic())}:
            assert (None, "appeared", "inactive") in scene.records.recorded()

    scene.records.look = look
    await scene.read("/a", None)
    await scene.let_time_count()
    assert sorted(scene.records.recorded(), key=str) == [
        ("/a", "removed", "active"),
        (None, "appeared", "inactive"),
    ]
    assert scene.records.events == [("agent.inactive", "x")]  # it has not left


@scenario()
async def test_an_agent_of_redis_that_appears_in_a_workspace_is_no_second_agent(scene: Scene) -> None:
    await scene.read("", scene.traces(1))
    scene.records.clear()
    await scene.read("/a", scene.traces(0))
    assert scene.records.recorded() == [("/a", "appeared", "active"), (None, "removed", "active")]
    assert scene.records.events == []


@scenario()
async def test_tasks_that_go_with_redis_are_recorded(scene: Scene) -> None:
    await scene.read("/a", scene.traces(0, tasks=("t1",)))
    await scene.read("", scene.traces(0, tasks=("t2",)))
    scene.records.clear()
    await scene.read("", None)
    assert [(one.cause, one.active_tasks, one.sources) for one in scene.records.samples] == [
        ("tasks", 1, ("file",))
    ]
    assert scene.records.events == []


@scenario()
async def test_a_beat_while_the_silence_is_being_recorded_is_recorded_as_a_return(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    scene.age(200)
    scene.records.clear()
    scene.records.gate.clear()
    deadline_timer = asyncio.ensure_future(scene.let_time_count())
    await asyncio.sleep(0)
    beating = asyncio.ensure_future(scene.read("/a", scene.traces(0)))
    await asyncio.sleep(0)
    scene.records.gate.set()
    await asyncio.gather(deadline_timer, beating)
    assert scene.records.events == [("agent.inactive", "x"), ("agent.active", "x")]
    await scene.let_time_count()
    assert scene.records.recorded() == [("/a", "verdict", "inactive"), ("/a", "heartbeat", "active")]


@scenario()
async def test_a_stall_before_its_tick_makes_no_agent_silent(scene: Scene) -> None:
    redis = await scene.read("", scene.traces(100))
    await scene.read("/a", scene.traces(10))
    scene.records.clear()
    hour_ago = monotonic() - 3600
    scene.store._loop_monitor.expect(hour_ago, hour_ago)  # the loop did not turn for an hour
    for agent in (scene.store.observation(("/a", "x")), scene.store.observation((None, "x"))):
        assert agent is not None
        assert agent.beat_at is not None
        old = replace(agent, beat_at=agent.beat_at - 3600)
        scene.store.publish(old, monotonic())
    assert redis is not None
    await scene.read("", replace(redis, tasks=("t",)), observed=monotonic() - 3600 + 600)
    assert {one.status for one in scene.records.samples} <= {"active"}
    assert scene.records.events == []


@scenario("", "/a")
async def test_nothing_is_kept_of_forgotten_agents_whose_traces_are_gone(scene: Scene) -> None:
    silent = Heartbeat(time() - FORGET - 1000, None, (1,))

    async def sessions(start: int, count: int) -> None:
        for number in range(start, start + count):
            found = {f"session-{number}-{n}": AgentTraces("x", heartbeat=silent) for n in range(100)}
            await scene.intake.take("", found, scene.reading("", fresh=True))
            scene.intake.read_all("", found)

    await sessions(0, 5)
    tracemalloc.start()
    await sessions(5, 50)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 500_000  # of 5,000 agents 100 are there
    assert len(scene.store) == 0
