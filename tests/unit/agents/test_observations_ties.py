"""Test which observations are of one agent where processes and sessions tie them, against the plain rules.

What is remembered from one change to the next has to be what the rules say of all observations at once.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from agents import REDIS, source
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coordd.agents.beats import Restored
from coordd.agents.identity import agents_among
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.observations import Observations
from coordd.agents.seen_process import End, SeenProcess
from coordd.agents.session import Session
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces
from coordd.host.process_facts import Process

FILES, CLAUDE, CODEX = source("/a"), SourceName("claude-code", "/home/u"), SourceName("codex", "/home/u")
RANKS = {FILES: 0, REDIS: 1, CLAUDE: 2, CODEX: 2}
IDS = ("v", "w", "x", "y", "z")

Known = dict[ObservationKey, Observation]
Agents = dict[AgentKey, tuple[ObservationKey, ...]]


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Return an observation that names whatever its source can, and carries whatever mark it had before."""
    name, agent_id = draw(st.sampled_from((*RANKS,))), draw(st.sampled_from(IDS))
    process = draw(st.none() | st.integers(1, 3).map(lambda pid: SeenProcess(Process(pid, 10 * pid))))
    if process is not None:
        end = draw(st.sampled_from((None, None, End(True, 1.0, 1.0))))
        process = replace(process, end=end, clear=draw(st.booleans()), shared=draw(st.booleans()))
    session = None
    if name in (CLAUDE, CODEX):
        named = process.process if process else None
        session = Session(
            name.kind, draw(st.sampled_from(("s", "t"))), process=named, ties=draw(st.booleans())
        )
    workspace = {FILES: "/a", REDIS: NO_WORKSPACE}.get(name)
    if workspace is None:
        workspace = draw(st.sampled_from(("/a", "/b", NO_WORKSPACE)))
    restored = draw(st.booleans())
    return Observation(
        source=name,
        key=AgentKey(workspace, agent_id),
        traces=None if restored else AgentTraces(agent_id, session=session),
        restored=Restored(session=session) if restored else None,
        dormant=draw(st.booleans()),
        process=process,
    )


def held(ones: Iterable[Observation]) -> Observations:
    """Return these observations as they are held after they came in this order."""
    found = Observations()
    for name, rank in RANKS.items():
        found.add_source(name, rank)
    for one in ones:
        found.put(one)
    return found


def marked(known: Known) -> list[Observation]:
    """Return all observations in the order of their ranks, each process marked as shared where it is."""
    named = Counter((one.source, one.process.process) for one in known.values() if one.process)
    return [
        replace(one, process=replace(one.process, shared=named[one.source, one.process.process] > 1))
        if one.process
        else one
        for one in sorted(known.values(), key=lambda one: (RANKS[one.source], one.place))
    ]


def by_the_rules(known: Known) -> Agents:
    return {key: tuple(one.place for one in group) for key, group in agents_among(marked(known)).items()}


def agents_in(found: Observations, known: Known) -> Agents:
    keys = {found.key_of(one) for place in known if (one := found.find(place))}
    return {key: tuple(one.place for one in found.of_agent(key)) for key in keys}


class Model(RuleBasedStateMachine):
    """Let observations come, change and go in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Known = {}
        self.found = held(())

    @rule(one=observations())
    def put(self, one: Observation) -> None:
        before, self.known[one.place] = by_the_rules(self.known), one
        self.check(before, self.found.put(one))
        assert self.found.key_of(one) in self.found.put(one)

    @rule(place=st.tuples(st.sampled_from((*RANKS,)), st.sampled_from(IDS)))
    def remove(self, place: ObservationKey) -> None:
        before = by_the_rules(self.known)
        self.known.pop(place, None)
        self.check(before, self.found.remove(*place))

    def check(self, before: Agents, touched: set[AgentKey]) -> None:
        """Check that every agent is told of whose observations are others now."""
        after = by_the_rules(self.known)
        assert touched >= {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}

    @invariant()
    def the_agents_are_those_that_the_rules_make_of_all_observations(self) -> None:
        assert agents_in(self.found, self.known) == by_the_rules(self.known)

    @invariant()
    def each_observation_is_of_exactly_one_agent(self) -> None:
        places = [place for group in agents_in(self.found, self.known).values() for place in group]
        assert sorted(places) == sorted(self.known)

    @invariant()
    def what_is_held_is_what_came_with_shared_processes_marked(self) -> None:
        for one in marked(self.known):
            assert self.found.find(one.place) == one

    @invariant()
    def no_key_is_an_agent_but_those(self) -> None:
        keys = by_the_rules(self.known).keys()
        for workspace in ("/a", "/b", NO_WORKSPACE):
            for agent_id in IDS:
                key = AgentKey(workspace, agent_id)
                assert bool(self.found.of_agent(key)) == (key in keys)


TestTies: Any = Model.TestCase
TestTies.settings = settings(deadline=None, max_examples=200, stateful_step_count=30)


@given(st.lists(observations(), max_size=12, unique_by=lambda one: one.place), st.randoms())
def test_the_order_in_which_observations_come_does_not_matter(ones: list[Observation], random: Any) -> None:
    known = {one.place: one for one in ones}
    first = agents_in(held(ones), known)
    random.shuffle(ones)
    assert agents_in(held(ones), known) == first == by_the_rules(known)


@given(st.lists(observations(), max_size=12, unique_by=lambda one: one.place))
def test_several_ids_of_one_source_are_never_joined_by_a_process(ones: list[Observation]) -> None:
    """Nothing here but a process could join them: no sessions, and each id is its own."""
    plain = [replace(one, traces=AgentTraces(one.agent_id), restored=None) for one in ones]
    of_one = [one for one in plain if one.source == FILES and one.process is not None]
    found = held(of_one)
    for one, other in pairwise(of_one):
        assert found.key_of(one) != found.key_of(other)


def steps_of(work: Callable[[], object]) -> int:
    """Return how many steps the interpreter takes: what grows with what is looked at."""
    count = 0

    def note(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def own(
    agent_id: str, name: SourceName = FILES, pid: int | None = None, session: str | None = None
) -> Observation:
    process = SeenProcess(Process(pid, 1)) if pid else None
    of = Session(name.kind, session, process=process.process if process else None) if session else None
    workspace = NO_WORKSPACE if name == REDIS else "/a"
    return Observation(
        name, AgentKey(workspace, agent_id), AgentTraces(agent_id, session=of), process=process
    )


SHAPES: dict[str, Callable[[int], list[Observation]]] = {
    "with nothing": lambda n: [own(f"{n}")],
    "with a process": lambda n: [own(f"{n}", pid=n + 10)],
    "of Redis": lambda n: [own(f"{n}", REDIS)],
    "with a session that registered": lambda n: [
        own(f"{n}", pid=n + 10),
        own(f"s{n}", CLAUDE, n + 10, f"{n}"),
    ],
    "of one shared process": lambda n: [own(f"{n}", pid=1)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "one",
    [own("new"), own("new", pid=2), own("new", CLAUDE, 2, "t"), own("new", pid=1), own("new", pid=11)],
    ids=["plain", "process", "session", "shared", "tied"],
)
def test_an_observation_costs_the_same_however_many_others_there_are(shape: str, one: Observation) -> None:
    cost(shape, 10, one)  # Python 3.12 and later trace no opcodes the first time that they are asked to
    few, many = cost(shape, 10, one), cost(shape, 1000, one)
    assert all(after < 1.5 * before for before, after in zip(few, many, strict=True)), (few, many)


def cost(shape: str, many: int, one: Observation) -> list[int]:
    """Return what it costs to put an observation, to change and to remove it, beside many others."""
    found = held(other for n in range(many) for other in SHAPES[shape](n))
    return [
        steps_of(lambda: found.put(one)),
        steps_of(lambda: found.put(replace(one, dormant=True))),
        steps_of(lambda: found.remove(*one.place)),
    ]
