"""The id that the agent of a process has, and whose traces name a session."""

from __future__ import annotations

import pytest

from coordd.host.process_facts import Process
from coordd.sources.claude_code.identity import Holder, Holders, session_of

P1, P2, P3 = Process(10, 100), Process(11, 200), Process(9, 300)


def holders(*those: Holder) -> Holders:
    made = Holders()
    for one in those:
        made.put(one)
    return made


def test_a_process_alone_is_its_session() -> None:
    assert holders().agent_id_of(P1, "s") == "s"
    assert holders(Holder(P1, "a", "a")).agent_id_of(P2, "s") == "s"


def test_the_second_process_of_a_session_is_told_apart() -> None:
    made = holders(Holder(P1, "s", "s"))
    assert made.agent_id_of(P2, "s") == "s~11"
    made.drop(P1)
    assert made.agent_id_of(P2, "s") == "s"


def test_an_id_that_a_living_process_keeps_is_not_given_again() -> None:
    assert holders(Holder(P1, "s", "after-clear")).agent_id_of(P2, "s") == "s~11"


def test_the_second_process_of_a_session_that_the_first_went_on_in_is_told_apart() -> None:
    assert holders(Holder(P1, "s", "t")).agent_id_of(P2, "t") == "t~11"


def test_the_first_process_of_a_session_is_meant_by_its_id() -> None:
    made = holders(Holder(P2, "s~11", "s"), Holder(P1, "s", "s"))
    assert (made.first("s"), made.within("s"), len(made)) == (P1, {P1, P2}, 2)
    made.put(Holder(P1, "s", "after-clear"))
    assert (made.first("s"), made.first("after-clear")) == (P2, P1)
    assert (made.first("x"), made.within("x")) == (None, set())


def test_only_sessions_in_which_processes_come_or_go_are_touched() -> None:
    made = holders(Holder(P1, "s", "s"), Holder(P2, "a", "a"))
    made.touched.clear()
    made.put(Holder(P1, "s", "s"))
    assert made.touched == set()
    made.put(Holder(P1, "s", "t"))
    assert made.touched == {"s", "t"}
    made.touched.clear()
    made.drop(P2)
    made.drop(P3)
    assert (made.touched, len(made)) == ({"a"}, 1)


@pytest.mark.parametrize(("agent_id", "session"), [("s", "s"), ("s~11", "s"), ("~1", "~1")])
def test_a_session_is_known_by_its_agents_id(agent_id: str, session: str) -> None:
    assert session_of(agent_id) == session
