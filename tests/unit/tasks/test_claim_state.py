"""Test the table of claim states against its definition, and when time alone changes a state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.tasks.claim_state import (
    FINISHED,
    RELEASED,
    TABLE,
    ClaimEvidence,
    claim_state,
    is_over,
    is_released,
    next_change,
)

TIMEOUT = 120.0
seconds = st.integers(min_value=0, max_value=16 * 400).map(lambda n: n / 16)
holds = st.builds(
    ClaimEvidence,
    holder=st.sampled_from(["active", "inactive", "unknown", None]),
    absent=st.none() | seconds,
    left=st.none() | seconds.map(lambda n: n - 200),
    timeout=st.just(TIMEOUT),
).map(lambda evidence: evidence if evidence.holder is None else replace(evidence, absent=None))


@given(holds)
def test_the_state_is_what_its_definition_says(evidence: ClaimEvidence) -> None:
    gone = evidence.holder == "inactive" or (evidence.absent is not None and evidence.absent >= TIMEOUT)
    passed = evidence.left is not None and evidence.left <= 0
    assert claim_state(evidence) == ("orphaned" if gone else "expired" if passed else "held")


def later(evidence: ClaimEvidence, by: float) -> ClaimEvidence:
    return replace(
        evidence,
        absent=None if evidence.absent is None else evidence.absent + by,
        left=None if evidence.left is None else evidence.left - by,
    )


@given(holds, seconds)
def test_no_change_comes_before_the_next_change(evidence: ClaimEvidence, by: float) -> None:
    state, wait = claim_state(evidence), next_change(evidence)
    if wait is None or by < wait:
        assert claim_state(later(evidence, by)) == state
    if wait is not None:
        assert wait > 0
        assert claim_state(later(evidence, wait)) != state


def test_a_claim_without_readable_times_is_held_while_its_holder_is_not_inactive() -> None:
    assert claim_state(ClaimEvidence("active", None, None, TIMEOUT)) == "held"
    assert claim_state(ClaimEvidence("unknown", None, None, TIMEOUT)) == "held"
    assert claim_state(ClaimEvidence(None, None, None, TIMEOUT)) == "held"
    assert claim_state(ClaimEvidence("inactive", None, 100.0, TIMEOUT)) == "orphaned"


def test_the_last_row_always_fits() -> None:
    assert TABLE[-1].fits(ClaimEvidence(None, None, None, TIMEOUT))
    assert [row.state for row in TABLE] == ["orphaned", "orphaned", "expired", "held"]


@pytest.mark.parametrize("status", [None, "", "claimed", "in_progress", "active", "blocked", "expired", "?"])
def test_a_claim_counts_unless_it_plainly_says_that_it_is_over(status: str | None) -> None:
    assert not is_over(status)
    assert not is_released(status)


@pytest.mark.parametrize("status", sorted(FINISHED | RELEASED))
def test_words_that_end_a_claim_in_any_writing(status: str) -> None:
    assert is_over(status)
    assert is_over(f" {status.upper()}\n")
    assert is_released(status) == (status in RELEASED)
