"""Test how often costly work may be repeated."""

from __future__ import annotations

import pytest

from coordd.runtime.pace import SHARE, Pace


def test_a_pause_is_a_multiple_of_what_the_work_cost_within_bounds() -> None:
    pace = Pace((0.5, 5.0))
    for cost, pause in ((0.0, 0.5), (0.1, 0.1 * SHARE), (10.0, 5.0)):
        pace.ended(100.0, 100.0 + cost)
        assert pace.after == pytest.approx(100.0 + cost + pause)
    pace.ended(0.0, 10.0, longest=60.0)
    assert pace.after == pytest.approx(70.0)


def test_after_a_quiet_time_some_work_follows_without_a_pause() -> None:
    pace = Pace((0.0, 5.0), burst=1.0)
    at = 1000.0
    for _ in range(9):
        pace.ended(at, at + 0.1)
        assert pace.after == pytest.approx(at + 0.1)
        at = pace.after
    pace.ended(at, at + 0.3)
    assert pace.after == pytest.approx(at + 0.3 + min(0.3 * SHARE, 5.0))


def test_in_the_long_run_it_takes_its_share_whatever_it_may_save() -> None:
    pace, at, worked = Pace((0.0, 5.0), burst=1.0), 0.0, 0.0
    while at < 10_000.0:
        pace.ended(at, at + 0.2)
        worked += 0.2
        at = max(at + 0.25, pace.after)  # it is asked for all the time
    assert worked <= 1.0 + 10_000.0 / SHARE * 1.1


def test_what_was_saved_is_bounded() -> None:
    pace = Pace((0.0, 5.0), burst=1.0)
    pace.ended(0.0, 0.1)
    pace.ended(1_000_000.0, 1_000_001.5)
    assert pace.after > 1_000_001.5
