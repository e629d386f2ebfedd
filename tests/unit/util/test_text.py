import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordd.util import fastjson
from coordd.util.text import (
    age,
    clipped,
    duration,
    epoch_of,
    escape,
    escape_lines,
    number,
    paint,
    shown,
    size,
    table,
    width,
)
from coordd.util.timestamps import format_utc, parse_timestamp


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
@example("\x1b[2J\x9b31m\u202eevil\u2066\ud800\x7f\u2028\U000e0041")
def test_nothing_escaped_can_move_a_cursor_or_turn_the_text(text: str) -> None:
    assert escape(text).isprintable()
    escape(text).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü 你", "plain ü 你"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b", "\\x9b"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_is_not_visible_is_named(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_lines_of_a_message_stay_lines() -> None:
    assert escape_lines("a\x1b\nb\r") == "a\\x1b\nb\\r"


@given(st.floats(0, 253402300799))
def test_own_timestamps_are_read_as_the_full_parser_reads_them(moment: float) -> None:
    text = format_utc(moment)
    assert epoch_of(text) == pytest.approx(parse_timestamp(text), abs=1e-6)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))
def test_own_timestamps_without_a_fraction(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert epoch_of(moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")) == moment.timestamp()


@pytest.mark.parametrize(
    "bad",
    [
        None,
        12,
        "",
        "yesterday",
        "2026-11-22",
        "2026-13-22T06:05:00Z",
        "2026-11-22T24:05:00Z",
        "2026-11-22T06:05:00+00:00",
        "2026-11-22T06:05:00.12xZ",
        "2026-11-22 06:05:00.123Z",
        "٢٠٢٦-11-22T06:05:00Z",
    ],
)
def test_any_other_timestamp_is_unknown(bad: object) -> None:
    assert epoch_of(bad) is None


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_a_timestamp(text: str) -> None:
    epoch_of(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        ("12", "-"),
        (True, "-"),
        (-3, "0 s"),
        (12.9, "12 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (172800, "2 d"),
        (10**400, "-"),
    ],
)
def test_age(seconds: object, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.4, "0 s"),
        (45, "45 s"),
        (200, "3 min 20 s"),
        (7200, "2 h"),
        (7980, "2 h 13 min"),
        (446400, "5 d 4 h"),
    ],
)
def test_duration(seconds: object, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (0, "0 B"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        (16 * 2**30, "16.0 GiB"),
        (2**62, "4194304 TiB"),
    ],
)
def test_size(value: object, words: str) -> None:
    assert size(value) == words


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "1", None, True, []])
def test_what_is_no_finite_number_is_unknown(value: object) -> None:
    assert number(value) is None


def test_scalars_as_words() -> None:
    assert [shown(v) for v in (None, True, 0.25, 3, "a\x1b")] == ["-", "yes", "0.25", "3", "a\\x1b"]


@given(st.lists(st.lists(st.text(st.characters(categories=["L", "N"])), min_size=3, max_size=3), min_size=1))
def test_columns_of_a_table_begin_at_one_place(rows: list[list[str]]) -> None:
    rows = [["AGENT", "WAS", "END"], *rows]
    lines = table(rows)
    starts = {
        width(line[: line.rfind(row[2])]) for line, row in zip(lines, rows, strict=True) if row[2].isalpha()
    }
    assert len(starts) <= 1 or any(" " in cell for row in rows for cell in row)
    assert all(line == line.rstrip() for line in lines)


def test_colours_do_not_move_columns() -> None:
    rows = [["a", "active", "x"], ["long", "b", "y"]]
    coloured = table(rows, lambda y, x: "green" if x == 1 else None)
    assert [line.replace("\x1b[32m", "").replace("\x1b[0m", "") for line in coloured] == table(rows)
    assert coloured[0] == f"a     {paint('active', 'green', colour=True)}  x"


def test_wide_characters_take_two_columns() -> None:
    assert table([["你", "x"], ["ab", "y"]]) == ["你  x", "ab  y"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_the_quick_json_is_json(value: object) -> None:
    text = fastjson.dumps(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert fastjson.loads(text) == json.loads(text)
    assert fastjson.loads(f" {json.dumps(value, indent=1)}\r\n") == json.loads(text)


@given(st.text() | JSON.map(json.dumps).flatmap(lambda t: st.integers(0, len(t)).map(lambda n: t[:n] + "]")))
@example("nul")
@example('"\x01"')
@example("{}x")
@example("[1,]")
@example("NaN")
@example("9" * 5000)
def test_the_quick_json_refuses_what_json_refuses(text: str) -> None:
    def outcome(loads: object) -> str:
        try:
            return repr(loads(text))  # type: ignore[operator]
        except ValueError as error:
            return f"{type(error).__name__}: {error}"

    assert outcome(fastjson.loads) == outcome(json.loads)


def test_the_quick_json_leaves_all_to_json_where_its_core_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastjson, "_CORE", None)
    assert fastjson.loads(fastjson.dumps({"a": [1, None, "ü"]})) == {"a": [1, None, "ü"]}
    with pytest.raises(ValueError, match="Out of range"):
        fastjson.dumps(float("nan"))


def test_the_quick_json_uses_the_c_core_of_this_python() -> None:
    """Were it lost, everything would still work, and slowly."""
    assert fastjson._CORE is not None


def test_a_value_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="not a JSON value: object"):
        fastjson.dumps([object()])


@given(st.text(), st.integers(2, 60))
def test_a_clipped_text_fits_and_says_that_it_was_cut(text: str, columns: int) -> None:
    text = escape(text)
    cut = clipped(text, columns)
    assert width(cut) <= columns
    assert cut == text if width(text) <= columns else cut.endswith("…") and text.startswith(cut[:-1])


def test_wide_characters_are_clipped_by_columns() -> None:
    assert clipped("你" * 10, 8) == "你你你…"
    assert clipped("abcdefgh", 8) == "abcdefgh"
    assert clipped("abcdefghi", 8) == "abcdefg…"
