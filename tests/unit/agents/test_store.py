"""Test the counters, the order and the deadlines of the store against a naive recount at each moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from coordd.agents.reducer import Key, KnownAgent
from coordd.agents.workspace import Workspace
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ticking import tick

from coordd.agents.liveness import Verdict, judge
from coordd.agents.store import AgentStore
from coordd.model import AgentCounts
from coordd.runtime.clocks import LoopMonitor, ObservedClock
from coordd.runtime.deadlines import SPARE

TIMEOUT = 120.0
PATHS = ("/a", "/b")
IDS = ("x", "y", "z", "é", "x1")
keys = st.tuples(st.sampled_from(PATHS), st.sampled_from(IDS))
# Sixteenths of a second are exact, so that a deadline is met or not.
ages = st.none() | st.integers(min_value=0, max_value=16 * 300).map(lambda n: n / 16)
waits = st.integers(min_value=1, max_value=16 * 130).map(lambda n: n / 16)


class Model(RuleBasedStateMachine):
    """Do everything that can happen to a store, in any order; ticks are on time except in ``gap``."""

    def __init__(self) -> None:
        super().__init__()
        self.mono = self.ticked = 1000.0
        self.loop_monitor = LoopMonitor()
        tick(self.loop_monitor, self.mono)
        self.store = AgentStore(timeout=TIMEOUT, loop_monitor=self.loop_monitor)
        self.known: dict[Key, KnownAgent] = {}
        for path in PATHS:
            self.store.workspaces[path] = Workspace(path=path, clock=ObservedClock())

    def clock(self, key: Key) -> ObservedClock:
        return self.store.workspaces[key[0] or ""].clock

    def verdict(self, agent: KnownAgent) -> Verdict:
        clock = self.clock(agent.key)
        observed = clock.now(self.loop_monitor.horizon(self.mono))
        return judge(agent.evidence(observed, timeout=self.store.timeout, readable=clock.readable))

    def recount(self) -> AgentCounts:
        return AgentCounts(**Counter(self.verdict(agent).status for agent in self.known.values()))

    @rule(key=keys, age=ages)
    def publish(self, key: Key, age: float | None) -> None:
        at = None if age is None else self.clock(key).now(self.mono) - age
        agent = KnownAgent(key=key, verdict=Verdict("active", "heartbeat"), cause="heartbeat", traces=None)
        agent = replace(agent, beat_at=at)
        agent = replace(agent, verdict=self.verdict(agent))
        self.known[key] = agent
        self.store.publish(agent, self.mono)

    @rule(key=keys)
    def remove(self, key: Key) -> None:
        self.known.pop(key, None)
        self.store.remove(key, self.mono)

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        until = self.mono + seconds
        while until >= self.ticked + 2.0:
            self.tick(self.ticked + 2.0)
        self.mono = max(self.mono, until)

    def tick(self, mono: float) -> None:
        self.mono = self.ticked = mono
        assert tick(self.loop_monitor, mono) == 0.0

    @rule(seconds=waits, asked_meanwhile=st.booleans())
    def gap(self, seconds: float, asked_meanwhile: bool) -> None:
        self.mono += seconds
        if asked_meanwhile:
            assert self.store.counts(self.mono) == self.recount()
        gap = tick(self.loop_monitor, self.mono)
        self.ticked = self.mono
        if gap:
            for workspace in self.store.workspaces.values():
                workspace.clock.skip(gap)
            self.store.rejudge_all(self.mono)

    @rule(path=st.sampled_from(PATHS))
    def lost(self, path: str) -> None:
        self.store.workspaces[path].clock.lost(self.mono)
        self.store.rejudge(path, self.mono)

    @rule(path=st.sampled_from(PATHS))
    def regained(self, path: str) -> None:
        self.store.workspaces[path].clock.regained(self.mono)
        self.store.rejudge(path, self.mono)

    @rule(timeout=st.sampled_from([10.0, 120.0, 200.0]))
    def change_the_timeout(self, timeout: float) -> None:
        self.store.timeout = timeout
        self.store.rejudge_all(self.mono)

    @precondition(lambda self: self.known)
    @rule()
    def wait_for_the_next_deadline(self) -> None:
        """Check that no change comes before the next deadline."""
        due = self.store.next_deadline()
        before = self.recount()
        for _ in range(200):
            if due is not None and self.ticked + 2.0 >= due:
                break
            self.tick(self.ticked + 2.0)
            assert self.recount() == before

    @rule()
    def record_what_is_outdated(self) -> None:
        owed = self.store.take_unrecorded(self.mono)
        differing = {
            key for key, agent in self.known.items() if self.verdict(agent).status != agent.verdict.status
        }
        assert set(owed) == differing
        assert len(owed) == len(set(owed))
        for key in owed:
            self.known[key] = replace(self.known[key], verdict=self.verdict(self.known[key]))
            self.store.publish(self.known[key], self.mono)
        assert not self.store.has_unrecorded

    @invariant()
    def counters_equal_a_recount(self) -> None:
        assert self.store.counts(self.mono) == self.recount()
        assert len(self.store) == len(self.known)

    @invariant()
    def every_agent_is_shown_once_in_order_with_the_verdict_of_now(self) -> None:
        shown = list(self.store.shown(self.mono))
        assert [one.agent.key for one in shown] == sorted(self.known)
        for one in shown:
            assert one.agent is self.known[one.agent.key]
            assert one.verdict == self.verdict(one.agent)
        for path in PATHS:
            mine = [agent for key, agent in sorted(self.known.items()) if key[0] == path]
            assert self.store.in_workspace(path) == mine
        for status in ("active", "inactive", "unknown"):
            some = [one.agent.key for one in self.store.shown(self.mono, status=status)]
            assert some == [one.agent.key for one in shown if one.verdict.status == status]

    @invariant()
    def the_heap_does_not_grow_without_bound(self) -> None:
        assert len(self.store._deadlines) <= SPARE + 4 * len(PATHS) * len(IDS)


TestPicture: Any = Model.TestCase
TestPicture.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)


def store_of(agents: set[Key]) -> AgentStore:
    loop_monitor = LoopMonitor()
    tick(loop_monitor, 0.0)
    store = AgentStore(timeout=TIMEOUT, loop_monitor=loop_monitor)
    for path in {key[0] or "" for key in agents}:
        store.workspaces[path] = Workspace(path=path, clock=ObservedClock())
    for key in agents:
        agent = KnownAgent(
            key=key, verdict=Verdict("active", "heartbeat"), cause="start", traces=None, beat_at=0.0
        )
        store.publish(agent, 0.0)
    return store


any_key = st.tuples(st.sampled_from(["/a", "/b", "/é"]), st.text(min_size=1, max_size=3)) | st.tuples(
    st.none(), st.text(min_size=1, max_size=3).map(lambda text: f"redis{text}")
)


@settings(deadline=None)
@given(st.sets(any_key, max_size=20), st.integers(min_value=1, max_value=5), st.data())
def test_paging_by_key_meets_each_agent_once_also_when_the_last_one_left(
    agents: set[Key], size: int, data: st.DataObject
) -> None:
    store = store_of(agents)
    removed: set[Key] = set()
    met: list[Key] = []
    after: Key | None = None
    while True:
        page = [one.agent.key for _, one in zip(range(size), store.shown(0.0, after=after), strict=False)]
        if not page:
            break
        met += page
        after = page[-1]
        if data.draw(st.booleans()):
            store.remove(after, 0.0)
            removed.add(after)
    assert len(met) == len(set(met))
    assert set(met) == agents
    assert {one.agent.key for one in store.shown(0.0)} == agents - removed


@settings(deadline=None)
@given(st.sets(any_key, max_size=20), st.sampled_from(["/a", "/b", "/é", "/none"]))
def test_one_workspace_alone(agents: set[Key], path: str) -> None:
    store = store_of(agents)
    mine = sorted(key[1] for key in agents if key[0] == path)
    assert [one.agent.key[1] for one in store.shown(0.0, workspace=path)] == mine
    assume(mine)
    after: Key = (path, mine[0])
    assert [one.agent.key[1] for one in store.shown(0.0, workspace=path, after=after)] == mine[1:]


def test_the_agents_of_one_name() -> None:
    store = store_of({(None, "x"), ("/a", "x"), ("/b", "x"), ("/b", "y"), (None, "y")})
    assert {agent.key for agent in store.named("x")} == {(None, "x"), ("/a", "x"), ("/b", "x")}
    assert [agent.key for agent in store.named("y")] == [("/b", "y")]  # Redis's is the same agent
    assert store.named("z") == []


def test_an_agent_that_comes_back_with_an_older_beat_falls_silent_in_its_own_time() -> None:
    store = store_of({("/a", "x")})
    agent = store.in_workspace("/a")[0]
    store.remove(agent.key, 0.0)
    store.publish(replace(agent, beat_at=-100.0), 0.0)
    assert store.next_deadline() == 20.0


def test_what_can_change_an_answer_changes_the_version() -> None:
    store = store_of({("/a", "x")})
    version = store.version
    store.counts(1.0)
    assert store.version == version
    for mono in range(2, 124, 2):
        tick(store._loop_monitor, float(mono))
    store.expire(122.0)
    assert store.version > version


def test_an_age_goes_on_while_the_silence_stands_still() -> None:
    """The age counts the time of gaps and of blind periods."""
    store = store_of({("/a", "x")})
    agent = store.in_workspace("/a")[0]
    clock = store.workspaces["/a"].clock

    def age_and_silence(mono: float) -> tuple[float | None, float | None]:
        shown = store.look(agent, mono)
        assert [one.age for one in store.shown(mono)] == [shown.age]
        return shown.age, shown.evidence.silence

    tick(store._loop_monitor, 2.0)
    assert age_and_silence(2.0) == (2.0, 2.0)
    assert age_and_silence(10.0) == (10.0, 3.5)  # the gap is not over: only its beginning is surely silence
    clock.skip(tick(store._loop_monitor, 10.0))
    assert age_and_silence(10.0) == (10.0, 3.5)
    clock.lost(10.0)
    for mono in range(12, 42, 2):
        tick(store._loop_monitor, float(mono))
    assert age_and_silence(40.0) == (40.0, 33.5)
    clock.regained(40.0)
    store.publish(replace(agent, cause="verdict"), 40.0)
    assert age_and_silence(40.0) == (40.0, 3.5)

    agent = replace(agent, beat_at=clock.now(40.0) - 1.0)
    store.publish(agent, 40.0)
    assert age_and_silence(40.0) == (1.0, 1.0)
    agent = replace(agent, beat_at=None)
    store.publish(agent, 40.0)
    assert age_and_silence(40.0) == (None, None)


def test_a_forgotten_agent_that_comes_back_has_the_age_of_its_new_beat() -> None:
    store = store_of({("/a", "x")})
    agent = store.in_workspace("/a")[0]
    store.remove(agent.key, 1.0)
    store.publish(replace(agent, beat_at=0.0), 1.0)
    store.workspaces["/a"].clock.skip(5.0)
    assert store.look(agent, 7.0).age == 7.0
    store.remove(agent.key, 1.0)
    store.publish(agent, 7.0)
    assert store.look(agent, 7.0).age == 2.0
