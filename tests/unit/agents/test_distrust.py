"""Test when the pids in a workspace's registrations are distrusted, and what restores trust."""

from __future__ import annotations

from coordd.agents.distrust import ON_ITS_WAY, Distrust
from coordd.host.process_facts import Process

W = "/p"
SHELL, GOOD = Process(7, 1), Process(8, 1)


def distrusting() -> Distrust:
    """A workspace in which agent ``a`` registered a shell, and beat after its end."""
    state = Distrust()
    state.alive(W, "a", SHELL)
    state.ended(W, "a", SHELL, 100.0)
    assert state.beat(W, "a", 130.0) == "disproved"
    return state


def test_a_workspace_is_trusted_at_first_and_after_orderly_ends() -> None:
    state = Distrust()
    assert state.trusted(W)
    assert state.beat(W, "a", 1.0) is None
    state.alive(W, "a", SHELL)
    for at in range(10):
        assert state.beat(W, "a", float(at)) is None
    state.ended(W, "a", SHELL, 100.0)
    assert state.trusted(W)


def test_a_beat_after_the_end_proves_that_it_was_not_the_agents() -> None:
    state = distrusting()
    assert not state.trusted(W)
    assert state.trusted("/other")
    assert state.beat(W, "a", 160.0) is None  # said once


def test_a_beat_that_was_on_its_way_proves_nothing() -> None:
    state = Distrust()
    state.alive(W, "a", SHELL)
    state.ended(W, "a", SHELL, 100.0)
    assert state.beat(W, "a", 99.0) is None
    assert state.beat(W, "a", 100.0 + ON_ITS_WAY) is None
    assert state.trusted(W)
    assert state.beat(W, "a", 100.1 + ON_ITS_WAY) == "disproved"


def test_an_agent_started_again_with_another_process_proves_nothing() -> None:
    state = Distrust()
    state.alive(W, "a", SHELL)
    state.ended(W, "a", SHELL, 100.0)
    state.alive(W, "a", GOOD)
    assert state.beat(W, "a", 130.0) is None
    state.ended(W, "a", SHELL, 131.0)  # the former one again: it is done with
    assert state.beat(W, "a", 160.0) is None
    assert state.trusted(W)


def test_trust_is_back_when_one_process_lived_through_three_beats_since_then() -> None:
    state = Distrust()
    state.alive(W, "good", GOOD)
    for at in range(10):
        state.beat(W, "good", float(at))  # these came before
    state.alive(W, "a", SHELL)
    state.ended(W, "a", SHELL, 100.0)
    assert state.beat(W, "a", 130.0) == "disproved"
    assert [state.beat(W, "good", at) for at in (131.0, 161.0)] == [None, None]
    assert not state.trusted(W)
    assert state.beat(W, "good", 191.0) == "restored"
    assert state.trusted(W)
    assert state.beat(W, "good", 221.0) is None


def test_beats_of_several_agents_do_not_add_up() -> None:
    state = distrusting()
    for number in range(5):
        state.alive(W, f"b{number}", Process(100 + number, 1))
        assert state.beat(W, f"b{number}", 200.0) is None
        assert state.beat(W, f"b{number}", 230.0) is None
    assert not state.trusted(W)


def test_shells_that_register_and_go_never_restore_it() -> None:
    state = distrusting()
    for number in range(10):
        process = Process(100 + number, 1)
        at = 200.0 + 100 * number
        state.alive(W, "a", process)
        state.beat(W, "a", at)
        state.ended(W, "a", process, at + 1)
        assert state.beat(W, "a", at + 30) == "disproved"
        assert not state.trusted(W)


def test_the_same_process_named_again_keeps_its_beats() -> None:
    state = distrusting()
    for at in (200.0, 230.0):
        state.alive(W, "b", GOOD)
        state.beat(W, "b", at)
    state.alive(W, "b", GOOD)
    assert state.beat(W, "b", 260.0) == "restored"


def test_what_is_forgotten_proves_nothing() -> None:
    state = Distrust()
    state.alive(W, "a", SHELL)
    state.ended(W, "a", SHELL, 100.0)
    state.forget(W, "a")
    state.forget(W, "a")
    assert state.beat(W, "a", 130.0) is None
    state = distrusting()
    state.forget_workspace(W)
    assert state.trusted(W)


def test_no_more_is_kept_than_allowed() -> None:
    state = Distrust(most=10)
    for number in range(100):
        workspace = f"/{number % 7}"
        state.alive(workspace, str(number), Process(number, 1))
        state.ended(workspace, str(number), Process(number, 1), 1.0)
        if number % 3 == 0:
            state.beat(workspace, str(number), 100.0)
        kept = sum(len(found.agents) for found in state._workspaces.values())
        assert state._count == kept <= 10
    for number in range(100):
        state.alive(f"/w{number}", "a", SHELL)
        state.ended(f"/w{number}", "a", SHELL, 1.0)
        assert state.beat(f"/w{number}", "a", 100.0) == "disproved"
        assert len(state._workspaces) <= 11
