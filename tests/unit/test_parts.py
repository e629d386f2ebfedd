import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.parts import Part, newest_part, parse_part, part_name


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


def test_the_newest_part_goes_by_number_not_by_spelling_and_prefers_compressed():
    names = ["agent_2026-11-22.jsonl.gz", "agent_2026-11-22.9.jsonl", "agent_2026-11-22.10.jsonl", "x"]
    newest = {"series": "agent", "extension": "jsonl"}
    assert newest_part(names, date="2026-11-22", **newest) == Part("2026-11-22", 10)
    names.append("agent_2026-11-22.10.jsonl.gz")
    assert newest_part(names, date="2026-11-22", **newest) == Part("2026-11-22", 10, True)
    assert newest_part(names, date="2026-11-23", **newest) is None
