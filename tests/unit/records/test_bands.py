"""Test bands of activity against a slow and plain way to make them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.cli.agent_words import state_of as shown_state
from coordd.model import ACTIVITIES
from coordd.records import bands
from coordd.records.bands import Bands, state_of
from coordd.util.timestamps import format_utc

NOON = 1795348800.0  # 2026-11-22T12:00:00Z


def at(seconds: float, activity: str | None = "working", agent: str = "a", **more: Any) -> dict[str, Any]:
    stamp = format_utc(NOON + seconds)
    return {"timestamp": stamp, "agent_id": agent, "status": "active", "activity": activity, **more}


def banded(
    records: list[dict[str, Any]], *, begin: float = 0.0, end: float = 600.0, step: float = 60.0
) -> dict[str, list[tuple[float, str | None]]]:
    made = Bands(NOON + begin, NOON + end, step)
    assert list(made.add(records)) == []
    return {one["agent_id"]: [(t - NOON, what) for t, what in one["bands"]] for one in made.rest()}


def test_a_record_holds_until_the_next_one_and_the_last_until_the_end() -> None:
    records = [at(60), at(90), at(180, "idle"), at(240, "waiting")]
    assert banded(records) == {"a": [(60.0, "working"), (180.0, "idle"), (240.0, "waiting")]}


def test_a_step_is_what_it_was_for_longest() -> None:
    assert banded([at(0), at(70, "idle"), at(80), at(115, "idle")]) == {
        "a": [(0.0, "working"), (120.0, "idle")]
    }


def test_what_was_before_the_begin_holds_at_the_begin() -> None:
    assert banded([at(-500, "idle"), at(300)]) == {"a": [(0.0, "idle"), (300.0, "working")]}
    since = {"activity_since": format_utc(NOON - 4000)}
    assert banded([at(300, "idle", **since)]) == {"a": [(0.0, "idle")]}
    later = {"activity_since": format_utc(NOON + 240)}
    assert banded([at(300, "idle", **later)]) == {"a": [(240.0, "idle")]}


def test_who_goes_is_gone_and_who_was_gone_before_is_not_there() -> None:
    gone = at(120, cause="removed")
    assert banded([at(0), gone]) == {"a": [(0.0, "working"), (120.0, None)]}
    assert banded([at(-60), {**gone, "timestamp": format_utc(NOON - 30)}]) == {}
    assert banded([at(0), gone, at(300)]) == {"a": [(0.0, "working"), (120.0, None), (300.0, "working")]}


def test_agents_of_several_workspaces_are_told_apart_with_their_last_name() -> None:
    made = Bands(NOON, NOON + 600, 60)
    list(
        made.add([at(0, workspace="/x", name="old"), at(1, workspace="/y"), at(2, workspace="/x", name="n")])
    )
    first, second = made.rest()
    assert (first["workspace"], first["name"], second["workspace"]) == ("/x", "n", "/y")


def test_damaged_records_and_a_clock_set_back_do_no_harm() -> None:
    records: list[dict[str, Any]] = [
        at(0),
        {"timestamp": "x"},
        {},
        at(300, "idle"),
        at(120, "waiting"),
        at(360),
    ]
    assert banded(records)["a"] == [(0.0, "working"), (300.0, "waiting"), (360.0, "working")]
    odd: dict[str, Any] = {"workspace": [], "name": {}, "kind": 1}
    assert banded([at(0), at(1, workspace=[]), at(2, agent=[]), {**at(3, "idle"), **odd, "workspace": None}])
    assert banded([at(1e6)]) == {}, "what is ahead of the clock has not been yet"


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "MAX_BANDS", 10)
    made = Bands(NOON, NOON + 600, 60)
    list(made.add([at(0, agent=f"a{n}") for n in range(3)]))
    list(made.add([at(60 * n, "idle" if n % 2 else "working") for n in range(10)]))
    list(made.add([at(599, agent="late")]))
    assert made.left_out == 1
    assert "late" not in [one["agent_id"] for one in made.rest()]
    for step in (0.0, -1.0, math.nan, math.inf, 0.2):
        with pytest.raises(ValueError, match="step"):
            Bands(NOON, NOON + 600, step)


STATES = st.sampled_from(["working", "idle", "waiting", "stalled", "removed"])


@given(st.lists(st.tuples(st.integers(-100, 1000), STATES), max_size=40), st.sampled_from([7, 60, 250]))
@settings(deadline=None)
def test_as_one_would_draw_it_second_by_second(said: list[tuple[int, str]], step: int) -> None:
    said.sort(key=lambda one: one[0])
    records = [at(s, None if w == "removed" else w, cause=w) for s, w in said]
    begin, end = 0, 900
    seconds: list[str | None] = []
    for second in range(begin, end):
        before = [what for s, what in said if s <= second]
        seconds.append(before[-1] if before and before[-1] != "removed" else None)
    expected: list[str | None] = []
    for number in range(math.floor(NOON / step), math.ceil((NOON + end) / step)):
        low, high = max(0, number * step - int(NOON)), min(end, (number + 1) * step - int(NOON))
        inside = seconds[low:high]
        longest = max((inside.count(one) for one in inside), default=0)
        best = {one for one in inside if inside.count(one) == longest}
        expected.append(next(iter(best)) if len(best) == 1 else "tie")
    drawn = banded(records, begin=begin, end=end, step=step).get("a", [])
    for place, number in enumerate(range(math.floor(NOON / step), math.ceil((NOON + end) / step))):
        low = max(0, number * step - int(NOON))
        state = next((what for t, what in reversed(drawn) if t <= low), None)
        assert expected[place] in (state, "tie"), (number, drawn)


@given(
    st.sampled_from(["active", "inactive", "unknown", "odd", None]),
    st.sampled_from([*ACTIVITIES, None, "dancing"]),
    st.sampled_from(["killed", "ended", "silent", "process", None, "odd"]),
)
def test_the_words_are_those_that_people_are_shown(status: Any, activity: Any, reason: Any) -> None:
    record = {"status": status, "activity": activity, "reason": reason, "cause": "progress"}
    assert state_of(record) == shown_state(record)
    assert state_of({**record, "cause": "removed"}) is None
