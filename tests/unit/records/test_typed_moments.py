"""Moments as people type them: in local time or in UTC, the same forms everywhere, the error lists them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.records.typed_moments import FORMS, parse_moment
from coordd.util.timestamps import format_utc, parse_timestamp

NOON = 1_795_348_800.0  # 2026-11-22T12:00:00Z, a Sunday; 13:00 in Berlin
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def read(text: str | float, *, utc: bool, now: float = NOON) -> str:
    return format_utc(parse_moment(text, now, utc=utc)).removesuffix(".000Z").removesuffix("Z")


@pytest.mark.parametrize(
    ("text", "utc", "local"),
    [
        ("1h", "2026-11-22T11:00:00", "2026-11-22T11:00:00"),
        ("1h30m", "2026-11-22T10:30:00", "2026-11-22T10:30:00"),
        ("10 min", "2026-11-22T11:50:00", "2026-11-22T11:50:00"),
        ("10 min ago", "2026-11-22T11:50:00", "2026-11-22T11:50:00"),
        ("2 days", "2026-11-20T12:00:00", "2026-11-20T12:00:00"),
        ("1000h", "2026-10-11T20:00:00", "2026-10-11T20:00:00"),
        ("500ms", "2026-11-22T11:59:59.500", "2026-11-22T11:59:59.500"),
        ("now", "2026-11-22T12:00:00", "2026-11-22T12:00:00"),
        ("today", "2026-11-22T00:00:00", "2026-11-21T23:00:00"),
        ("Yesterday", "2026-11-21T00:00:00", "2026-11-20T23:00:00"),
        ("yesterday 23:55", "2026-11-21T23:55:00", "2026-11-21T22:55:00"),
        ("today 8:05:30", "2026-11-22T08:05:30", "2026-11-22T07:05:30"),
        ("23:55", "2026-11-21T23:55:00", "2026-11-21T22:55:00"),
        ("12:30", "2026-11-21T12:30:00", "2026-11-22T11:30:00"),
        ("11:59:59.5", "2026-11-22T11:59:59.500", "2026-11-22T10:59:59.500"),
        ("2026-11-22", "2026-11-22T00:00:00", "2026-11-21T23:00:00"),
        ("20261122", "2026-11-22T00:00:00", "2026-11-21T23:00:00"),
        ("2026-11-22T06:05", "2026-11-22T06:05:00", "2026-11-22T05:05:00"),
        (" 2026-11-22 06:05:00.123 ", "2026-11-22T06:05:00.123", "2026-11-22T05:05:00.123"),
        ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00", "2026-11-22T12:00:00"),
        ("2026-11-22T13:00+01:00", "2026-11-22T12:00:00", "2026-11-22T12:00:00"),
        ("2026-11-22 07:05:00.500 CET", "2026-11-22T06:05:00.500", "2026-11-22T06:05:00.500"),
        ("2026-11-22 07:05:00 UTC", "2026-11-22T07:05:00", "2026-11-22T07:05:00"),
        ("1795348800", "2026-11-22T12:00:00", "2026-11-22T12:00:00"),
        ("1795348800.5", "2026-11-22T12:00:00.500", "2026-11-22T12:00:00.500"),
        (1795348800, "2026-11-22T12:00:00", "2026-11-22T12:00:00"),
        (NOON, "2026-11-22T12:00:00", "2026-11-22T12:00:00"),
    ],
)
def test_a_moment_is_read_in_the_zone_in_which_times_are_shown(
    text: str | float, utc: str, local: str
) -> None:
    assert (read(text, utc=True), read(text, utc=False)) == (utc, local)


def test_a_day_of_a_change_of_the_clocks_begins_at_its_own_midnight() -> None:
    now = parse_timestamp("2026-10-25T12:00:00Z")  # at 03:00 CEST it became 02:00 CET
    assert read("today", utc=False, now=now) == "2026-10-24T22:00:00"
    assert read("yesterday", utc=False, now=now) == "2026-10-23T22:00:00"


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "soon", "5", 5, "-1h", float("nan"), float("inf"), 10**400, True, "1e30", "Z", "ago"),
        *("25:00", "12:60", "24:00", "today 25:00", "today noon", "yesterday 23:55 x", "tomorrow", "\u0663h"),
        *(
            "2026-13-01",
            "2026-11-22T06:05 XYZ",
            "1" * 65,
            "1795348800\0",
            "9" * 60,
            "1969-12-31",
            "0001-01-01",
        ),
    ],
)
@pytest.mark.parametrize("utc", [True, False])
def test_what_is_no_moment_is_told_all_forms(value: str | float, utc: bool) -> None:
    with pytest.raises(ValueError, match="expected a duration") as caught:
        parse_moment(value, NOON, utc=utc)
    assert FORMS in str(caught.value)
    for word in ("10 min", "today", "yesterday", "23:55", "2026-11-22T06:05:00", "zone", "epoch"):
        assert word in FORMS


@given(st.text(max_size=70) | st.from_regex(r"[0-9:. a-zA-Z+-]{0,30}"), st.booleans())
def test_any_text_is_a_moment_of_the_calendar_or_refused(text: str, utc: bool) -> None:
    try:
        moment = parse_moment(text, NOON, utc=utc)
    except ValueError:
        return
    assert format_utc(moment)
