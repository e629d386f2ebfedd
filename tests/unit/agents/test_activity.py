"""Test the table of activities against its definition, and when time alone changes an activity."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.activity import (
    REFUSED_AFTER,
    TABLE,
    ActivityEvidence,
    ActivityVerdict,
    deciding_activity_row,
    judge_activity,
    next_change,
)

STALL, CALL = 900.0, 7200.0
DURATIONS = ("refused", "call_age", "turn_age", "task_progress", "transcript_progress", "shell_age")


def told(**fields: object) -> ActivityEvidence:
    return ActivityEvidence(stall_after=STALL, call_stall_after=CALL, **fields)  # type: ignore[arg-type]  # by name


def expected(e: ActivityEvidence) -> int:
    """Return the number of the row, as one chain of questions that shares nothing with the table."""
    if True in (e.declares_waiting, e.call_asks, e.hook_asks):
        return 1
    if e.refused is not None and e.refused >= 30:
        return 2
    if e.call_age is not None and (e.call_age < 7200 or e.call_progress):
        return 3
    if e.call_age is not None and e.call_progress is not None:
        return 4
    return after_calls(e)


def after_calls(e: ActivityEvidence) -> int:
    turn, task = e.in_turn is True, bool(e.holds_task) and not e.tells_turns
    ages = [e.task_progress, e.transcript_progress] + ([e.turn_age] if turn else [])
    if (turn or task) and any(age is not None and age < 900 for age in ages):
        return 5
    if e.subagent or (e.shell_age is not None and e.shell_age < 7200):
        return 6
    seen = (turn and e.transcript_progress is not None) or (task and e.task_progress is not None)
    if seen and e.call_age is None:
        return 7
    if e.in_turn is False:
        return 8
    return 8 if e.in_turn is None and e.holds_task is False and e.says_idle else 9


def test_every_combination_gets_the_activity_of_the_design() -> None:
    near, far = (None, 899.875, 900.0), (None, 7199.875, 7200.0)
    told_waiting = [(False, False, False), *itertools.permutations((True, False, False), 3)]
    answers: set[int] = set()
    for waiting, refused in itertools.product(set(told_waiting), (None, 29.875, 30.0)):
        found = told(declares_waiting=waiting[0], call_asks=waiting[1], hook_asks=waiting[2], refused=refused)
        assert judge_activity(found).row == expected(found)
    for (
        call_age,
        progress,
        turn,
        turn_age,
        tells,
        holds,
        task,
        transcript,
        subagent,
        shell,
        idle,
    ) in itertools.product(
        far,
        (True, False, None),
        (True, False, None),
        near,
        (True, False),
        (True, False, None),
        near,
        near,
        (True, False),
        far,
        (True, False),
    ):
        found = ActivityEvidence(
            stall_after=STALL,
            call_stall_after=CALL,
            refused=29.875,
            call_age=call_age,
            call_progress=progress,
            in_turn=turn,
            turn_age=turn_age,
            tells_turns=tells,
            holds_task=holds,
            task_progress=task,
            transcript_progress=transcript,
            subagent=subagent,
            shell_age=shell,
            says_idle=idle,
        )
        row = deciding_activity_row(found).number
        assert row == expected(found), found
        answers.add(row)
    assert answers == {3, 4, 5, 6, 7, 8, 9}


def test_the_rows_are_numbered_as_documented() -> None:
    assert [row.number for row in TABLE] == list(range(1, 10))
    activities = "waiting blocked working stalled working working stalled idle unknown"
    assert [row.activity for row in TABLE] == activities.split()


@pytest.mark.parametrize(
    ("found", "activity"),
    [
        (told(), "unknown"),
        (told(says_idle=True), "unknown"),
        (told(says_idle=True, holds_task=False), "idle"),
        (told(in_turn=False, holds_task=True, tells_turns=True, task_progress=1e6), "idle"),
        (told(holds_task=True, task_progress=1e6), "stalled"),
        (told(holds_task=True), "unknown"),
        (told(holds_task=True, task_progress=1e6, tells_turns=True), "unknown"),
        (told(in_turn=True, turn_age=10.0, tells_turns=True), "working"),
        (told(in_turn=True, turn_age=1e6, tells_turns=True), "unknown"),
        (told(in_turn=True, turn_age=1e6, transcript_progress=900.0, tells_turns=True), "stalled"),
        (told(in_turn=True, transcript_progress=1e6, subagent=True), "working"),
        (told(in_turn=False, shell_age=60.0, says_idle=True), "working"),
        (told(in_turn=True, call_age=8000.0, transcript_progress=8000.0, call_progress=False), "stalled"),
        (told(in_turn=True, call_age=8000.0, transcript_progress=8000.0, call_progress=None), "unknown"),
        (told(in_turn=True, call_age=8000.0, transcript_progress=8000.0, call_progress=True), "working"),
        (told(in_turn=True, call_age=8000.0, transcript_progress=60.0, call_progress=None), "working"),
        (told(in_turn=True, call_age=60.0, refused=40.0), "blocked"),
        (told(in_turn=True, refused=40.0, declares_waiting=True), "waiting"),
    ],
)
def test_each_case_of_the_wild_has_its_activity(found: ActivityEvidence, activity: str) -> None:
    assert judge_activity(found).activity == activity


durations = st.integers(min_value=0, max_value=16 * 8000).map(lambda n: n / 16)
near_durations = st.sampled_from([0.0, 29.9375, 30.0, 899.9375, 900.0, 7199.9375, 7200.0]) | durations
maybe = st.none() | st.booleans()
evidence = st.builds(
    ActivityEvidence,
    stall_after=st.sampled_from([STALL, 60.0]),
    call_stall_after=st.sampled_from([CALL, 20.0, 900.0]),
    declares_waiting=st.sampled_from([False, False, False, True]),
    refused=st.none() | near_durations,
    call_age=st.none() | near_durations,
    call_progress=maybe,
    in_turn=maybe,
    turn_age=st.none() | near_durations,
    tells_turns=st.booleans(),
    holds_task=maybe,
    task_progress=st.none() | near_durations,
    transcript_progress=st.none() | near_durations,
    subagent=st.booleans(),
    shell_age=st.none() | near_durations,
    says_idle=st.booleans(),
)


def later(found: ActivityEvidence, by: float) -> ActivityEvidence:
    moved = {name: age + by for name in DURATIONS if (age := getattr(found, name)) is not None}
    return replace(found, **moved)


@given(evidence, st.data())
def test_no_change_comes_before_the_next_change_and_one_comes_with_it(
    found: ActivityEvidence, data: st.DataObject
) -> None:
    now, wait = judge_activity(found), next_change(found)
    by = data.draw(near_durations if wait is None else st.integers(0, int(wait * 16)).map(lambda n: n / 16))
    if wait is None:
        assert judge_activity(later(found, by)) == now
        return
    assert wait > 0
    if by < wait:
        assert judge_activity(later(found, by)) == now
    assert judge_activity(later(found, wait)) != now


@given(evidence, st.floats(min_value=0, max_value=9000))
def test_the_next_change_is_never_late_by_rounding(found: ActivityEvidence, shift: float) -> None:
    found = later(found, shift)
    wait = next_change(found)
    if wait is not None:
        assert judge_activity(later(found, wait * (1 - 1e-9))) == judge_activity(found)
        assert judge_activity(later(found, wait + 1e-6)) != judge_activity(found)


@given(evidence)
def test_exactly_the_first_row_that_fits_decides(found: ActivityEvidence) -> None:
    row = deciding_activity_row(found)
    assert row.fits(found)
    assert not any(earlier.fits(found) for earlier in TABLE[: row.number - 1])
    assert judge_activity(found) == ActivityVerdict(row.activity, row.number)


@given(evidence)
def test_nobody_is_stalled_whose_progress_cannot_be_seen(found: ActivityEvidence) -> None:
    blind = replace(found, call_progress=None, task_progress=None, transcript_progress=None)
    assert judge_activity(blind).activity != "stalled"


@given(evidence)
def test_knowing_less_never_raises_an_alarm(found: ActivityEvidence) -> None:
    if judge_activity(found).activity not in ("stalled", "blocked", "waiting"):
        for name in ("call_progress", "in_turn", "holds_task", "refused"):
            less = judge_activity(replace(found, **{name: None}))
            if name == "in_turn" and found.holds_task:
                continue  # then the task that it holds decides
            assert less.activity not in ("blocked", "waiting")
            assert less.activity != "stalled", name


def test_the_thresholds_are_part_of_the_longer_side() -> None:
    assert judge_activity(told(refused=REFUSED_AFTER)).activity == "blocked"
    assert judge_activity(told(call_age=CALL, call_progress=False)).activity == "stalled"
    assert judge_activity(told(in_turn=True, transcript_progress=STALL)).activity == "stalled"
    assert judge_activity(told(shell_age=CALL)).activity == "unknown"
