"""Test that a time is read in every form, and in which zone a time without one is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.util import written_times
from coordd.util.written_times import AGREES, EARLIEST, LATEST, WrittenTime, read_time, zone_of

NOON = 1795262400.0  # 2026-11-21T12:00:00Z


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()
        written_times._offsets.cache_clear()

    yield change
    monkeypatch.undo()
    time.tzset()
    written_times._offsets.cache_clear()


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-21T12:00:00Z",
        "2026-11-21 12:00:00+00:00",
        "20261121T120000Z",
        "2026-11-21T13:00:00.000+01:00",
        " 2026-11-21T12:00:00Z\n",
        1795262400,
        1795262400.0,
        "1795262400",
        "+1795262400.0",
        1795262400000,
        "1795262400000",
        1795262400000000,
        "1795262400000000000",
    ],
)
def test_a_moment_is_read_in_every_form(value: object) -> None:
    assert read_time(value) == WrittenTime(NOON)


@pytest.mark.parametrize("value", ["2026-11-21T12:00:00", "2026-11-21 12:00", "20261121T120000"])
def test_a_time_without_a_zone_says_so(value: str) -> None:
    assert read_time(value) == WrittenTime(NOON, zoneless=True)


@pytest.mark.parametrize(
    "value",
    [1, 4711, 0, -5, 1e300, 10**400, float("nan"), float("inf"), True, None, "", "1", "soon", "1e9", "\u0661",
     "9" * 5000, 978307199, "2000-12-31T23:59:59Z", "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00",
     [], {}],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        read_time(value)


@given(st.floats(EARLIEST, 4e9), st.sampled_from([1, 1e3, 1e6, 1e9]))
def test_the_unit_of_a_number_follows_from_its_magnitude(moment: float, unit: float) -> None:
    assert read_time(moment * unit).epoch == pytest.approx(moment, abs=1e-3)
    assert read_time(str(int(moment * unit))).epoch == pytest.approx(moment, abs=1)


@given(st.text() | st.integers() | st.floats() | st.binary())
def test_whatever_is_written_is_a_time_in_the_calendar_or_refused(value: object) -> None:
    try:
        found = read_time(value)
    except ValueError:
        return
    assert EARLIEST <= found.epoch <= LATEST


@pytest.mark.parametrize(("name", "offset"), [("IST-5:30", 19800), ("EST5", -18000), ("<+14>-14", 50400)])
def test_a_time_without_a_zone_is_in_the_one_that_agrees(
    zone: Callable[[str], None], name: str, offset: float
) -> None:
    zone(name)
    local, utc = WrittenTime(NOON + offset, zoneless=True), WrittenTime(NOON, zoneless=True)
    assert zone_of([local], [NOON + 3]) == "local"
    assert local.in_zone("local") == NOON
    assert zone_of([utc], [NOON + 3]) == "utc"
    assert zone_of([local], []) == "utc"
    assert zone_of([utc._replace(epoch=NOON - 86400)], [NOON]) == "utc", "nothing tells"
    early = local._replace(epoch=local.epoch - 7 * 3600 - 1200)
    assert zone_of([local, early], [NOON]) == "local", "one that tells decides for all"
    assert WrittenTime(NOON).in_zone("local") == NOON, "a zone was written"


def test_what_would_lie_ahead_of_its_own_writing_is_local(zone: Callable[[str], None]) -> None:
    zone("IST-5:30")
    began = WrittenTime(NOON + 19800 - 3600, zoneless=True)
    assert zone_of([began], [NOON]) == "local"
    assert zone_of([WrittenTime(NOON + 90000, zoneless=True)], [NOON]) == "utc", "ahead in both"


def test_the_hour_that_comes_twice_is_the_one_nearer_to_the_change(zone: Callable[[str], None]) -> None:
    zone("CET-1CEST,M3.5.0,M10.5.0/3")
    twice = read_time("2026-10-25T02:30:00")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    for moment in (first, first + 3600):
        assert zone_of([twice], [moment]) == "local"
        assert twice.in_zone("local", moment + 5) == moment
    never = read_time("2026-03-29T02:30:00")  # clocks go from 2 to 3
    assert abs(never.in_zone("local") - datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp()) <= 3600


@given(st.floats(EARLIEST + 1e6, 4e9), st.floats(-AGREES + 1, AGREES - 1))
def test_in_utc_both_readings_are_one(moment: float, off: float) -> None:
    written = WrittenTime(moment, zoneless=True)
    assert zone_of([written], [moment + off]) == "utc"
