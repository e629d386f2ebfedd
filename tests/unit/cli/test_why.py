"""Test how ``coordctl why`` explains: both tables row by row, then the evidence."""

from __future__ import annotations

from typing import Any

from fake_coordd import agent
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.agent import agent_text
from coordd.cli.view import View
from coordd.cli.why import why_text
from coordd.util.text import width


def row(number: int, when: str, verdict: object, **fields: Any) -> dict[str, Any]:
    known = {"fits": False, "decides": False, "value": None, "age": None, "threshold": None, "change": None}
    return {"row": number, "when": when, "verdict": verdict, **known, **fields}


VERDICT_ROWS = [
    row(1, "ended in order", {"status": "inactive", "reason": "ended"}, value="session open"),
    row(
        3,
        "its process lives",
        {"status": "active", "reason": "process"},
        fits=True,
        decides=True,
        value="pid 4711",
        age=3.2,
        change="inactive once the process is gone",
    ),
    row(4, "silence shorter", "active / heartbeat", fits=True, value="beat", age=12.0, threshold=120.0),
]
ACTIVITY_ROWS = [
    row(
        1,
        "it says that it waits for a human",
        "waiting",
        fits=True,
        decides=True,
        value="permission prompt",
        age=240.0,
    )
]
FULL = {
    **agent("321e2ec7-0001", name="shop-12", reason="process"),
    "activity": "waiting",
    "waiting_for": "permission prompt",
    "verdict": {"row": 3, "when": "its process lives"},
    "verdict_rows": VERDICT_ROWS,
    "activity_row": {"row": 1, "when": "it says that it waits for a human"},
    "activity_rows": ACTIVITY_ROWS,
    "stalled": False,
    "evidence": [
        {"signal": "session", "source": "claude-code", "value": "waiting", "age": 240.0, "threshold": None},
        {"signal": "process", "source": "process", "value": "alive", "age": 3.2, "threshold": None},
    ],
    "tokens": {"input": 12, "output": 3},
    "tasks": [],
    "claims": [],
}


def test_both_tables_row_by_row_and_the_evidence() -> None:
    assert why_text(FULL, View()) == [
        "shop-12 (321e2ec7-0001) is active (process), waiting: permission prompt",
        "",
        "Does it live?",
        "   ROW  WHEN               GIVES               VALUE          AGE  THRESHOLD  WHAT WOULD CHANGE IT",
        "     1  ended in order     inactive / ended    session open     -          -  -",
        ">    3  its process lives  active / process    pid 4711       3 s          -  "
        "inactive once the process is gone",
        "+    4  silence shorter    active / heartbeat  beat          12 s      2 min  -",
        "",
        "What does it do?",
        "   ROW  WHEN                               GIVES    VALUE                AGE",
        ">    1  it says that it waits for a human  waiting  permission prompt  4 min",
        "",
        "SIGNAL                 VALUE    AGE",
        "session (claude-code)  waiting  4 min",
        "process (process)      alive    3 s",
    ]


def test_a_daemon_without_rows_has_its_evidence_explained() -> None:
    old = {
        **agent("tester", "inactive", reason="silent"),
        "verdict": {"row": 6, "when": "silence longer"},
        "evidence": [
            {"signal": "heartbeat", "value": "then", "age": 130.0, "silence": 130.0, "threshold": 120.0}
        ],
    }
    assert why_text(old, View()) == [
        "tester is inactive (silent)",
        "by row 6 of the verdict table: silence longer",
        "",
        "SIGNAL     VALUE  AGE    THRESHOLD  WHAT WOULD CHANGE IT",
        "heartbeat  then   2 min  2 min      a beat makes it active",
    ]


def test_the_deciding_row_is_bold_on_a_terminal() -> None:
    assert any("\x1b[1mits process lives" in line for line in why_text(FULL, View(colour=True)))


def test_an_agent_in_full_has_the_rows_that_decided_and_no_tables() -> None:
    text = "\n".join(agent_text(FULL, colour=False))
    assert "row 3: its process lives" in text
    assert "row 1: it says that it waits for a human" in text
    assert "input 12, output 3" in text
    assert "verdict_rows" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(sorted(VERDICT_ROWS[0])), JSON), max_size=3)


@given(
    st.dictionaries(st.sampled_from(sorted(FULL)), JSON),
    st.fixed_dictionaries({}, optional={"verdict_rows": ROWS, "activity_rows": ROWS, "evidence": ROWS}),
    st.integers(1, 200),
)
def test_an_answer_of_any_shape_is_explained(changes: Any, rows: Any, columns: int) -> None:
    for answer in (changes, {**FULL, **changes, **rows}):
        for line in [*why_text(answer, View(columns=columns)), *agent_text(answer, colour=False)]:
            assert line.isprintable()


def test_tables_fit_a_window() -> None:
    long = [{**VERDICT_ROWS[1], "when": "w " * 80, "value": "v" * 90, "change": "c " * 90}]
    lines = why_text({**FULL, "verdict_rows": long, "evidence": []}, View(columns=100))
    assert max(map(width, lines)) <= 100
