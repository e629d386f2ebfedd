"""Quiet hours in zones whose clocks change."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.alerts.quiet import Quiet, parse_quiet

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Asia/Kolkata")


def localtime_of(name: str):  # type: ignore[no-untyped-def]  # a function as time.localtime is
    zone = ZoneInfo(name)

    def localtime(epoch: float) -> time.struct_time:
        local = datetime.fromtimestamp(epoch, UTC).astimezone(zone)
        fields = local.timetuple()
        offset = local.utcoffset()
        assert offset is not None
        return time.struct_time(fields, {"tm_gmtoff": int(offset.total_seconds()), "tm_zone": name})

    return localtime


BERLIN = localtime_of("Europe/Berlin")


def at(*parts: int, fold: int = 0) -> float:
    return datetime(*parts, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold).timestamp()  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [("22:00-07:00", 1320, 420), ("7:30 - 9:00", 450, 540), ("00:00-23:59", 0, 1439)],
)
def test_parsed(text: str, begin: int, end: int) -> None:
    assert parse_quiet(text) == Quiet(begin, end)
    assert parse_quiet(parse_quiet(text).words()) == Quiet(begin, end)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "22:00",
        "22-7",
        "24:00-07:00",
        "22:00-07:60",
        "8:00-8:00",
        22,
        "a:b-c:d",
        "1:2-3:4-5:6",
        "٢٢:00-07:00",
    ],
)
def test_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected local times"):
        parse_quiet(value)


def test_over_midnight() -> None:
    night = Quiet(22 * 60, 7 * 60)
    assert night.until(at(2026, 11, 20, 21, 59), BERLIN) is None
    for moment in (at(2026, 11, 20, 22, 0), at(2026, 11, 21, 0, 0), at(2026, 11, 21, 6, 59)):
        assert night.until(moment, BERLIN) == at(2026, 11, 21, 7, 0)
    assert night.until(at(2026, 11, 21, 7, 0), BERLIN) is None


def test_within_a_day() -> None:
    lunch = Quiet(12 * 60, 13 * 60)
    assert lunch.until(at(2026, 11, 20, 12, 30), BERLIN) == at(2026, 11, 20, 13, 0)
    assert lunch.until(at(2026, 11, 20, 13, 0), BERLIN) is None


def test_an_end_that_the_clock_shows_twice_is_the_second() -> None:
    # 25 October 2026: 03:00 CEST becomes 02:00 CET
    night = Quiet(22 * 60, 2 * 60 + 30)
    end = at(2026, 10, 25, 2, 30, fold=1)
    assert night.until(at(2026, 10, 24, 23, 0), BERLIN) == end
    assert night.until(at(2026, 10, 25, 2, 45, fold=0), BERLIN) == end
    assert night.until(end, BERLIN) is None


def test_a_beginning_that_the_clock_shows_twice_is_the_first() -> None:
    early = Quiet(2 * 60 + 30, 7 * 60)
    assert early.until(at(2026, 10, 25, 2, 45, fold=0), BERLIN) == at(2026, 10, 25, 7, 0)
    assert early.until(at(2026, 10, 25, 2, 10, fold=1), BERLIN) == at(2026, 10, 25, 7, 0)


def test_times_that_the_clock_never_shows_are_the_jump() -> None:
    # 29 March 2026: 02:00 CET becomes 03:00 CEST
    jump = at(2026, 3, 29, 3, 0)
    assert Quiet(22 * 60, 2 * 60 + 30).until(at(2026, 3, 29, 1, 0), BERLIN) == jump
    assert Quiet(2 * 60 + 30, 7 * 60).until(jump, BERLIN) == at(2026, 3, 29, 7, 0)
    assert Quiet(2 * 60 + 30, 7 * 60).until(jump - 1, BERLIN) is None


@given(
    zone=st.sampled_from(ZONES),
    day=st.datetimes(min_value=datetime(2010, 1, 1), max_value=datetime(2037, 12, 31)),
    begin=st.integers(0, 1439),
    length=st.integers(1, 1439),
)
def test_quiet_hours_end_after_they_begin_and_stay_ended(
    zone: str, day: datetime, begin: int, length: int
) -> None:
    localtime = localtime_of(zone)
    quiet = Quiet(begin, (begin + length) % 1440)
    moment = day.replace(tzinfo=UTC).timestamp()
    end = quiet.until(moment, localtime)
    if end is not None:
        assert moment < end <= moment + timedelta(hours=50).total_seconds()
        if 120 < length < 1200:  # others may meet across a change of clocks
            assert quiet.until(end, localtime) is None
    elif 120 < length < 1200:
        shown = localtime(moment)
        minute = 60 * shown.tm_hour + shown.tm_min
        inside = (minute - quiet.begin) % 1440 < length
        near = any(
            localtime(moment + hours * 3600).tm_gmtoff != shown.tm_gmtoff for hours in (-26, -3, 3, 26)
        )
        assert near or not inside
