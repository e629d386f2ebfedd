"""Test the counters, the order and the deadlines of the store against a naive recount at each moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from agents import EPOCH, Agents, source
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ticking import tick

from coordd.agents.beats import Reading
from coordd.agents.join import Agent
from coordd.agents.key import AgentKey
from coordd.agents.liveness import Verdict, judge
from coordd.agents.observation import observe
from coordd.agents.traces import AgentTraces, Heartbeat
from coordd.model import AgentCounts
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.deadlines import SPARE

PATHS = ("/a", "/b")
IDS = ("x", "y", "z", "é", "x1")
keys = st.builds(AgentKey, st.sampled_from(PATHS), st.sampled_from(IDS))
# Sixteenths of a second are exact, so that a deadline is met or not.
ages = st.none() | st.integers(min_value=0, max_value=16 * 300).map(lambda n: n / 16)
waits = st.integers(min_value=1, max_value=16 * 130).map(lambda n: n / 16)


class Model(RuleBasedStateMachine):
    """Do everything that can happen to a store, in any order; ticks are on time except in ``gap``."""

    def __init__(self) -> None:
        super().__init__()
        self.agents = Agents(*PATHS, forget_after=400.0)
        self.store = self.agents.store
        self.loop_monitor = self.agents.loop_monitor
        self.tick(self.mono)
        self.known: dict[AgentKey, Agent] = {}

    @property
    def mono(self) -> float:
        return self.agents.mono

    def clock(self, key: AgentKey) -> ObservedClock:
        return self.agents.clock(source(key.workspace))

    def verdict(self, agent: Agent) -> Verdict:
        return judge(self.agents.evidence(agent.observations))

    def recount(self) -> AgentCounts:
        return AgentCounts(**Counter(self.verdict(agent).status for agent in self.known.values()))

    def overdue(self) -> set[AgentKey]:
        """Return the agents that are surely silent for longer than the store has to show them."""
        found = set()
        for key, agent in self.known.items():
            evidence = self.agents.evidence(agent.observations)
            if (
                judge(evidence).status == "inactive"
                and (evidence.silence or 0.0) > self.store.judging.limits.forget_after
            ):
                found.add(key)
        return found

    @rule(key=keys, age=ages)
    def show(self, key: AgentKey, age: float | None) -> None:
        self.known[key] = self.agents.see(*key, age)

    @rule(key=keys)
    def hide(self, key: AgentKey) -> None:
        self.known.pop(key, None)
        self.agents.remove(source(key.workspace), key.agent_id)

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        until = self.mono + seconds
        while until >= self.ticked + 2.0:
            self.tick(self.ticked + 2.0)
        self.agents.mono = max(self.mono, until)

    def tick(self, mono: float) -> None:
        self.agents.mono = self.ticked = mono
        assert tick(self.loop_monitor, mono) == 0.0

    @rule(seconds=waits, asked_meanwhile=st.booleans())
    def gap(self, seconds: float, asked_meanwhile: bool) -> None:
        self.agents.mono += seconds
        if asked_meanwhile:
            assert self.store.counts(self.mono) == self.recount()
        gap = tick(self.loop_monitor, self.mono)
        self.ticked = self.mono
        if gap:
            for state in self.store.sources.values():
                state.clock.skip(gap)
            self.store.rejudge_all(self.mono)

    @rule(path=st.sampled_from(PATHS))
    def lost(self, path: str) -> None:
        self.agents.lose(source(path))

    @rule(path=st.sampled_from(PATHS))
    def regained(self, path: str) -> None:
        self.agents.regain(source(path))

    @rule(timeout=st.sampled_from([10.0, 120.0, 200.0]))
    def change_the_timeout(self, timeout: float) -> None:
        self.store.judging.limits = replace(self.store.judging.limits, timeout=timeout)
        self.store.rejudge_all(self.mono)

    @precondition(lambda self: self.known)
    @rule()
    def wait_for_the_next_deadline(self) -> None:
        """Check that no change comes before the next deadline."""
        due = self.store.next_deadline()
        before, overdue = self.recount(), self.overdue()
        for _ in range(200):
            if due is not None and self.ticked + 2.0 >= due:
                break
            self.tick(self.ticked + 2.0)
            assert (self.recount(), self.overdue()) == (before, overdue)

    @rule()
    def record_what_is_outdated(self) -> None:
        owed = self.store.take_unrecorded(self.mono)
        differing = {
            key for key, agent in self.known.items() if self.verdict(agent).status != agent.verdict.status
        }
        assert set(owed) == differing
        assert len(owed) == len(set(owed))
        for key in owed:
            now = self.store.look(self.known[key], self.mono)
            assert now.verdict == self.verdict(self.known[key])
            self.known[key] = self.known[key].recorded(now.verdict, "verdict", now.doing)
            self.store.show(self.known[key], self.mono)
        overdue = self.overdue()
        assert overdue <= self.store.take_overdue()
        assert not self.store.has_unrecorded
        for key in overdue:
            self.hide(key)

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
            mine = [agent for key, agent in sorted(self.known.items()) if key.workspace == path]
            assert [one.agent for one in self.store.shown(self.mono, workspace=path)] == mine
        for status in ("active", "inactive", "unknown"):
            some = [one.agent.key for one in self.store.shown(self.mono, status=status)]
            assert some == [one.agent.key for one in shown if one.verdict.status == status]

    @invariant()
    def the_heap_does_not_grow_without_bound(self) -> None:
        assert len(self.store._deadlines) <= SPARE + 4 * len(PATHS) * len(IDS)


TestPicture: Any = Model.TestCase
TestPicture.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)


def agents_with(keys: set[AgentKey]) -> Agents:
    agents = Agents(*{key.workspace for key in keys}, mono=0.0)
    for key in keys:
        agents.see(*key)
    return agents


any_key = st.builds(
    AgentKey, st.sampled_from(["/a", "/b", "/é"]), st.text(min_size=1, max_size=3)
) | st.builds(AgentKey, st.just(""), st.text(min_size=1, max_size=3).map(lambda text: f"redis{text}"))


@settings(deadline=None)
@given(st.sets(any_key, max_size=20), st.integers(min_value=1, max_value=5), st.data())
def test_paging_by_key_meets_each_agent_once_also_when_the_last_one_left(
    keys: set[AgentKey], size: int, data: st.DataObject
) -> None:
    store = agents_with(keys).store
    removed: set[AgentKey] = set()
    met: list[AgentKey] = []
    after: AgentKey | None = None
    while True:
        page = [one.agent.key for _, one in zip(range(size), store.shown(0.0, after=after), strict=False)]
        if not page:
            break
        met += page
        after = page[-1]
        if data.draw(st.booleans()):
            store.hide(after)
            removed.add(after)
    assert len(met) == len(set(met))
    assert set(met) == keys
    assert {one.agent.key for one in store.shown(0.0)} == keys - removed


@settings(deadline=None)
@given(st.sets(any_key, max_size=20), st.sampled_from(["", "/a", "/b", "/é", "/none"]))
def test_one_workspace_alone(keys: set[AgentKey], path: str) -> None:
    store = agents_with(keys).store
    mine = sorted(key.agent_id for key in keys if key.workspace == path)
    assert [one.agent.key.agent_id for one in store.shown(0.0, workspace=path)] == mine
    assume(mine)
    after = AgentKey(path, mine[0])
    shown = store.shown(0.0, workspace=path, after=after)
    assert [one.agent.key.agent_id for one in shown] == mine[1:]


def test_the_agents_of_one_name() -> None:
    agents = Agents("", "/a", "/b")
    for path, agent_id in (("", "x"), ("/a", "x"), ("/b", "x"), ("/b", "y"), ("", "y")):
        agents.see(path, agent_id)
    assert {agent.key for agent in agents.store.named("x")} == {("", "x"), ("/a", "x"), ("/b", "x")}
    assert [agent.key for agent in agents.store.named("y")] == [("/b", "y")]  # Redis's is the same agent
    assert agents.store.named("z") == []


def test_an_agent_that_comes_back_with_an_older_beat_falls_silent_in_its_own_time() -> None:
    agents = Agents("/a", mono=0.0)
    agents.see("/a", "x")
    agents.remove(source("/a"), "x")
    agents.see("/a", "x", 100.0)
    assert agents.store.next_deadline() == 20.0


def test_an_agent_that_is_silent_for_too_long_is_told_in_its_time_and_once() -> None:
    agents = Agents("/a", mono=0.0, forget_after=300.0)
    store = agents.store
    agents.see("/a", "x")
    for mono in range(2, 304, 2):
        store.expire(float(mono))
        due = store.next_deadline()
        assert due is None or mono >= 300 or due == (120.0 if mono < 120 else 300.0)
        assert store.take_overdue() == ({("/a", "x")} if mono == 302 else set()), mono
    assert store.take_overdue() == set()


def test_what_can_change_an_answer_changes_the_version() -> None:
    agents = agents_with({AgentKey("/a", "x")})
    store, version = agents.store, agents.store.version
    store.counts(1.0)
    assert store.version == version
    store.expire(122.0)
    assert store.version > version


def test_an_age_goes_on_while_the_silence_stands_still() -> None:
    """The age counts the time of gaps and of blind periods."""
    agents = Agents("/a", mono=0.0)
    store, monitor, clock = agents.store, agents.loop_monitor, agents.clock(source("/a"))
    agent = agents.see("/a", "x")

    def age_and_silence(mono: float) -> tuple[float | None, float | None]:
        shown = store.look(agent, mono)
        assert [one.age for one in store.shown(mono)] == [shown.age]
        assert [(one.age, one.evidence) for one in store.look_at_sources(agent, mono)] == [
            (shown.age, shown.evidence)
        ]
        return shown.age, shown.evidence.silence

    tick(monitor, 2.0)
    assert age_and_silence(2.0) == (2.0, 2.0)
    assert age_and_silence(10.0) == (10.0, 3.5)  # the gap is not over: only its beginning is surely silence
    clock.skip(tick(monitor, 10.0))
    assert age_and_silence(10.0) == (10.0, 3.5)
    clock.lost(10.0)
    for mono in range(12, 42, 2):
        tick(monitor, float(mono))
    assert age_and_silence(40.0) == (40.0, 33.5)
    clock.regained(40.0)
    store.show(replace(agent, cause="verdict"), 40.0)
    assert age_and_silence(40.0) == (40.0, 3.5)

    agents.mono = 40.0
    agent = agents.see("/a", "x", 1.0)
    assert age_and_silence(40.0) == (1.0, 1.0)
    agent = agents.see("/a", "x", None)
    assert age_and_silence(40.0) == (None, None)


def test_a_forgotten_agent_that_comes_back_has_the_age_of_its_new_beat() -> None:
    """A beat is dated once: what is taken out of the clock later moves it no more."""
    agents = Agents("/a", mono=1.0)
    clock, place = agents.clock(source("/a")), (source("/a"), "x")

    def read(beat: float) -> Agent:
        traces = AgentTraces("x", heartbeat=Heartbeat(EPOCH + beat, EPOCH + beat, (beat,)))
        old = agents.observations.of_source(place[0]).get(place[1])
        observed = clock.now(agents.mono)
        reading = Reading(
            wall=agents.now.wall,
            mono=agents.mono,
            observed=observed,
            since=0.0,
            timeout=agents.store.judging.limits.timeout,
            fresh=old is None,
            blind=agents.mono - observed,
        )
        agents.put(observe(old, place, "/a", traces, reading))
        (agent,) = agents.store.named("x")
        return agent

    agent = read(0.0)
    clock.skip(5.0)
    agents.mono = 7.0
    assert agents.store.look(agent, 7.0).age == 7.0
    for kept in (False, True):  # whether its old traces are remembered
        if kept:
            agents.put(replace(agent.observations[0], dormant=True))
        else:
            agents.remove(*place)
        assert agents.store.named("x") == []
        agents.mono += 2.0
        agent = read(agents.mono - 1.0)
        assert agents.store.look(agent, agents.mono).age == 1.0


def test_silence_makes_no_agent_inactive_before_its_sources_were_read_once_more() -> None:
    agents = Agents("/a", mono=0.0)
    store, key = agents.store, AgentKey("/a", "x")
    agent = agents.see("/a", "x")
    store.rereads = True
    for mono in (119.0, 121.0):
        assert store.look(agent, mono).verdict.status == "active"
        assert store.counts(mono) == AgentCounts(active=1)
    assert store.look(agent, 121.0).evidence.silence < 120.0  # type: ignore[operator]  # it is a number
    assert store.has_unrecorded
    assert store.take_unrecorded(121.0) == [key]
    store.expire(121.5)
    assert store.take_unrecorded(121.5) == [], "it is being read already"
    assert not store.has_unrecorded
    assert store.look(agent, 121.5).verdict.status == "active"
    store.confirm([key], 122.0)
    assert store.look(agent, 122.0).verdict == Verdict("inactive", "silent")
    assert store.counts(122.0) == AgentCounts(inactive=1)
    assert store.take_unrecorded(122.0) == [key]


def test_a_beat_ends_the_suspicion_that_an_agent_is_silent() -> None:
    agents = Agents("/a", mono=0.0)
    store = agents.store
    agents.see("/a", "x")
    store.rereads = True
    store.expire(121.0)
    agents.mono = 121.0
    agent = agents.see("/a", "x")
    assert not store.has_unrecorded
    store.confirm([agent.key], 121.0)
    assert store.counts(121.0) == AgentCounts(active=1)
    due = store.next_deadline()
    assert due is not None
    assert due <= 241.0
    store.expire(242.0)
    assert store.take_unrecorded(242.0) == [agent.key], "its next silence is asked about anew"
