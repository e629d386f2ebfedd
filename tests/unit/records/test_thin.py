"""Test thinned records, and moments as people write them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.records.moments import LATEST, Span, checked_span, key, moment_of
from coordd.records.thin import Thinner
from coordd.util.timestamps import format_utc

NOON = 1795348800.0  # 2026-11-22T12:00:00Z


def thinned(kind: str, step: float, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    thinner = Thinner(kind, step)
    return [*thinner.add(records), *thinner.rest()]


def at(seconds: float, **fields: Any) -> dict[str, Any]:
    return {"timestamp": format_utc(NOON + seconds), "host": "h", **fields}


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.none() | st.integers(-1000, 1000)), max_size=60),
    st.sampled_from([1, 7, 60, 3600]),
)
@settings(deadline=None)
def test_numbers_by_mean_least_and_most(values: list[tuple[int, int | None]], step: int) -> None:
    values.sort(key=lambda pair: pair[0])
    got = thinned("system", step, [at(seconds, cpu_percent=value) for seconds, value in values])
    by_stretch: dict[int, list[int | None]] = {}
    for seconds, value in values:
        by_stretch.setdefault(int(NOON + seconds) // step, []).append(value)
    assert [one["timestamp"] for one in got] == [format_utc(n * step) for n in sorted(by_stretch)]
    for one, stretch in zip(got, sorted(by_stretch), strict=True):
        all_values = by_stretch[stretch]
        known = [value for value in all_values if value is not None]
        assert one["records"] == len(all_values)
        if known and all_values[-1] is not None:
            mean = pytest.approx(sum(known) / len(known), abs=1e-5)
            assert one["cpu_percent"] == {"mean": mean, "min": min(known), "max": max(known)}


def test_a_number_unknown_at_last_is_still_known() -> None:
    (one,) = thinned("system", 60, [at(0, load=[1.0, None]), at(1, load=[3.0, None]), at(2, load=None)])
    assert one["load"] is None, "the shape is that of the last record"
    (one,) = thinned("system", 60, [at(0, cpu_percent=4), at(1, cpu_percent=None)])
    assert one["cpu_percent"] == {"mean": 4, "min": 4, "max": 4}


def test_agents_events_and_hosts_are_kept_apart() -> None:
    records = [
        at(0, workspace="/w", agent_id="a", status="active", active_tasks=1),
        at(1, workspace="/x", agent_id="a", status="active", active_tasks=2),
        at(2, workspace="/w", agent_id="a", status="inactive", active_tasks=3),
    ]
    first, second = thinned("agent", 60, records)
    assert (first["workspace"], first["status"], first["records"]) == ("/w", "inactive", 2)
    assert first["active_tasks"] == {"mean": 2, "min": 1, "max": 3}
    assert second["workspace"] == "/x"
    kinds = thinned("event", 60, [at(0, kind="k"), at(1, kind="l"), at(2, kind="k")])
    assert [(one["kind"], one["records"]) for one in kinds] == [("k", 2), ("l", 1)]


def test_a_clock_set_back_loses_nothing_and_stays_bounded() -> None:
    moments = [0, 60, 120, 60, 61, 180, 0, 240]
    got = thinned("system", 60, [at(seconds) for seconds in moments])
    assert sum(one["records"] for one in got) == len(moments)
    thinner = Thinner("system", 1)
    for n in range(1000):
        list(thinner.add([at(n)]))
        assert len(thinner._open) <= 2


def test_records_without_a_time_are_counted() -> None:
    thinner = Thinner("system", 60)
    assert list(thinner.add([{"timestamp": "when?"}, {}])) == []
    assert thinner.damaged == 2


@pytest.mark.parametrize("step", [0, -1.0, float("nan")])
def test_a_step_is_positive(step: float) -> None:
    with pytest.raises(ValueError, match="step"):
        Thinner("system", step)


def test_spans_name_what_is_wrong() -> None:
    assert checked_span("1h", None, NOON) == Span(NOON - 3600, None)
    with pytest.raises(ValueError, match=r"^until: "):
        checked_span(None, "soon", NOON)
    with pytest.raises(ValueError, match="after until"):
        checked_span("1h", "2h", NOON)


def test_keys_order_like_time_and_never_fail() -> None:
    moments = [-1e20, -1.0, 0.0, NOON, NOON + 0.001, 1e11, 1e300]
    keys = [key(moment, LATEST) for moment in moments]
    assert keys == sorted(keys)
    assert moment_of(b'{"timestamp":"' + key(NOON, b"") + b'","x":1}') == key(NOON, b"")
    assert moment_of(b'{"timestamp":"soon"}') is None


def test_whole_numbers_are_spelled_alike_by_every_encoder() -> None:
    """The service encodes with msgspec, the client with json."""
    got = thinned("system", 60.0, [at(0, cpu_percent=2.0, rss=1e300), at(1, cpu_percent=4.5, rss=1e300)])
    (one,) = got
    assert (repr(one["step"]), repr(one["cpu_percent"]["min"])) == ("60", "2")
    numbers = {"step": one["step"], "cpu_percent": one["cpu_percent"]}
    assert json.dumps(numbers, separators=(",", ":")).encode() == msgspec.json.encode(numbers)
