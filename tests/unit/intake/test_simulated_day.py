"""A day of a machine with agents of every kind, on which everything goes wrong: no verdict is ever false.

What is shown and recorded is compared with what an oracle allows, which knows what is true and what coordd
could observe (tests/support/day/). tests/bench/day.py lets whole days pass, with more agents.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import day.coordd
import pytest
from day.run import Outcome, simulate


def words(outcome: Outcome) -> str:
    return "\n".join([f"{outcome.false} of {outcome.compared} are false", *outcome.details])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_verdict_is_false_whatever_goes_wrong(seed: int, tmp_path: Path) -> None:
    outcome = simulate(agents=20, hours=5, seed=seed, directory=tmp_path)
    assert outcome.false == 0, words(outcome)
    assert outcome.compared > 8_000
    assert len(outcome.happened) >= 3


def test_no_verdict_is_false_while_nothing_goes_wrong(tmp_path: Path) -> None:
    outcome = simulate(agents=20, hours=5, seed=5, directory=tmp_path, disturbed=False)
    assert outcome.false == 0, words(outcome)
    assert {"killed", "ended", "silent", "process waiting", "process blocked"} <= set(outcome.shown)


@pytest.mark.parametrize(
    "limit",
    [{"timeout": 100.0}, {"stall_after": 700.0}, {"call_stall_after": 3600.0}, {"forget_ended_after": 60.0}],
)
def test_false_verdicts_are_found(
    limit: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is worth something only if it finds a coordd that judges by other limits."""
    monkeypatch.setattr(day.coordd, "LIMITS", replace(day.coordd.LIMITS, **limit))
    assert simulate(agents=16, hours=5, seed=5, directory=tmp_path, disturbed=False).false > 0
