"""The id that the agent of a process has, and whose traces name a session."""

from __future__ import annotations

import pytest

from coordd.host.process_facts import Process
from coordd.sources.claude_code.identity import Holder, agent_id_of, session_of, ties

P1, P2, P3 = Process(10, 100), Process(11, 200), Process(9, 300)


def test_a_process_alone_is_its_session() -> None:
    assert agent_id_of(P1, "s", []) == "s"
    assert agent_id_of(P2, "s", [Holder(P1, "a", "a")]) == "s"


def test_the_second_process_of_a_session_is_told_apart() -> None:
    assert agent_id_of(P2, "s", [Holder(P1, "s", "s")]) == "s~11"


def test_an_id_that_a_living_process_keeps_is_not_given_again() -> None:
    assert agent_id_of(P2, "s", [Holder(P1, "s", "after-clear")]) == "s~11"


def test_the_second_process_of_a_session_that_the_first_went_on_in_is_told_apart() -> None:
    assert agent_id_of(P2, "t", [Holder(P1, "s", "t")]) == "t~11"


def test_the_first_process_of_a_session_is_meant_by_its_id() -> None:
    one, two = Holder(P1, "s", "s"), Holder(P2, "s~11", "s")
    assert (ties(one, [two, one]), ties(two, [one, two])) == (True, False)
    alone = Holder(P2, "s~11", "s")
    assert ties(alone, [Holder(P1, "s", "after-clear"), alone])
    assert ties(Holder(P3, "x", "x"), [one, two])


@pytest.mark.parametrize(("agent_id", "session"), [("s", "s"), ("s~11", "s"), ("~1", "~1")])
def test_a_session_is_known_by_its_agents_id(agent_id: str, session: str) -> None:
    assert session_of(agent_id) == session
