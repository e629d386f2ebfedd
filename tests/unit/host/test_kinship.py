"""Test which sessions and groups of processes name an agent, as what all in them descends from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coordd.host.forest import NOTHING, Survey, survey
from coordd.host.kinship import NO_KINSHIP
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse

ROOT, INNER = Process(10, 100), Process(20, 300)


def use(
    pid: int,
    parent: int = 1,
    *,
    session: int = 5,
    group: int = 5,
    start: int = 200,
    terminal: int | None = None,
) -> ProcessUse:
    return ProcessUse(pid, start, parent, 1.0, 10, terminal, session=session, group=group)


def agent(*, session: int = 5, group: int = 5) -> ProcessUse:
    return use(10, 5, session=session, group=group, start=100)


def passed(*uses: ProcessUse, before: Survey | None = None, agents: tuple[Process, ...] = (ROOT,)) -> Survey:
    remembered = NOTHING if before is None else before.remembered
    return survey([ProcessUse(1, 1, 0, 0.0, 0), *uses], {}, agents=agents, remembered=remembered)


def root_of(found: Survey, one: ProcessUse) -> Process | None:
    return found.remembered.kinship.root_of(one)


def test_a_session_that_was_begun_below_an_agent_is_its_own() -> None:
    found = passed(agent(), use(11, 10, session=11, group=11), use(12, 11, session=11, group=12))
    assert root_of(found, use(30, session=11, group=31)) == ROOT
    assert root_of(found, use(30, session=40, group=12)) == ROOT
    assert root_of(found, use(30, session=11, group=11, start=50)) is None, "it is older than the agent"
    assert root_of(found, use(30)) is None, "that is the session of whoever started the agent"


def test_what_the_agent_itself_leads_is_its_own() -> None:
    found = passed(agent(session=10, group=10))
    assert root_of(found, use(30, session=10, group=10)) == ROOT
    found = passed(agent(group=10))
    assert root_of(found, use(30, group=10)) == ROOT
    assert root_of(found, use(30)) is None


def test_it_is_remembered_after_all_have_ended_that_were_seen_and_the_agent_too() -> None:
    first = passed(agent(), use(11, 10, session=11, group=11))
    second = passed(use(30, session=11, group=11, start=400), before=first, agents=())
    assert root_of(second, use(30, session=11, group=11, start=400)) == ROOT
    third = passed(before=second, agents=())
    assert third.remembered.kinship == NO_KINSHIP, "nothing is left of it"


def test_a_number_that_was_used_again_names_nobody() -> None:
    first = passed(agent(), use(11, 10, session=11, group=11))
    again = use(11, session=11, group=11, start=900)
    second = passed(agent(), again, use(30, 11, session=11, group=11, start=901), before=first)
    assert root_of(second, use(30, session=11, group=11, start=901)) is None


def test_what_two_agents_share_is_nobodys() -> None:
    inner = use(20, 11, session=11, group=11, start=300)
    found = passed(agent(), use(11, 10, session=11, group=11), inner, agents=(ROOT, INNER))
    assert root_of(found, use(30, session=11, group=11, start=400)) is None
    leads = use(20, 11, session=20, group=20, start=300)
    found = passed(agent(), use(11, 10, session=11, group=11), leads, agents=(ROOT, INNER))
    assert root_of(found, use(30, session=11, group=11, start=400)) == ROOT
    assert root_of(found, use(30, session=20, group=20, start=400)) == INNER


small = st.integers(1, 12)
some = st.lists(
    st.builds(ProcessUse, small, small, small, st.just(1.0), st.just(1), session=small, group=small),
    max_size=12,
    unique_by=lambda one: one.pid,
)


@given(st.lists(some, max_size=4), st.sets(st.builds(Process, small, small), max_size=3))
def test_whatever_is_passed_names_only_agents_and_is_bounded_by_what_lives(
    passes: list[list[ProcessUse]], agents: set[Process]
) -> None:
    remembered = NOTHING
    for uses in passes:
        remembered = survey(uses, {}, agents=agents, remembered=remembered).remembered
        assert set(remembered.kinship.sessions) <= {one.session for one in uses}
        assert set(remembered.kinship.groups) <= {one.group for one in uses}
        assert {*remembered.kinship.sessions.values(), *remembered.kinship.groups.values()} <= agents
