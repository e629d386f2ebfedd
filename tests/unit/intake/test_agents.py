"""Test the records and events of agents that Redis and workspaces see: each is written once, and is true."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic, time
from typing import Any

import pytest

from coordd.agents.beats import Reading, Restored
from coordd.agents.join import Agent
from coordd.agents.judging import Limits
from coordd.agents.key import AgentKey
from coordd.agents.liveness import Verdict
from coordd.agents.remembered import RememberedAgent
from coordd.agents.source import SourceName, SourceState
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.intake.agents import AgentIntake
from coordd.model import AgentSample
from coordd.runtime.clocks import LoopMonitor, ObservedClock
from coordd.runtime.schedule import now
from coordd.util.slices import SLICE
from coordd.util.timestamps import format_utc

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
    """An agent intake over Redis ("") and workspaces."""

    def __init__(self, *paths: str) -> None:
        self.loop_monitor = LoopMonitor()
        self.store = AgentStore(
            limits=Limits(timeout=TIMEOUT, forget_after=FORGET), loop_monitor=self.loop_monitor
        )
        self.records = Records()
        recorder: Any = self.records
        self.intake = AgentIntake(store=self.store, recorder=recorder, host="h")
        self.intake.running = True
        self.sources: dict[str, SourceState] = {}
        for path in paths or ("", "/a", "/b"):
            name = SourceName("file" if path else "redis", path)
            state = SourceState(
                name=name,
                clock=ObservedClock(),
                workspace=path,
                rank=0 if path else 1,
                holds_tasks=True,
            )
            self.sources[path] = state
            self.intake.add_source(state)
        self.marks = 0

    def reading(self, path: str, **fields: Any) -> Reading:
        moment = now()
        clock = self.sources[path].clock
        observed = clock.now(moment.mono)
        given: dict[str, Any] = {"wall": moment.wall, "mono": moment.mono, "observed": observed}
        given |= {"since": observed - 1e6, "blind": moment.mono - observed, "timeout": TIMEOUT}
        return Reading(**given | fields)

    def traces(self, age: float | None = 0.0, *, tasks: tuple[str, ...] = (), **fields: Any) -> AgentTraces:
        self.marks += 1
        written = None if age is None else time() - age
        beat = None if written is None else Heartbeat(written, None, (self.marks,))
        return AgentTraces("x", heartbeat=beat, tasks=tasks, **fields)

    async def read(self, path: str, traces: AgentTraces | None, **fields: Any) -> AgentTraces | None:
        await self.intake.take(self.sources[path], {"x": traces}, self.reading(path, **fields))
        return traces

    async def let_time_count(self) -> None:
        await self.intake.record_verdicts(self.store.take_unrecorded(monotonic()))

    async def forget(self) -> None:
        await self.intake.forget(self.store.take_overdue())

    def age(self, seconds: float, *paths: str) -> None:
        """Make beats older, in all sources or in these: their clocks go on by so much."""
        for path, state in self.sources.items():
            if not paths or path in paths:
                state.clock._blind -= seconds
        self.store.rejudge_all(monotonic())

    def agent(self, workspace: str = "/a") -> Agent | None:
        return self.store.get(AgentKey(workspace, "x"))


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_silent_agent_of_both_sources_comes_back_with_a_beat_in_either(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    await scene.read("", scene.traces(40))
    scene.age(200)
    scene.records.clear()
    await scene.let_time_count()
    assert scene.records.events == [("agent.inactive", "x")]
    await scene.read("", scene.traces(0))
    assert scene.records.events == [("agent.inactive", "x"), ("agent.active", "x")]


async def test_a_change_that_both_sources_show_is_recorded_once(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    await scene.read("", scene.traces(40))
    scene.age(200)
    await scene.let_time_count()
    await scene.read("/a", scene.traces(1))
    scene.records.clear()
    await scene.read("", scene.traces(0))
    assert scene.records.events == []


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


async def test_a_beat_in_both_sources_is_one_record(scene: Scene) -> None:
    await scene.read("/a", scene.traces(30))
    await scene.read("", scene.traces(30))
    scene.records.clear()
    at = time()
    await scene.read("", AgentTraces("x", heartbeat=Heartbeat(at, None, ("r",))))
    await scene.read("/a", AgentTraces("x", heartbeat=Heartbeat(at, at + 0.004, ("f",))))
    assert len(scene.records.samples) == 1


def remembered(workspace: str, age: float = 30.0, **fields: Any) -> RememberedAgent:
    """Return an agent as restored from the records of the last run."""
    at = round(time() - age, 3)
    given: dict[str, Any] = {"tasks": 0, "wall": at, "seen": at}
    given |= {name: fields.pop(name) for name in ("tasks", "status", "wall", "seen") if name in fields}
    known: dict[str, Any] = {
        "key": AgentKey(workspace, "x"),
        "verdict": Verdict("active", "heartbeat"),
        "cause": "heartbeat",
        "beat_wall": at,
        "run_since": at,
        "sources": ("file",) if workspace else ("redis",),
    } | fields
    return RememberedAgent(**known, restored=Restored(**given, shared=len(known["sources"]) > 1))


@pytest.mark.parametrize("first", ["/a", ""])
async def test_a_restart_samples_no_tasks_of_two_sources_twice(first: str) -> None:
    scene = Scene()
    one = remembered("/a", tasks=3, sources=("file", "redis"), status="busy")
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
        await scene.read(path, file if path else redis, fresh=True)
        shown = scene.agent()
        assert shown is not None
        assert (shown.active_tasks, shown.declared_status) == (3, "busy")
    assert scene.records.recorded() == []
    assert scene.records.events == []


async def test_whole_seconds_in_one_source_are_no_later_beat_after_a_restart() -> None:
    scene = Scene()
    second = float(int(time()) - 20)
    one = remembered("/a", sources=("file", "redis"), beat_wall=second, wall=second + 0.95, seen=second + 0.9)
    await scene.intake.restore([one], now())
    redis = AgentTraces("x", heartbeat=Heartbeat(second + 0.4, None, (1,)))
    file = AgentTraces("x", heartbeat=Heartbeat(second, second + 0.9, (1,)))
    await scene.read("", redis, fresh=True)
    await scene.read("/a", file, fresh=True)
    assert scene.records.recorded() == []
    later = AgentTraces("x", heartbeat=Heartbeat(second + 10.2, None, (2,)))
    await scene.read("", later, fresh=True)
    assert scene.records.recorded() == [("/a", "heartbeat", "active")]


@pytest.mark.parametrize("order", [("", "/a", "/b"), ("/a", "", "/b"), ("/b", "/a", "")])
async def test_agents_restored_from_the_last_run_keep_their_keys(order: tuple[str, ...]) -> None:
    scene = Scene()
    found = [remembered(path, age=10.0 if path else 200.0) for path in order]
    found = [
        replace(one, verdict=Verdict("inactive", "silent")) if not one.key.workspace else one for one in found
    ]
    await scene.intake.restore(found, now())
    await scene.intake.take(scene.sources["/a"], {}, scene.reading("/a"))
    await scene.let_time_count()
    assert scene.records.recorded() == []
    assert [one.agent.key.workspace for one in scene.store.shown(monotonic())] == ["", "/a", "/b"]


async def test_an_agent_shown_under_another_key_after_a_restart_is_recorded_there() -> None:
    scene = Scene("", "/a")
    # /b, which had it as well, is not ours any more; nor is /c, which had the other one.
    gone = replace(remembered("/c", sources=("file", "redis")), key=AgentKey("/c", "y"))
    await scene.intake.restore([remembered(""), remembered("/a"), remembered("/b"), gone], now())
    await scene.intake.take(scene.sources["/a"], {}, scene.reading("/a"))
    assert sorted(scene.records.recorded(), key=str) == [
        ("/a", "heartbeat", "active"),  # Redis tells of it as well
        (None, "appeared", "active"),
        (None, "removed", "active"),
    ]


async def test_an_agent_forgotten_by_both_sources_is_removed_once(scene: Scene) -> None:
    file = await scene.read("/a", scene.traces(30))
    redis = await scene.read("", scene.traces(40))
    scene.age(FORGET + 100)
    await scene.let_time_count()
    scene.records.clear()
    for _ in range(2):
        await scene.forget()
        await scene.read("/a", file)
        await scene.read("", redis)
    assert scene.records.recorded() == [("/a", "removed", "inactive")]
    assert scene.records.events == [("agent.removed", "x")]
    assert len(scene.store) == 0
    await scene.read("", scene.traces(0))
    assert scene.records.recorded()[1:] == [("/a", "appeared", "active")]


async def test_an_agent_forgotten_in_one_workspace_is_no_other_home(scene: Scene) -> None:
    await scene.read("/a", scene.traces(FORGET + 100), fresh=True)
    await scene.read("/b", scene.traces(0))
    await scene.read("", scene.traces(0))
    assert [(one.agent.key.workspace, one.agent.sources) for one in scene.store.shown(monotonic())] == [
        ("/b", ("file", "redis"))
    ]


async def test_an_agent_that_remains_in_redis_alone_is_recorded_before_it_is_shown(scene: Scene) -> None:
    await scene.read("/a", scene.traces(0))
    await scene.read("", scene.traces(10))
    scene.records.clear()
    scene.age(300, "")

    def look() -> None:
        if ("", "x") in {one.agent.key for one in scene.store.shown(monotonic())}:
            assert (None, "appeared", "inactive") in scene.records.recorded()

    scene.records.look = look
    await scene.read("/a", None)
    await scene.let_time_count()
    assert sorted(scene.records.recorded(), key=str) == [
        ("/a", "removed", "active"),
        (None, "appeared", "inactive"),
    ]
    assert scene.records.events == [("agent.inactive", "x")]  # it has not left


async def test_an_agent_of_redis_that_appears_in_a_workspace_is_no_second_agent(scene: Scene) -> None:
    await scene.read("", scene.traces(1))
    scene.records.clear()
    await scene.read("/a", scene.traces(0))
    assert scene.records.recorded() == [("/a", "appeared", "active"), (None, "removed", "active")]
    assert scene.records.events == []


async def test_tasks_that_go_with_redis_are_recorded(scene: Scene) -> None:
    await scene.read("/a", scene.traces(0, tasks=("t1",)))
    await scene.read("", scene.traces(0, tasks=("t2",)))
    scene.records.clear()
    await scene.read("", None)
    assert [(one.cause, one.active_tasks, one.sources) for one in scene.records.samples] == [
        ("tasks", 1, ("file",))
    ]
    assert scene.records.events == []


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


async def test_a_stall_before_its_tick_makes_no_agent_silent(scene: Scene) -> None:
    redis = await scene.read("", scene.traces(100))
    await scene.read("/a", scene.traces(10))
    scene.records.clear()
    hour_ago = monotonic() - 3600
    scene.loop_monitor.expect(hour_ago, hour_ago)  # the loop did not turn for an hour
    scene.age(3600)
    assert redis is not None
    observed = scene.sources[""].clock.now(scene.store.horizon(monotonic()))
    await scene.read("", replace(redis, tasks=("t",)), observed=observed)
    assert {one.status for one in scene.records.samples} <= {"active"}
    assert scene.records.events == []


async def test_nothing_is_kept_of_forgotten_agents_whose_traces_are_gone() -> None:
    scene = Scene("", "/a")
    redis, silent = scene.sources[""], Heartbeat(time() - FORGET - 1000, None, (1,))

    async def sessions(start: int, count: int) -> None:
        for number in range(start, start + count):
            found: dict[str, AgentTraces | None] = dict.fromkeys(scene.intake.known(redis.name))
            found |= {f"session-{number}-{n}": AgentTraces("x", heartbeat=silent) for n in range(100)}
            await scene.intake.take(redis, found, scene.reading("", fresh=True))

    await sessions(0, 5)
    tracemalloc.start()
    await sessions(5, 50)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 500_000  # of 5,000 agents 100 are there
    assert len(scene.store) == 0


async def test_nothing_is_kept_of_a_forgotten_agent_whose_last_trace_goes(scene: Scene) -> None:
    redis = scene.sources[""]
    await scene.read("", scene.traces(FORGET + 100), fresh=True)
    assert list(scene.intake.known(redis.name)) == ["x"]
    await scene.read("", AgentTraces("x"))
    assert list(scene.intake.known(redis.name)) == []
    assert scene.records.samples == []


def source_of(scene: Scene, kind: str, path: str, **fields: Any) -> SourceState:
    """Add a source of agents alone, which knows of no workspace by itself."""
    state = SourceState(name=SourceName(kind, path), clock=ObservedClock(), rank=2, **fields)
    scene.sources[path] = state
    scene.intake.add_source(state)
    return state


async def test_what_is_recorded_last_is_what_is_shown_after_a_source_left(scene: Scene) -> None:
    await scene.read("/a", scene.traces(100))
    await scene.read("", scene.traces(1))
    scene.records.clear()
    await scene.read("", None)
    (sample,) = scene.records.samples
    agent = scene.agent()
    assert agent is not None
    assert (sample.sources, sample.cause, sample.status) == (("file",), "verdict", "active")
    assert sample.last_heartbeat == format_utc(agent.beat_wall or 0.0)
    assert scene.records.events == []


async def test_an_agent_whose_source_names_workspaces_is_restored_under_its_key() -> None:
    scene = Scene("/a")
    state = source_of(scene, "toy", "", names_workspaces=True)
    one = remembered("/w", sources=("toy",))
    await scene.intake.restore([one], now())
    traces = AgentTraces("x", Heartbeat(one.beat_wall, None, (1,)), workspace="/w")
    await scene.intake.take(state, {"x": traces}, scene.reading("", fresh=True))
    assert scene.records.recorded() == []
    assert scene.agent("/w") is not None


@pytest.mark.parametrize("told", ["/home/one", "/home/two"])
async def test_an_agent_of_one_of_two_homes_has_not_left_with_a_restart(told: str) -> None:
    scene = Scene("/a")
    homes = {path: source_of(scene, "toy", path) for path in ("/home/one", "/home/two")}
    one = remembered("", sources=("toy",))
    await scene.intake.restore([one], now())
    traces = AgentTraces("x", Heartbeat(one.beat_wall, None, (1,)))
    for path, state in homes.items():
        found = {"x": traces if path == told else None}
        await scene.intake.take(state, found, scene.reading(path, fresh=True))
    assert scene.records.recorded() == []
    assert scene.records.events == []
    assert len(scene.store) == 1


async def test_a_dropped_source_gives_other_work_its_turn(scene: Scene) -> None:
    beat = Heartbeat(time(), time(), (1,))
    found = {f"a{number}": AgentTraces("x", beat) for number in range(3 * SLICE)}
    await scene.intake.take(scene.sources["/a"], found, scene.reading("/a", fresh=True))
    scene.records.clear()
    longest = 0

    def look() -> None:
        nonlocal longest
        longest = max(longest, len(scene.records.samples))
        scene.records.samples.clear()

    scene.records.look = look
    await scene.intake.drop(scene.sources["/a"])
    assert longest == SLICE
    assert len(scene.store) == 0


async def test_two_sources_that_hold_the_tasks_of_one_workspace_are_refused(scene: Scene) -> None:
    with pytest.raises(ValueError, match="'/a'"):
        scene.intake.add_source(
            SourceState(name=SourceName("toy"), clock=ObservedClock(), workspace="/a", holds_tasks=True)
        )
