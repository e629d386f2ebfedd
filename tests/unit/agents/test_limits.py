"""What was told of an account's limits, and when it says nothing any more."""

from __future__ import annotations

import pytest

from coordd.agents.limits import ToldLimit, newest


@pytest.mark.parametrize(
    ("window", "resets_at", "at", "used"),
    [
        (18_000, 1000.0, 999.0, 83.0),
        (18_000, 1000.0, 1000.0, None),
        (None, 1000.0, 2000.0, None),
        (60, None, 59.0, 83.0),
        (60, None, 60.0, None),
        (None, None, 1e9, 83.0),
    ],
)
def test_what_was_told_of_a_window_that_is_over_is_unknown(
    window: float | None, resets_at: float | None, at: float, used: float | None
) -> None:
    assert ToldLimit(None, window, 83.0, resets_at, 0.0).used_at(at) == used


def test_the_newest_of_each_window_counts() -> None:
    old, new = ToldLimit(None, 60, 1, None, 5), ToldLimit(None, 60, 2, None, 6)
    other, named = ToldLimit(None, 30, 3, None, 1), ToldLimit("x", 60, 4, None, 1)
    assert newest([new, named, old, other]) == [other, new, named]
