"""Test how ``coordctl why`` explains: both tables row by row, then the evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_coordd import agent
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.agent import agent_text
from coordd.cli.view import View
from coordd.cli.why import why_text
from coordd.cli.why_words import sentences
from coordd.util.text import width


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


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
        change="the end of its process",
        source="claude-code",
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
        change="an answer to it",
    )
]
FULL = {
    **agent("321e2ec7-0001", name="shop-12", reason="process"),
    "activity": "waiting",
    "activity_since": "2026-11-22T06:01:00.000Z",
    "waiting_for": "permission prompt",
    "workspace": "/src/wt-app",
    "project": "/src/app",
    "pid": 4711,
    "verdict": {"row": 3, "when": "its process lives"},
    "verdict_rows": VERDICT_ROWS,
    "activity_row": {"row": 1, "when": "it says that it waits for a human"},
    "activity_rows": ACTIVITY_ROWS,
    "stalled": False,
    "evidence": [
        {"signal": "session", "source": "claude-code", "value": "waiting", "age": 240.0, "threshold": None},
        {"signal": "heartbeat", "source": "file", "value": "2026-11-22T06:04:48.000Z", "age": 12.4},
    ],
    "tokens": {"input": 12, "output": 3},
    "tasks": [],
    "claims": [],
}


def test_three_sentences_then_both_tables_row_by_row_and_the_evidence() -> None:
    assert why_text(FULL, View(home="/src")) == [
        "shop-12 waits for you: permission prompt, for 4 min.",
        "It lives: its process (pid 4711) is there.",
        "What would change that: an answer to it; or the end of its process.",
        "Agent 321e2ec7-0001 of ~/app (wt-app).",
        "",
        "The first row that fits decides (>); + marks further rows that fit.",
        "",
        "Does it live?",
        "   1  inactive / ended: ended in order",
        "      now: session open",
        ">  3  active / process: its process lives",
        "      now: pid 4711, age 3 s, source claude-code; would change it: the end of its process",
        "+  4  active / heartbeat: silence shorter",
        "      now: beat, age 12 s, threshold 2 min",
        "",
        "What does it do?",
        ">  1  waiting: it says that it waits for a human",
        "      now: permission prompt, age 4 min; would change it: an answer to it",
        "",
        "What it rests on (times are UTC)",
        "SIGNAL                 VALUE                  AGE",
        "session (claude-code)  waiting              4 min",
        "heartbeat (file)       2026-11-22 06:04:48   12 s",
    ]


@pytest.mark.parametrize("columns", [50, 80, 100, 140])
def test_at_any_width_every_word_can_be_read(columns: int) -> None:
    long = [{**row, "when": "w " * 40 + "when", "change": "c " * 45 + "change"} for row in VERDICT_ROWS]
    agent = {**FULL, "verdict_rows": long}
    lines = why_text(agent, View(columns=columns))
    assert max(map(width, lines)) <= columns
    whole = " ".join(" ".join(why_text(agent, View())).split())
    assert " ".join(" ".join(lines).replace("; would change", " would change").split()) == whole.replace(
        "; would change", " would change"
    )
    assert "…" not in whole


STATES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"activity": "working", "tool": "Bash"},
        "x works: Bash is open, for 4 min.",
        "It lives: its process (pid 4711) is there.",
    ),
    (
        {"activity": "working", "reason": "heartbeat"},
        "x works, for 4 min.",
        "It lives: it has been silent for 12 s, less than the 2 min of agents.timeout.",
    ),
    (
        {"activity": "stalled"},
        "x is stalled, for 4 min: Bash is open, its processes do nothing.",
        "It lives: its process (pid 4711) is there.",
    ),
    (
        {"activity": "blocked", "evidence": [{"signal": "refusal", "value": "rate-limit"}]},
        "x is refused by its provider (rate limit), for 4 min.",
        "It lives: its process (pid 4711) is there.",
    ),
    (
        {"activity": "idle", "pid": None},
        "x is idle, for 4 min: Bash is open, its processes do nothing.",
        "It lives: its process is there.",
    ),
    (
        {"activity": "unknown"},
        "x is active, for 4 min, and nothing tells what it does.",
        "It lives: its process (pid 4711) is there.",
    ),
    (
        {"status": "inactive", "reason": "killed"},
        "x was killed 2 min ago.",
        "It is gone: its process (pid 4711), which coordd saw alive, is gone without an orderly end.",
    ),
    (
        {"status": "inactive", "reason": "ended"},
        "x ended in order 2 min ago.",
        "It is gone: it deregistered, or its process ended in order.",
    ),
    (
        {"status": "inactive", "reason": "silent"},
        "x fell silent 2 min ago.",
        "It counts as gone: it has been silent for 12 s, more than the 2 min of agents.timeout.",
    ),
    (
        {"status": "unknown", "reason": "unreachable"},
        "x is unknown, for 2 min.",
        "Whether it lives cannot be told: the source that knows it cannot be read.",
    ),
    (
        {"status": "unknown", "reason": "quiet", "activity": None},
        "x is unknown, for 2 min.",
        "Whether it lives cannot be told: after its last hook none is due, however long it takes.",
    ),
    (
        {"status": "unknown", "reason": "quiet", "activity": "waiting"},
        "x waits for you: permission prompt, for 4 min.",
        "Whether it lives cannot be told: after its last hook none is due, however long it takes.",
    ),
    (
        {"status": "unknown", "reason": "no-heartbeat"},
        "x is unknown, for 2 min.",
        "Whether it lives cannot be told: by one of its times it beat a moment ago, by the other long "
        "before; a beat decides.",
    ),
    (
        {"status": "unknown", "reason": "no-heartbeat", "last_heartbeat": None, "sources": ["file"]},
        "x is unknown, for 2 min.",
        "Whether it lives cannot be told: no beat of it that can be read and no process of it were ever "
        "seen.",
    ),
    (
        {"status": "inactive", "reason": "abducted"},
        "x is inactive, for 2 min.",
        "It counts as inactive: silence shorter.",
    ),
]


@pytest.mark.parametrize(("fields", "does", "lives"), STATES)
def test_the_verdict_in_sentences(fields: dict[str, Any], does: str, lives: str) -> None:
    agent = {
        **FULL,
        "name": "x",
        "inactive_since": "2026-11-22T06:02:55.000Z",
        "verdict_rows": [{**VERDICT_ROWS[2], "decides": True, "change": "a beat"}],
        "activity_rows": [{**ACTIVITY_ROWS[0], "value": "Bash is open, its processes do nothing"}],
        **fields,
    }
    assert sentences(agent) == [
        does,
        lives,
        "What would change that: an answer to it; or a beat.",
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
        "tester fell silent.",
        "It counts as gone: its last sign is too old.",
        "Agent tester of /src/app.",
        "by row 6 of the verdict table: silence longer",
        "",
        "What it rests on (times are UTC)",
        "SIGNAL     VALUE    AGE  THRESHOLD  WHAT WOULD CHANGE IT",
        "heartbeat  then   2 min      2 min  a beat makes it active",
    ]


def test_times_are_local_or_utc_with_the_zone_said_once(local_zone: None) -> None:
    full = {**FULL, "tokens": {"since": "2026-11-22T05:00:00.000Z"}}
    local, utc = why_text(full, View()), why_text(full, View(utc=True))
    assert "What it rests on (times are XYZ)" in local
    assert "heartbeat (file)       2026-11-22 11:34:48   12 s" in local
    assert "What it rests on (times are UTC)" in utc
    assert "heartbeat (file)       2026-11-22 06:04:48   12 s" in utc
    local, utc = agent_text(full, View()), agent_text(full, View(utc=True))
    assert "timestamp:           2026-11-22 11:35:00 XYZ" in local
    assert "last_heartbeat:      2026-11-22 11:34:48" in local
    assert "tokens:              since 2026-11-22 10:30:00" in local
    assert "timestamp:           2026-11-22 06:05:00 UTC" in utc
    assert "last_heartbeat:      2026-11-22 06:04:48" in utc


def test_a_refusal_is_said_in_the_words_of_all_other_places() -> None:
    refused = {**FULL, "evidence": [{"signal": "refusal", "source": "claude-code", "value": "rate-limit"}]}
    for lines in (why_text(refused, View()), agent_text(refused, View())):
        assert any("rate limit" in line for line in lines)
        assert not any("rate-limit" in line for line in lines)


def test_the_deciding_row_is_bold_on_a_terminal() -> None:
    assert any("\x1b[1m>  3  active / process" in line for line in why_text(FULL, View(colour=True)))


def test_an_agent_in_full_has_the_rows_that_decided_and_no_tables() -> None:
    text = "\n".join(agent_text(FULL, View()))
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
        for line in [*why_text(answer, View(columns=columns)), *agent_text(answer, View(columns=columns))]:
            assert line.isprintable()
