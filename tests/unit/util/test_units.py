"""Durations and sizes: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordd.util.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("60s", 60.0),
        ("15m", 900.0),
        ("1h", 3600.0),
        ("24h", 86400.0),
        ("1d", 86400.0),
        ("2w", 1209600.0),
        ("500ms", 0.5),
        ("1h30m", 5400.0),
        (" 1h 30m ", 5400.0),
        ("1.5h", 5400.0),
        ("10 min", 600.0),
        ("2 days", 172800.0),
        ("1 hour 30 minutes", 5400.0),
        ("1day", 86400.0),
        ("90 seconds", 90.0),
        ("1week", 604800.0),
        ("0.3s", 0.3),
        ("0s", 0.0),
        ("60", 60.0),
        ("2.5", 2.5),
        (60, 60.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read(value: object, seconds: float) -> None:
    result = parse_duration(value)
    assert result == seconds
    assert isinstance(result, float)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "s",
            "soon",
            "1y",
            "1month",
            "5M",
            "1h 1 hour",
            "-5s",
            "1h30",
            "30m1h",
            "1h1h",
            "1..5s",
            ".",
            ".s",
            "+1s",
            "1e3",
        ),
        *("\u0663s", "1h-30m", "inf", "nan", "9" * 400 + "s", "9" * 400, "1s" * 40),
        *(-1, -0.5, float("inf"), float("nan"), 10**400, True, False, None, [], {}, b"60s"),
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_duration(value)


def test_an_error_names_the_unit_and_the_value() -> None:
    with pytest.raises(ValueError, match=r"unknown unit 'y' in '1y': one of w, d, h, m, s, ms"):
        parse_duration("1y")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (0.5, "500ms"),
        (90, "1m30s"),
        (3600, "1h"),
        (86400 * 30, "30d"),
        (1.5, "1s500ms"),
    ],
)
def test_a_duration_is_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_what_is_no_duration_is_not_written(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        format_duration(seconds)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**14))
def test_a_duration_of_whole_milliseconds_comes_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("2GiB", 2 << 30),
        ("256MiB", 256 << 20),
        ("10MB", 10_000_000),
        ("10mb", 10_000_000),
        ("1kB", 1000),
        ("1KiB", 1024),
        ("1TiB", 1 << 40),
        ("1.5 MiB", 3 << 19),
        ("4096", 4096),
        ("7B", 7),
        (4096, 4096),
        (0, 0),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_a_size_is_read(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value",
    [
        "",
        "GiB",
        "2G",
        "10M",
        "2 GiBs",
        "-1",
        "-1MB",
        "1e6",
        "1.2.3MB",
        "\u0663MB",
        "9" * 5000,
        -1,
        1.5,
        True,
        None,
        [],
    ],
)
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1537, "1537B"),
        (1000, "1kB"),
        (2 << 30, "2GiB"),
        (10_000_000, "10MB"),
        (1 << 50, "1024TiB"),
    ],
)
def test_a_size_is_written(size: int, text: str) -> None:
    assert format_size(size) == text


def test_a_negative_size_is_not_written() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_size(-1)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**70))
@example(1 << 40)
def test_a_size_comes_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@settings(deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"[0-9.]{0,5}(ms|[dhmsw]| )[0-9.]{0,5}[dhmsw]?", fullmatch=True))
def test_no_text_does_worse_than_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError:
            continue


def test_the_module_imports_nothing() -> None:
    """The client's fast path reads it: dataclasses or typing alone would cost several milliseconds."""
    code = (
        "import sys; old = set(sys.modules); import coordd.util.units; print(*sorted(set(sys.modules) - old))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(run.stdout.split()) <= {"__future__", "coordd", "coordd.util", "coordd.util.units"}
