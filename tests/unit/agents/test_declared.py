"""What a registration says of its agent decides where no session tells."""

from __future__ import annotations

import pytest

from coordd.agents.activity import judge_activity
from coordd.agents.declared import declared_activity, says_ended
from coordd.agents.work import Held, WorkLimits, activity_evidence


@pytest.mark.parametrize(
    ("word", "activity"),
    [
        ("waiting", "waiting"),
        (" Waiting_for_input ", "waiting"),
        ("IDLE", "idle"),
        ("ready", "idle"),
        ("busy", "unknown"),  # that alone is no work that could be seen to go on
        ("active", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_word_decides(word: str | None, activity: str) -> None:
    evidence = activity_evidence(
        None, 0.0, Held(holds=False), WorkLimits(900.0, 7200.0), declared=declared_activity(word)
    )
    assert judge_activity(evidence).activity == activity


def test_who_holds_a_task_and_says_it_is_idle_works() -> None:
    held = Held(holds=True, idle=10.0)
    evidence = activity_evidence(None, 0.0, held, WorkLimits(900.0, 7200.0), declared="idle")
    assert judge_activity(evidence).activity == "working"


@pytest.mark.parametrize("word", ["ended", "Dead", " offline ", "stopped", "completed", "deregistered"])
def test_an_end_is_no_activity(word: str) -> None:
    assert says_ended(word)
    assert declared_activity(word) is None
