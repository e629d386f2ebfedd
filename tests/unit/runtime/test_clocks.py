"""Test observed time through blind and stalled periods in any order."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ticking import tick

from coordd.runtime.clocks import AHEAD, LoopMonitor, ObservedClock

steps = st.lists(
    st.tuples(
        st.sampled_from(["lost", "regained", "gap", "wait"]),
        st.integers(min_value=0, max_value=1000),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps, st.booleans())
def test_the_clock_counts_the_seen_time_and_runs_on_while_blind(
    history: list[tuple[str, int]], blind_at_first: bool
) -> None:
    """Compare with a list of whole seconds, each seen or blind; a blind period is known once it is over."""
    clock = ObservedClock(blind_since=0.0 if blind_at_first else None)
    mono, seen, blind = 0.0, 0.0, 0.0 if blind_at_first else None
    for action, seconds in history:
        before = clock.now(mono)
        if action == "wait":
            mono += seconds
            if blind is None:
                seen += seconds
            else:
                blind += seconds
            assert clock.now(mono) == before + seconds
        elif action == "gap":
            mono += seconds
            clock.skip(seconds)
            if blind is not None:
                blind += seconds
        elif action == "lost":
            clock.lost(mono)
            blind = 0.0 if blind is None else blind
            assert clock.now(mono) == before
        else:
            clock.regained(mono)
            assert clock.now(mono) == before - (blind or 0.0)
            blind = None
        assert clock.readable is (blind is None)
        assert clock.now(mono) == seen + (blind or 0.0)
        assert clock.seen(mono) == seen


def test_repeated_notes_change_nothing() -> None:
    clock = ObservedClock()
    clock.regained(5.0)
    assert clock.now(5.0) == 5.0
    clock.lost(10.0)
    clock.lost(20.0)
    clock.regained(30.0)
    clock.regained(40.0)
    assert clock.now(40.0) == 20.0


def test_time_never_runs_backwards_into_the_clock() -> None:
    clock = ObservedClock()
    clock.skip(-5.0)
    clock.lost(10.0)
    clock.regained(9.0)
    assert clock.now(10.0) == 10.0


@settings(deadline=None)
@given(
    st.lists(st.tuples(*(st.integers(min_value=0, max_value=1600).map(lambda n: n / 16),) * 2), max_size=30)
)
@example([(2.0, 2.0), (4.0, 0.0625), (4.0, 4.0), (2.0, 100.0)])
def test_a_late_timer_is_a_gap_that_counts_for_no_verdict_before_it_is_reported(
    timers: list[tuple[float, float]],
) -> None:
    """Each timer is due after the first number of seconds, and rings after the second."""
    loop_monitor = LoopMonitor(grace=2.0)
    clock = ObservedClock()
    mono = 0.0
    for due, rang in timers:
        loop_monitor.expect(mono + due, mono)
        before, mono = mono, mono + rang
        horizon = loop_monitor.horizon(mono)
        assert before <= horizon <= mono
        by_horizon = clock.now(horizon)
        loop_monitor.expect(before + due, mono)  # set again meanwhile, as jobs come and go
        assert loop_monitor.horizon(mono) == horizon
        gap = loop_monitor.woke(mono)
        clock.skip(gap)
        # What was judged just before the timer rang is what its ringing makes of it.
        assert clock.now(mono) == by_horizon
        assert loop_monitor.horizon(mono) == mono
        assert gap == (rang - max(0.0, due - AHEAD) if rang > due + 2.0 else 0.0)


def test_a_timer_that_judges_a_little_after_the_deadline_judges_nobody_late() -> None:
    """An agent falls silent at 120, its timer rings at 120.1: a stop in between must not count."""
    loop_monitor = LoopMonitor()
    loop_monitor.expect(120.1, 60.0)
    assert loop_monitor.horizon(300.0) < 120.0
    assert 300.0 - loop_monitor.woke(300.0) < 120.0


def test_the_horizon_never_goes_back_before_a_moment_at_which_coordd_ran() -> None:
    loop_monitor = LoopMonitor()
    loop_monitor.expect(10.0, 0.0)
    loop_monitor.woke(10.0)
    loop_monitor.expect(10.1, 10.05)
    assert loop_monitor.horizon(60.0) == 10.05


def test_without_a_timer_there_is_no_gap() -> None:
    loop_monitor = LoopMonitor()
    assert loop_monitor.horizon(1e6) == 1e6
    assert loop_monitor.woke(1e6) == 0.0
    assert loop_monitor.take_lag() == 0.0


def test_the_worst_lateness_is_kept_until_it_is_taken() -> None:
    loop_monitor = LoopMonitor()
    tick(loop_monitor, 0.0)
    tick(loop_monitor, 2.5)
    tick(loop_monitor, 4.6)
    assert loop_monitor.take_lag() == pytest.approx(0.5)
    assert loop_monitor.take_lag() == 0.0


def test_a_timer_that_rings_early_is_no_gap() -> None:
    loop_monitor = LoopMonitor()
    tick(loop_monitor, 0.0)
    assert tick(loop_monitor, 1.0) == 0.0
    assert loop_monitor.horizon(3.4) == 3.4
    assert loop_monitor.horizon(3.6) == 3.0 - AHEAD
