"""Test names of record files, made and parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.records.names import Part, parse_part, part_name, parts_of, series_of


def test_names():
    assert part_name("agent", Part("2026-11-22", 1), "jsonl") == "agent_2026-11-22.jsonl"
    assert part_name("agent", Part("2026-11-22", 2), "jsonl") == "agent_2026-11-22.2.jsonl"
    assert part_name("agent", Part("2026-11-22", 3, True), "jsonl") == "agent_2026-11-22.3.jsonl.gz"


@given(st.integers(1, 999_999_999), st.booleans(), st.dates())
def test_a_name_is_read_back(number, compressed, date):
    part = Part(date.isoformat(), number, compressed)
    assert parse_part(part_name("event", part, "jsonl"), "event", "jsonl") == part


@pytest.mark.parametrize(
    "name",
    [
        "agent.jsonl",
        "agent_2026-11-22.jsonl.damaged",
        "agent_2026-11-22.1.jsonl",
        "agent_2026-11-22.02.jsonl",
        "agent_2026-11-22.-2.jsonl",
        "agent_2026-11-22.٢.jsonl",
        "agent_2026-11-22.jsonl\n",
        "agent_2026-11-22xjsonl",
        "agent_2026-11-22.jsonl.gz.tmp",
        "system_2026-11-22.jsonl",
        ".agent_2026-11-22.jsonl",
    ],
)
def test_a_strange_name_is_no_part(name):
    assert parse_part(name, "agent", "jsonl") is None


def test_the_parts_of_a_date_sort_by_number_not_by_spelling():
    names = ["agent_2026-11-22.jsonl.gz", "agent_2026-11-22.9.jsonl", "agent_2026-11-22.10.jsonl", "x"]
    found = parts_of(names, series="agent", date="2026-11-22", extension="jsonl")
    assert sorted(found) == [
        Part("2026-11-22", 1, True),
        Part("2026-11-22", 9),
        Part("2026-11-22", 10),
    ]
    assert parts_of(names, series="agent", date="2026-11-23", extension="jsonl") == set()


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("agent_2026-11-22.jsonl", "agent"),
        ("performance_2026-11-22.2.csv.gz", "performance"),
        ("performance_2026-11-22.jsonl", None),
        ("coordd.log", None),
        ("agents_2026-11-22.jsonl", None),
    ],
)
def test_every_part_has_its_series(name, series):
    found = series_of(name)
    assert (found and found[0]) == series
