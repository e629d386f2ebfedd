"""Test the table of jobs: what is due, what may wait for it, and what was replaced."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.runtime.timetable import LONGEST, SPARE, Job, Timetable, bounded, next_run

YEAR = 365 * 86400.0
moments = st.integers(0, 40).map(float)


async def nothing() -> None:
    pass


def job(name: str, due: float, *, slack: float = 0.0, interval: float | None = None) -> Job:
    return Job(name, nothing, due=due, slack=slack, interval=interval)


@given(
    interval=st.floats(0.001, 86400),
    late=st.floats(0, 100 * YEAR),
)
def test_an_interval_names_one_next_run_however_long_nothing_ran(interval: float, late: float) -> None:
    """After years of SIGSTOP a job has one missed run to make up for, and keeps its rhythm."""
    before = 1000.0
    now = before + late
    due = next_run(before, interval, now)
    assert now < due <= now + interval * (1 + 1e-6) + 1e-6
    behind = (due - before) / interval
    assert behind == pytest.approx(round(behind), abs=1e-3)


@given(interval=st.floats(0, 1e-3), mono=st.floats(0, 100 * YEAR))
def test_even_the_shortest_interval_goes_on(interval: float, mono: float) -> None:
    due = mono
    for _ in range(5):
        due = next_run(due, interval, mono)
        assert mono <= due <= mono + 1


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1.0, 0.0), (5.0, 5.0), (inf, LONGEST), (float("nan"), LONGEST), (1e300, LONGEST)],
)
def test_a_delay_has_bounds(seconds: float, expected: float) -> None:
    assert bounded(seconds) == expected


Put = tuple[str, float, float]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcdef"), moments, moments),
            st.sampled_from("abcdef"),
            moments,
        ),
        max_size=60,
    )
)
def test_jobs_begin_in_their_windows_with_the_fewest_wake_ups(steps: list[Put | str | float]) -> None:
    """Compare with a plain dict: put a job, cancel a name, or let time pass as the schedule does."""
    table, model, mono = Timetable(), dict[str, Job](), 0.0
    for step in steps:
        if isinstance(step, tuple):
            name, delay, slack = step
            model[name] = job(name, mono + delay, slack=slack)
            table.put(model[name])
        elif isinstance(step, str):
            model.pop(step, None)
            table.remove(step)
        else:
            until = mono + step
            while table.next_wakeup() <= until:
                mono = table.next_wakeup()
                taken = table.take(mono)
                assert any(one.latest == mono for one in taken), "no wake-up without need"
                assert {one.name for one in taken} == {n for n, one in model.items() if one.due <= mono}
                for one in taken:
                    assert one.due <= mono <= one.latest
                    assert model.pop(one.name) is one
            mono = until
        assert table.next_wakeup() == min((one.latest for one in model.values()), default=inf)
        assert all(table.get(name) is model.get(name) for name in "abcdef")


def test_a_repeated_job_waits_for_its_next_run_and_keeps_its_rhythm() -> None:
    table = Timetable()
    table.put(job("x", 10.0, interval=60.0))
    (first,) = table.take(12.0)
    assert first.due == 10.0
    assert table.next_wakeup() == 70.0
    assert table.take(69.0) == []
    (late,) = table.take(70.0 + 600.0)
    assert late.due == 70.0
    assert table.next_wakeup() == 730.0


def test_what_a_job_that_is_taken_early_within_its_slack_does_to_its_rhythm() -> None:
    table = Timetable()
    table.put(job("patient", 10.0, interval=60.0, slack=30.0))
    table.put(job("urgent", 25.0))
    assert [one.name for one in table.take(25.0)] == ["urgent", "patient"]
    found = table.get("patient")
    assert found is not None
    assert (found.due, found.latest) == (70.0, 100.0)


def test_what_is_overdue_at_the_start_is_due_then() -> None:
    table = Timetable()
    table.put(job("x", 10.0))
    table.put(job("y", 90.0))
    table.forgive(50.0)
    assert table.next_wakeup() == 50.0
    assert [one.due for one in table.take(50.0)] == [50.0]
    assert table.next_wakeup() == 90.0


def test_replaced_jobs_are_not_kept() -> None:
    table = Timetable()
    for number in range(100_000):
        table.put(job("x", 1e6 + number, slack=1.0))
        assert len(table._by_latest) <= SPARE + 4
        assert len(table._patient) <= SPARE + 4
