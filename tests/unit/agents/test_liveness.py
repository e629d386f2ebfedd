"""Test the verdict table: the first row that fits decides, and some verdicts are never given."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.liveness import (
    LAST_BREATH,
    TABLE,
    Evidence,
    Verdict,
    combine,
    deciding_row,
    judge,
)

README = Path(__file__).resolve().parents[3] / "README.md"
TIMEOUT = 120.0

durations = st.floats(min_value=0, max_value=1e9)
evidence = st.builds(
    Evidence,
    silence=st.none() | durations,
    timeout=st.floats(min_value=0.001, max_value=1e6),
    readable=st.booleans(),
    process=st.sampled_from(["alive", "killed", None]),
    end_age=st.none() | durations,
    beat_age=st.none() | durations,
    quiet=st.booleans(),
)


def told(silence: float | None = None, **fields: object) -> Evidence:
    return Evidence(silence, TIMEOUT, **fields)  # type: ignore[arg-type]  # fields of Evidence by name


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        (told(0, end_age=0), "inactive", "ended"),
        (told(0, end_age=0, readable=False), "inactive", "ended"),
        (told(5, end_age=5, process="killed"), "inactive", "ended"),
        (told(end_age=5, quiet=True), "inactive", "ended"),
        (told(999, end_age=999, process="alive"), "active", "process"),
        (told(0, process="killed"), "inactive", "killed"),
        (told(0, process="killed", quiet=True), "inactive", "killed"),
        (told(999, process="alive", readable=False), "active", "process"),
        (told(119.999), "active", "heartbeat"),
        (told(119.999, readable=False, quiet=True), "active", "heartbeat"),
        (told(120, readable=False), "unknown", "unreachable"),
        (told(120, readable=False, quiet=True), "unknown", "unreachable"),
        (told(None, readable=False), "unknown", "unreachable"),
        (told(120, quiet=True), "unknown", "quiet"),
        (told(None, quiet=True), "unknown", "quiet"),
        (told(120), "inactive", "silent"),
        (told(None), "unknown", "no-heartbeat"),
        (told(math.nan), "inactive", "silent"),
    ],
)
def test_each_row_decides_its_case(found: Evidence, status: str, reason: str) -> None:
    verdict = judge(found)
    assert (verdict.status, verdict.reason) == (status, reason)


def expected(found: Evidence) -> str:
    """Return the reason as the design has it, as one chain of questions."""
    beat = found.silence if found.beat_age is None else found.beat_age
    undone = found.end_age is not None and beat is not None and beat < found.end_age - 5
    if found.process == "alive":
        return "process"
    if found.end_age is not None and not undone:
        return "ended"
    if found.process == "killed":
        return "killed"
    if found.silence is not None and found.silence < found.timeout:
        return "heartbeat"
    unknown = "unreachable" if not found.readable else "quiet" if found.quiet else None
    return unknown or ("no-heartbeat" if found.silence is None else "silent")


STATUS = {
    "ended": "inactive",
    "killed": "inactive",
    "process": "active",
    "heartbeat": "active",
    "unreachable": "unknown",
    "quiet": "unknown",
    "silent": "inactive",
    "no-heartbeat": "unknown",
}


def test_every_combination_gets_the_verdict_of_the_design() -> None:
    ages = (None, 0.0, 114.0, 115.0, 116.0, 119.875, 120.0, 120.125, 1e6)
    seen = set()
    for silence, beat_age, end_age, process, readable, quiet in itertools.product(
        ages, ages, ages, ("alive", "killed", None), (True, False), (True, False)
    ):
        found = Evidence(silence, TIMEOUT, readable, process, end_age, beat_age, quiet)  # type: ignore[arg-type]  # words
        verdict = judge(found)
        assert verdict.reason == expected(found), found
        assert verdict.status == STATUS[verdict.reason]
        seen.add(verdict.reason)
    assert seen == set(STATUS)


def test_the_rows_are_numbered_as_documented_and_each_has_its_own_reason() -> None:
    assert [row.number for row in TABLE] == [1, 2, 3, 4, 5, 6, 7, 8]
    reasons = "ended killed process heartbeat unreachable quiet silent no-heartbeat"
    assert [row.verdict.reason for row in TABLE] == reasons.split()


def test_the_readme_prints_the_rows_as_they_are() -> None:
    text = README.read_text().partition("### Active, inactive, unknown")[2].partition("`coordctl why`")[0]
    printed = re.findall(r"^\| (\d+) \| .* \| `(\w+)` / `([\w-]+)` \|$", text, re.MULTILINE)
    assert printed == [(str(row.number), row.verdict.status, row.verdict.reason) for row in TABLE]


@settings(deadline=None)
@given(evidence)
def test_exactly_the_first_row_that_fits_decides(found: Evidence) -> None:
    row = deciding_row(found)
    assert row.fits(found)
    assert not any(earlier.fits(found) for earlier in TABLE[: row.number - 1])
    assert judge(found) is row.verdict
    assert row.verdict.reason == expected(found)


@settings(deadline=None)
@given(evidence)
def test_what_cannot_be_read_is_never_called_inactive_without_other_evidence(found: Evidence) -> None:
    unreadable = replace(found, readable=False, end_age=None, process=None)
    assert judge(unreadable).status != "inactive"


@settings(deadline=None)
@given(evidence, durations)
def test_more_silence_never_makes_an_agent_livelier(found: Evidence, more: float) -> None:
    if found.silence is not None and judge(found).status != "active":
        later = replace(
            found,
            silence=found.silence + more,
            beat_age=None if found.beat_age is None else found.beat_age + more,
            end_age=None if found.end_age is None else found.end_age + more,
        )
        if found.ended == later.ended:  # rounding of great ages
            assert judge(later) == judge(found)


@settings(deadline=None)
@given(evidence)
def test_without_beat_and_process_an_agent_is_unknown(found: Evidence) -> None:
    verdict = judge(replace(found, silence=None, process=None, end_age=None))
    assert verdict.status == "unknown"


# Several sources.


@settings(deadline=None)
@given(st.lists(evidence, min_size=1, max_size=4), st.randoms())
def test_the_order_of_sources_does_not_matter(every: list[Evidence], random: object) -> None:
    every = [replace(one, timeout=TIMEOUT) for one in every]
    shuffled = list(every)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert combine(shuffled) == combine(every)


@settings(deadline=None)
@given(st.lists(evidence, min_size=2, max_size=4))
def test_a_live_process_or_a_fresh_beat_after_every_end_keeps_an_agent_active(every: list[Evidence]) -> None:
    every = [replace(one, timeout=TIMEOUT) for one in every]
    verdict = judge(combine(every))
    if any(one.process == "alive" for one in every):
        assert verdict == Verdict("active", "process")
        return
    ends = [one.end_age for one in every if one.end_age is not None]
    beats = [one.last_beat for one in every if one.last_beat is not None]
    outlived = not ends or (beats and min(beats) < min(ends) - LAST_BREATH)
    assert (verdict.reason == "ended") == (not outlived)
    fresh = any(one.silence is not None and one.silence < TIMEOUT for one in every)
    if outlived and fresh and not any(one.process == "killed" for one in every):
        assert verdict == Verdict("active", "heartbeat")


def test_a_heartbeat_file_that_keeps_beating_undoes_the_orderly_end_of_a_session() -> None:
    session, file = told(300, end_age=300), told(12)
    assert judge(session).reason == "ended"
    assert judge(combine([session, file])) == Verdict("active", "heartbeat")
    assert judge(combine([session, told(130)])) == Verdict("inactive", "silent")
    assert judge(combine([session, told(400)])) == Verdict("inactive", "ended")


def test_the_last_breath_of_an_agent_is_no_life_after_its_end() -> None:
    assert judge(combine([told(60, end_age=60), told(60 - LAST_BREATH)])).reason == "ended"
    assert judge(combine([told(60, end_age=60), told(59.875 - LAST_BREATH)])).reason == "heartbeat"


def test_an_agent_of_one_source_that_beats_after_its_end_is_there_again() -> None:
    assert judge(told(10, end_age=60)).reason == "heartbeat"
    assert judge(told(130, end_age=600)).reason == "silent"


def test_who_was_killed_after_an_end_long_ago_and_beats_since_was_killed() -> None:
    assert judge(combine([told(7200, end_age=7200), told(3, process="killed")])).reason == "killed"


def test_a_source_that_could_not_be_read_does_not_make_a_beat_later_than_it_was() -> None:
    # 10 minutes blind: the beat was 615 s ago and counts 15 s of silence; the session ended in between
    file = told(15, beat_age=615)
    assert judge(combine([file, told(310, end_age=310)])).reason == "ended"
    assert judge(combine([file, told(700, end_age=700)])).reason == "heartbeat"


def test_an_end_told_by_one_source_and_beats_of_two_others() -> None:
    every = [told(300, end_age=300), told(400), told(20)]
    for order in itertools.permutations(every):
        assert judge(combine(order)).reason == "heartbeat"


def test_quiet_is_who_was_last_heard_of_by_a_quiet_hook() -> None:
    hook = told(600, quiet=True)
    assert judge(combine([hook, told(700)])).reason == "quiet"
    assert judge(combine([hook, told(600 - LAST_BREATH)])).reason == "quiet"
    assert judge(combine([hook, told(300)])).reason == "silent"
    assert judge(combine([hook, told(None)])).reason == "quiet"
    assert judge(combine([told(None, quiet=True), told(None)])).reason == "quiet"
    assert judge(combine([told(None, quiet=True), told(300)])).reason == "silent"
    assert judge(combine([hook, told(700, readable=False)])).reason == "unreachable"
