"""Timestamps: what is written can be read again, and what strangers write is read or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordd.util.timestamps import format_seconds, format_utc, parse_timestamp, utc_date

LATEST = 253402300799.0
moments = st.floats(min_value=0, max_value=LATEST)


@settings(deadline=None)
@given(moments)
@example(0.0)
@example(0.0005)
@example(0.9996)
@example(1e9 - 0.0004)
def test_what_is_written_reads_back_to_the_millisecond(epoch: float) -> None:
    text = format_utc(epoch)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert abs(parse_timestamp(text) - epoch) <= 0.00051 + 1e-4 * (epoch > 1e11)
    assert format_utc(parse_timestamp(text)) == text


@settings(deadline=None)
@given(moments, moments)
def test_text_sorts_as_the_moments_do(a: float, b: float) -> None:
    if a <= b:
        assert format_utc(a) <= format_utc(b)
        assert utc_date(a) <= utc_date(b)


@settings(deadline=None)
@given(moments)
def test_seconds_and_dates_are_cut_not_rounded(epoch: float) -> None:
    text = format_seconds(epoch)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert 0 <= epoch - parse_timestamp(text) < 1
    assert utc_date(epoch) == text[:10]


def test_the_one_form() -> None:
    assert format_utc(1795327500.123) == "2026-11-22T06:05:00.123Z"
    assert format_seconds(1795327500.999) == "2026-11-22T06:05:00Z"
    assert utc_date(1795391999.9999) == "2026-11-22"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e15, -1e15])
def test_what_is_no_moment_cannot_be_written(bad: float) -> None:
    with pytest.raises(ValueError, match=r"not a moment|out of range|year"):
        format_utc(bad)


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("2026-11-22T06:05:00Z", 1795327500.0),
        ("2026-11-22T06:05:00.123456Z", 1795327500.123456),
        ("2026-11-22T06:05:00+00:00", 1795327500.0),
        ("2026-11-22T08:05:00+02:00", 1795327500.0),
        ("2026-11-22T06:05:00", 1795327500.0),
        ("2026-11-22 06:05:00", 1795327500.0),
        (" 2026-11-22T06:05:00Z\n", 1795327500.0),
        ("1795327500", 1795327500.0),
        ("1795327500.5", 1795327500.5),
        (1795327500, 1795327500.0),
        (1795327500.5, 1795327500.5),
        (0, 0.0),
    ],
)
def test_a_strangers_time_is_read(text: str | float, epoch: float) -> None:
    assert parse_timestamp(text) == pytest.approx(epoch, abs=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "",
            " ",
            "now",
            ".",
            "1.2.3",
            "-1",
            "+5",
            "1e9",
            "0x10",
            "١٢",
            "NaN",
            "inf",
            "2026-13-01T00:00:00Z",
        ),
        *("9" * 30, "9" * 400, "1969-12-31T23:59:59Z", "2026-11-22T06:05:00Z" * 10),
        *(True, False, None, [], {}, b"1", -1, -0.001, 1e12, 10**400, float("nan"), float("inf")),
    ],
)
def test_what_is_no_time_is_refused_as_a_value_error(bad: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_timestamp(bad)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text() | st.floats() | st.integers())
def test_whatever_a_stranger_writes_is_a_moment_or_a_value_error(value: str | float) -> None:
    try:
        epoch = parse_timestamp(value)
    except ValueError:
        return
    assert 0 <= epoch <= LATEST
    format_utc(epoch)
