"""Test which observations are of one agent: the table of rules, whatever the order of the observations."""

from __future__ import annotations

from dataclasses import replace

from agents import REDIS, source
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.hooks import KIND as HOOKED
from coordd.agents.hooks import Hooks
from coordd.agents.identity import RULES, agents_among, without_strangers
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.observation import Observation
from coordd.agents.seen_process import SeenProcess
from coordd.agents.session import Session
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentTraces, Registration
from coordd.host.process_facts import Process

A, B, SESSIONS = source("/a"), source("/b"), SourceName("claude-code", "/home/u")
OTHERS = [SourceName("codex", "/home/u"), SourceName("codex", "/home/v")]
OWN = {A: "/a", B: "/b", REDIS: NO_WORKSPACE}


def seen(name: SourceName, workspace: str | None = None, *, agent: str = "x", **fields: bool) -> Observation:
    return Observation(name, AgentKey(OWN[name] if workspace is None else workspace, agent), None, **fields)


def groups(*observations: Observation) -> dict[AgentKey, list[SourceName]]:
    return {key: [one.source for one in group] for key, group in agents_among(observations).items()}


def test_the_rules_are_numbered_in_their_order_and_say_when_they_join() -> None:
    assert [rule.number for rule in RULES] == [*range(1, len(RULES) + 1)]
    assert all(rule.when for rule in RULES)


def test_what_names_the_same_workspace_and_id_is_one_agent() -> None:
    assert groups(seen(A), seen(SESSIONS, "/a")) == {("/a", "x"): [A, SESSIONS]}
    assert groups(seen(A), seen(SESSIONS, "/b")) == {("/a", "x"): [A], ("/b", "x"): [SESSIONS]}
    assert groups(seen(A), seen(SESSIONS, "/a", agent="y")) == {("/a", "x"): [A], ("/a", "y"): [SESSIONS]}


def test_what_names_no_workspace_is_the_only_agent_with_its_id() -> None:
    assert groups(seen(REDIS)) == {("", "x"): [REDIS]}
    assert groups(seen(A), seen(REDIS)) == {("/a", "x"): [A, REDIS]}
    assert groups(seen(A), seen(REDIS, agent="y")) == {("/a", "x"): [A], ("", "y"): [REDIS]}
    assert groups(seen(A), seen(B), seen(REDIS)) == {("/a", "x"): [A], ("/b", "x"): [B], ("", "x"): [REDIS]}


def test_all_that_name_no_workspace_stay_together() -> None:
    assert groups(seen(REDIS), seen(SESSIONS, NO_WORKSPACE)) == {("", "x"): [REDIS, SESSIONS]}
    assert groups(seen(A), seen(REDIS), seen(SESSIONS, NO_WORKSPACE)) == {("/a", "x"): [A, REDIS, SESSIONS]}
    assert groups(seen(A), seen(REDIS), seen(SESSIONS, "/a")) == {("/a", "x"): [A, REDIS, SESSIONS]}


def test_a_forgotten_agent_is_a_home_only_where_there_is_no_other() -> None:
    asleep = seen(A, dormant=True)
    assert groups(asleep, seen(REDIS)) == {("/a", "x"): [A, REDIS]}
    assert groups(asleep, seen(B), seen(REDIS)) == {("/a", "x"): [A], ("/b", "x"): [B, REDIS]}
    awake_elsewhere = seen(SESSIONS, "/a")
    assert groups(asleep, awake_elsewhere, seen(B), seen(REDIS)) == {
        ("/a", "x"): [A, SESSIONS],
        ("/b", "x"): [B],
        ("", "x"): [REDIS],
    }


observations = st.lists(
    st.builds(
        seen,
        st.sampled_from([A, B, REDIS, SESSIONS, *OTHERS]),
        st.sampled_from(["/a", "/b", NO_WORKSPACE]),
        agent=st.sampled_from("xy"),
        dormant=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda one: one.place,
)


@settings(deadline=None)
@given(observations, st.data())
def test_the_order_in_which_they_came_decides_nothing(found: list[Observation], data: st.DataObject) -> None:
    agents = agents_among(found)
    again = agents_among(data.draw(st.permutations(found)))
    assert {key: set(group) for key, group in agents.items()} == {
        key: set(group) for key, group in again.items()
    }
    assert sorted(one.place for group in agents.values() for one in group) == sorted(
        one.place for one in found
    )
    for group in agents.values():  # each in the order given
        assert list(group) == [one for one in found if one in group]


@settings(deadline=None)
@given(observations)
def test_those_that_say_where_they_work_are_of_that_agent_and_no_other(found: list[Observation]) -> None:
    for key, group in agents_among(found).items():
        assert {one.workspace for one in group} <= {key.workspace, NO_WORKSPACE}
        assert {one.agent_id for one in group} == {key.agent_id}


HOOKS = SourceName("hooks", "/home/u/.local/state/coordd/hooks")


def hooked(name: SourceName, workspace: str, session: str, **fields: object) -> Observation:
    traces = AgentTraces(session, hooks=Hooks(session, stop=1.0), **fields)  # type: ignore[arg-type]
    return Observation(name, AgentKey(workspace, session), traces)


def in_session(workspace: str, session: str, *, agent: str, ties: bool = True) -> Observation:
    told = Session(HOOKED, session, Process(7, 7), ties=ties)
    return Observation(SESSIONS, AgentKey(workspace, agent), AgentTraces(agent, session=told))


def test_hooks_of_a_session_are_of_its_agent_in_whatever_workspace() -> None:
    session = in_session("/a", "s", agent="s")
    assert groups(session, hooked(HOOKS, NO_WORKSPACE, "s")) == {("/a", "s"): [SESSIONS, HOOKS]}
    assert groups(hooked(A, "/a", "s"), session) == {("/a", "s"): [A, SESSIONS]}
    everywhere = groups(hooked(A, "/a", "s"), hooked(B, "/b", "s"), hooked(HOOKS, NO_WORKSPACE, "s"))
    assert everywhere == {("/a", "s"): [A, B, HOOKS]}


def test_the_session_knows_better_than_hooks_where_it_works_and_what_it_is_called() -> None:
    """After ``/clear`` hooks know it by its new id, and they write where it began."""
    session = in_session("/b", "second", agent="first")
    assert groups(hooked(A, "/a", "second"), session) == {("/b", "first"): [A, SESSIONS]}
    assert groups(session, hooked(HOOKS, NO_WORKSPACE, "second")) == {("/b", "first"): [SESSIONS, HOOKS]}


def test_a_project_says_nothing_of_a_session_that_works_elsewhere() -> None:
    session = in_session("/b", "s", agent="s")
    there, here, users = hooked(A, "/a", "s"), hooked(B, "/b", "s"), hooked(HOOKS, NO_WORKSPACE, "s")
    assert without_strangers([there, here, users, session]) == [here, users, session]
    assert without_strangers([there, here, users]) == [there, here, users], "nobody knows where it works"
    assert session.traces is not None
    assert session.traces.session is not None
    of_project = replace(session.traces, session=replace(session.traces.session, project="/a"))
    assert without_strangers([there, replace(session, traces=of_project)]) != [session]
    unplaced = replace(session, key=AgentKey(NO_WORKSPACE, "s"))
    assert without_strangers([there, unplaced]) == [there, unplaced]
    of_process = replace(there, process=SeenProcess(Process(7, 7)))
    placed = replace(session, process=SeenProcess(Process(7, 7)))
    assert without_strangers([of_process, placed]) == [of_process, placed]


def test_a_registration_elsewhere_moves_no_session() -> None:
    session = in_session("/b", "s", agent="s")
    registered = hooked(A, "/a", "s", registration=Registration())
    assert groups(registered, session) == {("/b", "s"): [A, SESSIONS]}


def test_hooks_are_not_of_a_process_that_the_session_does_not_mean() -> None:
    other = in_session("/a", "s", agent="s~9", ties=False)
    assert groups(other, hooked(HOOKS, NO_WORKSPACE, "s")) == {("/a", "s~9"): [SESSIONS], ("", "s"): [HOOKS]}


def test_of_what_hooks_alone_tell_the_workspace_counts() -> None:
    assert groups(hooked(A, "/a", "s"), hooked(HOOKS, NO_WORKSPACE, "s")) == {("/a", "s"): [A, HOOKS]}
    assert groups(hooked(HOOKS, NO_WORKSPACE, "s")) == {("", "s"): [HOOKS]}
    assert groups(hooked(HOOKS, NO_WORKSPACE, "s"), hooked(HOOKS, NO_WORKSPACE, "t")) == {
        ("", "s"): [HOOKS],
        ("", "t"): [HOOKS],
    }


def test_an_id_that_a_registration_chose_stays() -> None:
    registered = Observation(A, AgentKey("/a", "chosen"), None, process=SeenProcess(Process(7, 7)))
    session = replace(in_session("/a", "s", agent="s"), process=SeenProcess(Process(7, 7)))
    found = groups(registered, session, hooked(HOOKS, NO_WORKSPACE, "s"))
    assert found == {("/a", "chosen"): [A, SESSIONS, HOOKS]}
