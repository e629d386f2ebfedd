"""Test the sums of tokens: they only grow, and only by what was used while somebody looked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.dashboard import token_totals
from coordd.dashboard.token_totals import TokenTotals

EARLY, LATE, LATER = (f"2026-11-22T0{hour}:00:00.000Z" for hour in (1, 5, 7))
HOUR = 3600.0
AT = 1795305600.0  # 2026-11-22, midnight


def used(count: int, since: str | None = EARLY) -> dict[str, Any]:
    return {
        "input": count,
        "output": 2 * count,
        "cache_read": 3 * count,
        "cache_write": 4 * count,
        "since": since,
    }


def look(totals: TokenTotals, hour: float, kind: str = "codex", **agents: object) -> float:
    """Look at agents by their names, at an hour of the day; return the input tokens of the kind."""
    totals.look((((f"/{name}", name), kind, tokens) for name, tokens in agents.items()), AT + hour * HOUR)
    return totals.totals.get(kind, [0.0])[0]


def test_it_begins_at_nothing_and_counts_from_there() -> None:
    totals = TokenTotals()
    assert look(totals, 2, a=used(1000)) == 0
    assert totals.totals == {"codex": [0, 0, 0, 0]}  # it is there, for a first increase to be seen
    look(totals, 3, a=used(1007))
    assert totals.totals == {"codex": [7, 14, 21, 28]}


def test_who_leaves_takes_nothing_away_and_brings_nothing_twice() -> None:
    totals = TokenTotals()
    look(totals, 2, a=used(10), b=used(10))
    assert look(totals, 3, a=used(15), b=used(20)) == 15
    assert look(totals, 4, a=used(15)) == 15
    assert look(totals, 5) == 15
    assert look(totals, 6, b=used(21)) == 16


def test_who_begins_meanwhile_counts_whole() -> None:
    totals = TokenTotals()
    look(totals, 4)
    assert look(totals, 6, new=used(50, LATE)) == 50
    # another transcript of the same agent, or another life of the daemon
    assert look(totals, 8, new=used(3, LATER)) == 53


def test_whom_it_merely_had_not_seen_does_not_count_as_new() -> None:
    totals = TokenTotals()
    look(totals, 4, a=used(1))
    assert look(totals, 6, a=used(1), hidden=used(900, EARLY), undated=used(800, None)) == 0
    assert look(totals, 7, hidden=used(901, EARLY), undated=used(801, None)) == 2


def test_a_count_that_is_missing_or_falls_for_a_while_is_not_counted_again() -> None:
    totals = TokenTotals()
    look(totals, 2, a=used(10))
    assert look(totals, 3, a=None) == 0
    assert look(totals, 4, a=used(5)) == 0
    assert look(totals, 5, a=used(12)) == 2
    assert look(totals, 5, b=None) == 2
    assert look(totals, 6, b=used(40, EARLY)) == 42  # it was there, and had used nothing yet


def test_kinds_have_sums_of_their_own() -> None:
    totals = TokenTotals()
    look(totals, 2, a=used(0))
    look(totals, 2, kind="claude-code", b=used(0))
    look(totals, 3, a=used(5))
    look(totals, 3, kind="claude-code", b=used(7))
    assert {kind: sums[0] for kind, sums in totals.totals.items()} == {"codex": 5, "claude-code": 7}


def test_it_remembers_those_that_are_there_and_so_many_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_totals, "GONE", 2)
    totals = TokenTotals()
    look(totals, 2, **{f"n{n}": used(1) for n in range(50)})
    look(totals, 3, n7=used(2))
    assert len(totals._known) == 3
    assert look(totals, 4, n7=used(3)) == 2


COUNTS = st.integers(-5, 30) | st.none() | st.just("many") | st.floats()
TOKENS = st.none() | st.fixed_dictionaries(
    {"input": COUNTS, "output": COUNTS, "since": st.sampled_from([EARLY, LATE, LATER, None, 7, "yesterday"])}
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), TOKENS, max_size=3), max_size=12))
def test_no_sum_ever_falls(story: list[dict[str, Any]]) -> None:
    totals, before = TokenTotals(), [0.0] * 4
    for hour, agents in enumerate(story):
        look(totals, hour, **agents)
        now = totals.totals.get("codex", before)
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = list(now)
