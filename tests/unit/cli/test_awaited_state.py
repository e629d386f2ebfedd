"""Test when an agent has come into a state that somebody waits for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.awaited_state import HOLD, HOLD_WAITING, STATES, AwaitedState, Outcome

SEEN = "2026-11-22T06:05:00.000Z"


def agent(state: str, *, since: str = SEEN, **more: Any) -> dict[str, Any]:
    status, reason = ("inactive", state) if state in ("killed", "silent", "ended") else ("active", "process")
    activity = state if status == "active" else "unknown"
    return {
        "agent_id": "a",
        "status": status,
        "reason": reason,
        "activity": activity,
        "activity_since": since,
        "timestamp": SEEN,
        **more,
    }


@pytest.mark.parametrize(("state", "hold"), [("idle", HOLD), ("waiting", HOLD_WAITING), ("ended", 0.0)])
def test_a_state_counts_once_it_has_held(state: str, hold: float) -> None:
    awaited = AwaitedState(("idle", "waiting", "ended"))
    awaited.see(agent("working"), 10.0)
    assert awaited.outcome(1e6) is None
    awaited.see(agent(state), 100.0)
    if hold:
        assert awaited.outcome(100.0 + hold - 0.01) is None
        assert awaited.due(100.0) == hold
    assert awaited.outcome(100.0 + hold) == Outcome("reached", state)
    assert awaited.due(100.0 + hold) is None


def test_a_prompt_that_answers_itself_is_not_waited_for() -> None:
    awaited = AwaitedState(("waiting",))
    awaited.see(agent("waiting", waiting_for="permission prompt"), 0.0)
    awaited.see(agent("working"), HOLD_WAITING - 0.1)
    assert awaited.outcome(1000.0) is None
    awaited.see(agent("waiting", waiting_for="permission prompt"), 2000.0)
    assert awaited.outcome(2000.0 + HOLD_WAITING) == Outcome("reached", "waiting: permission prompt")


def test_a_further_record_of_the_same_state_does_not_begin_the_hold_anew() -> None:
    awaited = AwaitedState(("idle",))
    awaited.see(agent("idle"), 0.0)
    awaited.see(agent("idle"), HOLD - 0.1)
    assert awaited.outcome(HOLD) is not None


def test_what_the_daemon_has_seen_for_long_counts_at_once() -> None:
    awaited = AwaitedState(("idle",))
    awaited.see(agent("idle", since="2026-11-22T06:00:00.000Z"), 5.0)
    assert awaited.outcome(5.0) == Outcome("reached", "idle")


@pytest.mark.parametrize("state", ["killed", "silent", "ended"])
def test_who_is_gone_will_not_come(state: str) -> None:
    awaited = AwaitedState(("idle",))
    awaited.see(agent(state), 0.0)
    assert awaited.outcome(0.0) == Outcome("over", state)


def test_who_left_the_list_will_not_come_either() -> None:
    awaited = AwaitedState(("ended",))
    awaited.see(agent("working"), 0.0)
    awaited.see(None, 1.0)
    assert awaited.outcome(1.0) == Outcome("over", "gone")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"activity": "working"}, "is working"),
        ({"activity": "waiting", "waiting_for": "permission prompt"}, "is waiting (permission prompt)"),
        ({"activity": "unknown"}, "is active"),
        ({"status": "unknown", "reason": "quiet"}, "is unknown (nothing new since its last hook)"),
        ({"status": "unknown", "reason": "quiet", "activity": "waiting"}, "is waiting"),
        ({"status": "unknown", "reason": "unreachable"}, "is unknown (its source cannot be read)"),
        ({"status": "inactive", "reason": "killed"}, "was killed"),
        ({"status": "inactive", "reason": "silent"}, "has fallen silent"),
        ({"status": "inactive", "reason": "ended"}, "has ended"),
        ({"status": "inactive", "reason": "abducted"}, "is inactive"),
        ({"activity": "idle"}, "is idle, for less than 1 s"),
    ],
)
def test_what_it_does_is_a_sentence(fields: dict[str, Any], words: str) -> None:
    awaited = AwaitedState(("idle",))
    awaited.see({**agent("working"), **fields}, 0.0)
    assert awaited.predicate(0.5) == words
    awaited.see(None, 1.0)
    assert awaited.predicate(1.0) == "has left the list"


@given(st.lists(st.tuples(st.sampled_from([*STATES, "killed", "silent"]), st.floats(0, 10)), max_size=8))
def test_no_state_is_reached_that_was_not_asked_for_or_did_not_hold(steps: list[tuple[str, float]]) -> None:
    awaited, mono = AwaitedState(("idle",)), 0.0
    for state, lasts in steps:
        awaited.see(agent(state), mono)
        mono += lasts
        outcome = awaited.outcome(mono)
        if outcome is not None and outcome.how == "reached":
            assert state == "idle"
        if outcome is not None and outcome.how == "over":
            assert state in ("killed", "silent", "ended")
