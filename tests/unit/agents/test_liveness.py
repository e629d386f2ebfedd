"""Test the verdict table: the first row that fits decides, and some verdicts are never given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.liveness import TABLE, Evidence, Verdict, deciding_row, judge

durations = st.floats(min_value=0, max_value=1e9)
evidence = st.builds(
    Evidence,
    silence=st.none() | durations,
    timeout=st.floats(min_value=0.001, max_value=1e6),
    readable=st.booleans(),
    ended=st.booleans(),
    process=st.sampled_from(["alive", "gone", None]),
)


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        (Evidence(silence=0, timeout=120, ended=True), "inactive", "ended"),
        (Evidence(silence=0, timeout=120, ended=True, readable=False), "inactive", "ended"),
        (Evidence(silence=0, timeout=120, ended=True, process="gone"), "inactive", "ended"),
        (Evidence(silence=999, timeout=120, ended=True, process="alive"), "active", "process"),
        (Evidence(silence=0, timeout=120, process="gone"), "inactive", "killed"),
        (Evidence(silence=999, timeout=120, process="alive", readable=False), "active", "process"),
        (Evidence(silence=119.999, timeout=120), "active", "heartbeat"),
        (Evidence(silence=119.999, timeout=120, readable=False), "active", "heartbeat"),
        (Evidence(silence=120, timeout=120, readable=False), "unknown", "unreachable"),
        (Evidence(silence=None, timeout=120, readable=False), "unknown", "unreachable"),
        (Evidence(silence=120, timeout=120), "inactive", "silent"),
        (Evidence(silence=None, timeout=120), "unknown", "no-heartbeat"),
    ],
)
def test_each_row_decides_its_case(found: Evidence, status: str, reason: str) -> None:
    verdict = judge(found)
    assert (verdict.status, verdict.reason) == (status, reason)


def test_the_rows_are_numbered_as_documented_and_each_has_its_own_reason() -> None:
    assert [row.number for row in TABLE] == [1, 2, 3, 4, 5, 6, 7]
    assert len({row.verdict.reason for row in TABLE}) == 7


@settings(deadline=None)
@given(evidence)
def test_exactly_the_first_row_that_fits_decides(found: Evidence) -> None:
    row = deciding_row(found)
    assert row.fits(found)
    assert not any(earlier.fits(found) for earlier in TABLE[: row.number - 1])
    assert judge(found) is row.verdict


@settings(deadline=None)
@given(evidence)
def test_what_cannot_be_read_is_never_called_inactive_without_other_evidence(found: Evidence) -> None:
    unreadable = replace(found, readable=False, ended=False, process=None)
    assert judge(unreadable).status != "inactive"


@settings(deadline=None)
@given(evidence, durations)
def test_more_silence_never_makes_an_agent_livelier(found: Evidence, more: float) -> None:
    if found.silence is not None and judge(found).status != "active":
        assert judge(replace(found, silence=found.silence + more)) == judge(found)


@settings(deadline=None)
@given(evidence)
def test_without_beat_and_process_an_agent_is_unknown(found: Evidence) -> None:
    verdict = judge(replace(found, silence=None, process=None, ended=False))
    assert verdict in (Verdict("unknown", "unreachable"), Verdict("unknown", "no-heartbeat"))
