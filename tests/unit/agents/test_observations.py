"""Test that what several sources tell of one agent is joined and counted once, against a naive model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from agents import REDIS, Agents, source
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.source import SourceName, SourceState
from coordd.model import AgentCounts
from coordd.runtime.clocks import ObservedClock

TIMEOUT = 120.0
A, B = source("/a"), source("/b")
SESSIONS = SourceName("claude-code", "/home/u")
"""A source that names the workspace of each agent by itself, or none."""
SOURCES = (A, B, REDIS, SESSIONS)
RANKS = {A: 0, B: 0, REDIS: 1, SESSIONS: 2}
IDS = ("x", "y")
places = st.tuples(st.sampled_from(SOURCES), st.sampled_from(IDS))
ages = st.none() | st.integers(min_value=0, max_value=16 * 300).map(lambda n: n / 16)

Groups = dict[AgentKey, list[Observation]]


def agents_of(known: dict[ObservationKey, Observation]) -> Groups:
    """Return the agents by the naive rule, each with the observations behind it."""
    found: Groups = {}
    for one in known.values():
        if one.workspace != NO_WORKSPACE:
            found.setdefault(one.key, []).append(one)
    homes = {key: list(group) for key, group in found.items()}
    for one in known.values():
        if one.workspace == NO_WORKSPACE:
            keys = [key for key in homes if key.agent_id == one.agent_id]
            awake = [key for key in keys if not all(other.dormant for other in homes[key])] or keys
            found.setdefault(awake[0] if len(awake) == 1 else one.key, []).append(one)
    return found


def shape(groups: Groups) -> dict[AgentKey, set[ObservationKey]]:
    return {key: {one.place for one in group} for key, group in groups.items()}


class Model(RuleBasedStateMachine):
    """Let observations come, go, age, be forgotten and be lost in any order."""

    def __init__(self) -> None:
        super().__init__()
        sessions = SourceState(SESSIONS, ObservedClock(), rank=RANKS[SESSIONS], holds_tasks=False)
        self.agents = Agents("/b", "", "/a", states=[sessions])
        self.store = self.agents.store
        self.known: dict[ObservationKey, Observation] = {}
        self.told: set[AgentKey] = set()
        self.store.on_change = self.told.add

    @property
    def mono(self) -> float:
        return self.agents.mono

    def evidence(self, one: Observation) -> Evidence:
        clock = self.agents.clock(one.source)
        return one.evidence(clock.now(self.mono), timeout=TIMEOUT, readable=clock.readable, mono=0.0)

    def silence(self, observations: list[Observation]) -> float | None:
        silences = [self.evidence(one).silence for one in observations]
        return min((silence for silence in silences if silence is not None), default=None)

    def verdict(self, observations: list[Observation]) -> Verdict:
        readable = all(self.evidence(one).readable for one in observations)
        return judge(Evidence(silence=self.silence(observations), timeout=TIMEOUT, readable=readable))

    def shown(self) -> Groups:
        """Return the agents that are to be shown."""
        groups = agents_of(self.known)
        return {key: group for key, group in groups.items() if not all(one.dormant for one in group)}

    @rule(place=places, age=ages, workspace=st.sampled_from(("/a", "/b", "/c", NO_WORKSPACE)))
    def put(self, place: ObservationKey, age: float | None, workspace: str) -> None:
        named = workspace if place[0] == SESSIONS else None
        self.change(place, self.agents.observation(*place, age, workspace=named))

    @rule(place=places)
    def fall_dormant(self, place: ObservationKey) -> None:
        if place in self.known:
            self.change(place, replace(self.known[place], dormant=True))

    @rule(place=places)
    def remove(self, place: ObservationKey) -> None:
        self.change(place, None)

    def change(self, place: ObservationKey, one: Observation | None) -> None:
        """Check that what is touched are the agents whose observations change, and that one hears of them."""
        before, shown = shape(agents_of(self.known)), self.shown().keys()
        self.told.clear()
        if one is None:
            self.known.pop(place, None)
            touched = self.agents.remove(*place)
        else:
            self.known[place] = one
            touched = self.agents.put(one)
        after = shape(agents_of(self.known))
        expected = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if one is not None:
            expected |= {key for key, group in after.items() if place in group}
        assert touched == expected
        assert self.told >= shown ^ self.shown().keys()

    @rule(seconds=st.integers(min_value=1, max_value=130))
    def wait(self, seconds: int) -> None:
        self.agents.mono += seconds

    @rule(name=st.sampled_from(SOURCES))
    def lost(self, name: SourceName) -> None:
        self.agents.lose(name)

    @rule(name=st.sampled_from(SOURCES))
    def regained(self, name: SourceName) -> None:
        self.agents.regain(name)

    @rule()
    def record_what_is_outdated(self) -> None:
        for key in self.store.take_unrecorded(self.mono):
            agent = self.store.get(key)
            assert agent is not None
            now = self.store.look(agent, self.mono)
            assert now.verdict.status != agent.verdict.status
            self.store.show(agent.recorded(now.verdict, "verdict", now.doing), self.mono)
        assert not self.store.has_unrecorded

    @invariant()
    def every_agent_is_shown_once(self) -> None:
        groups = self.shown()
        shown = list(self.store.shown(self.mono))
        assert [one.agent.key for one in shown] == sorted(groups)
        for one in shown:
            group = groups[one.agent.key]
            assert one.verdict == self.verdict(group)
            assert set(one.agent.observations) == set(group)
            ranks = [RANKS[seen.source] for seen in one.agent.observations]
            assert ranks == sorted(ranks)
            assert one.agent.sources == tuple(
                dict.fromkeys(seen.source.kind for seen in one.agent.observations)
            )
            assert (one.age is None) == all(seen.beat_at is None for seen in group)
            assert one.evidence.silence == self.silence(group)
            assert self.store.status_of(one.agent.key) == one.verdict.status
            assert [seen.observation for seen in self.store.look_at_sources(one.agent, self.mono)] == list(
                one.agent.observations
            )
        assert self.store.counts(self.mono) == AgentCounts(
            **Counter(self.verdict(group).status for group in groups.values())
        )
        assert len(self.store) == len(groups)

    @invariant()
    def each_observation_is_of_the_agent_that_its_key_names(self) -> None:
        groups = agents_of(self.known)
        for key, group in groups.items():
            assert set(self.agents.observations.of_agent(key)) == set(group)
            for one in group:
                assert self.agents.observations.key_of(one) == key
                assert self.agents.observations.of_source(one.source)[one.agent_id] is one
        for agent_id in IDS:
            for path in (NO_WORKSPACE, "/a", "/b", "/c"):
                if (path, agent_id) not in groups:
                    assert self.agents.observations.of_agent(AgentKey(path, agent_id)) == ()

    @invariant()
    def each_source_has_what_it_sees(self) -> None:
        for name in SOURCES:
            mine = {one.agent_id: one for place, one in self.known.items() if place[0] == name}
            assert self.agents.observations.of_source(name) == mine

    @invariant()
    def a_name_is_resolved_to_the_agent_that_is_shown(self) -> None:
        groups = self.shown()
        for path in (NO_WORKSPACE, "/a", "/b", "/c"):
            for agent_id in IDS:
                key = self.store.resolve(path, agent_id)
                assert (self.store.status_of(key) is not None) == (key in groups)
                alike = [shown for shown in groups if shown.agent_id == agent_id]
                free = [shown for shown in alike if any(not one.workspace for one in groups[shown])]
                if (path, agent_id) in groups:
                    assert key == (path, agent_id)
                elif free:
                    assert key in free
                elif path == NO_WORKSPACE and len(alike) == 1:
                    assert key == alike[0]
                else:
                    assert key == (path, agent_id)
                assert {agent.key for agent in self.store.named(agent_id)} == set(alike)

    @invariant()
    def the_workspaces_of_an_agent_are_those_of_its_sources_that_hold_tasks(self) -> None:
        for key, group in self.shown().items():
            holding = {A: "/a", B: "/b", REDIS: NO_WORKSPACE}
            expected = {holding[one.source] for one in group if one.source in holding}
            assert set(self.store.workspaces_of(key)) == expected

    @invariant()
    def no_deadline_is_missed(self) -> None:
        due = self.store.next_deadline()
        for key, group in self.shown().items():
            silence = self.silence(group)
            if self.verdict(group).status == "active" and silence is not None:
                assert due is not None, key
                assert due <= self.mono + max(0.001, TIMEOUT - silence) + 1e-9


TestObservations: Any = Model.TestCase
TestObservations.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)


def test_a_source_is_forgotten_once_nothing_of_it_is_left() -> None:
    agents = Agents("", "/a")
    agents.see("/a", "x")
    agents.see("", "x")
    agents.observations.drop_source(A)
    assert agents.observations.of_source(A).keys() == {"x"}
    assert agents.remove(A, "x") == {("/a", "x"), ("", "x")}
    agents.observations.drop_source(A)
    agents.observations.add_source(A)
    assert agents.see("/a", "x").sources == ("file", "redis")
