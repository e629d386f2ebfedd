"""Test observed time through blind and stalled periods in any order."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordd.runtime.clocks import LoopMonitor, ObservedClock

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
@given(st.lists(st.integers(min_value=0, max_value=1600).map(lambda n: n / 16), max_size=30))
@example([2.0, 4.0, 4.0625, 100.0])
def test_a_late_tick_is_a_gap_that_counts_for_no_verdict_before_it_is_reported(delays: list[float]) -> None:
    loop_monitor = LoopMonitor(interval=2.0, grace=2.0, mono=0.0)
    clock = ObservedClock()
    mono = 0.0
    for delay in delays:
        mono += delay
        horizon = loop_monitor.horizon(mono)
        assert horizon <= mono
        by_horizon = clock.now(horizon)
        gap = loop_monitor.tick(mono)
        clock.skip(gap)
        # What was judged just before the tick is what the tick makes of it.
        assert clock.now(mono) == by_horizon
        assert loop_monitor.horizon(mono) == mono
        assert gap == (delay - 2.0 if delay > 4.0 else 0.0)


def test_the_worst_lateness_is_kept_until_it_is_taken() -> None:
    loop_monitor = LoopMonitor(interval=2.0, mono=0.0)
    loop_monitor.tick(2.5)
    loop_monitor.tick(4.6)
    assert loop_monitor.take_lag() == pytest.approx(0.5)
    assert loop_monitor.take_lag() == 0.0


def test_a_tick_that_is_early_is_no_gap() -> None:
    loop_monitor = LoopMonitor(interval=2.0, mono=0.0)
    assert loop_monitor.tick(1.0) == 0.0
    assert loop_monitor.horizon(4.9) == 4.9
    assert loop_monitor.horizon(5.1) == 3.0
