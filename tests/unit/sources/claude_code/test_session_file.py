"""What a session record says, and what of it is not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sources.claude_code.session_file import Declared, SessionRecord, parse_session, phrase_of

WALL = 1_795_736_900.0
REAL: dict[str, Any] = {
    "pid": 1505,
    "sessionId": "321e2ec7-c8a1-4d3e-9f00-6f2d1d0f5c11",
    "cwd": "/p",
    "startedAt": 1795736873345,
    "procStart": "82245",
    "version": "2.1.197",
    "peerProtocol": 1,
    "kind": "interactive",
    "entrypoint": "cli",
    "name": "proj-12",
    "nameSource": "derived",
    "status": "waiting",
    "waitingFor": "permission prompt",
    "updatedAt": 1795736894710,
    "statusUpdatedAt": 1795736894711,
}


def parsed(**changed: Any) -> SessionRecord:
    record = parse_session(1505, json.dumps({**REAL, **changed}).encode(), WALL).value
    assert record is not None
    return record


def test_a_real_record_is_read_whole() -> None:
    record, problem = parse_session(1505, json.dumps(REAL).encode(), WALL)
    assert problem is None
    assert record == SessionRecord(
        pid=1505,
        session_id="321e2ec7-c8a1-4d3e-9f00-6f2d1d0f5c11",
        cwd="/p",
        proc_start="82245",
        name="proj-12",
        version="2.1.197",
        started_at=1795736873.345,
        declared=Declared("waiting", 1795736894.711, waiting_for="permission prompt"),
    )


@pytest.mark.parametrize(
    ("status", "declared"),
    [
        ("busy", ("working", None, None, False)),
        ("idle", ("idle", None, None, False)),
        ("shell", ("idle", None, None, True)),
        ("waiting", ("waiting", None, "permission prompt", False)),
        ("pondering", (None, "pondering", None, False)),
    ],
)
def test_each_status_is_declared_as_one_activity(status: str, declared: tuple[object, ...]) -> None:
    found = parsed(status=status).declared
    assert (found.activity, found.undeclarable, found.waiting_for, found.shell) == declared
    assert found.at == 1795736894.711


def test_without_a_status_nothing_is_declared() -> None:
    """So it is in claude -p."""
    assert parsed(status=None).declared == Declared()


def test_the_time_of_a_status_is_that_of_the_record_where_it_has_none() -> None:
    assert parsed(statusUpdatedAt=None).declared.at == 1795736894.710
    assert parsed(statusUpdatedAt=5, updatedAt=None).declared.at is None


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("permission prompt", "permission prompt"),
        ("sandbox request", "permission prompt"),
        ("worker request", "permission prompt"),
        ("approve Bash", "permission prompt"),
        ("approve rm -rf /secret", "permission prompt"),
        ("question", "question"),
        ("plan approval", "plan approval"),
        ("input needed", "input"),
        ("dialog open", "input"),
        ("rm -rf /secret?", "input"),
        ("", "input"),
        (None, "input"),
    ],
)
def test_only_known_phrases_are_passed_on(text: str | None, phrase: str) -> None:
    assert phrase_of(text) == phrase


def test_a_parked_front_end_is_known_as_one() -> None:
    assert parsed(parkedJobId="job-1").parked
    assert not parsed().parked


@pytest.mark.parametrize(
    "session_id",
    ["", None, 5.5, [], "a/b", "../x", ".hidden", "a*", "[a]", "a b", "x" * 241, "a\0b", "ä", "-rf"],
)
def test_what_cannot_be_part_of_a_name_is_no_session_id(session_id: Any) -> None:
    record, problem = parse_session(1505, json.dumps({**REAL, "sessionId": session_id}).encode(), WALL)
    assert record is None
    assert problem


def test_a_record_of_another_pid_is_none() -> None:
    assert parse_session(7, json.dumps(REAL).encode(), WALL) == (None, "pid: not that of the file's name")


def test_half_a_record_is_none_and_an_empty_one_no_problem() -> None:
    whole = json.dumps(REAL).encode()
    assert parse_session(1505, b"", WALL) == (None, None)
    assert parse_session(1505, whole[:50], WALL) == (None, "not JSON")
    assert parse_session(1505, b"[]", WALL) == (None, "JSON, but not an object")
    assert parse_session(1505, b"{}", WALL) == (None, "no sessionId")


def test_one_bad_field_costs_no_other() -> None:
    record, problem = parse_session(
        1505, json.dumps({**REAL, "startedAt": "soon", "version": 7}).encode(), WALL
    )
    assert record is not None
    assert (record.started_at, record.version, record.name) == (None, None, "proj-12")
    assert problem is not None
    assert "startedAt" in problem
    assert "soon" not in problem


def test_a_time_that_cannot_be_one_is_none() -> None:
    """More than a day ahead, or before 2001."""
    for millis in (253_402_300_799_000, int(1000 * (WALL + 90_000)), 12345):
        record = parsed(startedAt=millis, statusUpdatedAt=millis, updatedAt=millis)
        assert (record.started_at, record.declared.at) == (None, None)
        assert record.declared.activity == "waiting"
    record, problem = parse_session(
        1505, json.dumps({**REAL, "startedAt": 253_402_300_799_000}).encode(), WALL
    )
    assert (record is not None, problem) == (True, "startedAt: more than a day ahead")
    assert parsed(statusUpdatedAt=int(1000 * (WALL + 90_000))).declared.at == REAL["updatedAt"] / 1000
    assert parsed(startedAt=int(1000 * (WALL + 80_000))).started_at == WALL + 80_000


def test_a_long_name_is_cut_and_a_relative_directory_is_none() -> None:
    assert parsed(name="n" * 1000).name == "n" * 256
    assert parsed(cwd="p").cwd is None
    assert parsed(cwd="/a\0b").cwd is None


@given(st.binary(max_size=200) | st.dictionaries(st.sampled_from(sorted(REAL)), st.text() | st.integers()))
def test_whatever_is_written_something_is_said_of_it(content: Any) -> None:
    raw = content if isinstance(content, bytes) else json.dumps({**REAL, **content}).encode()
    record, problem = parse_session(1505, raw, WALL)
    assert record is not None or problem is not None or not raw.strip()


def test_free_text_in_place_of_a_word_is_not_passed_on() -> None:
    record = parsed(status="SECRET: run it", version="SECRET one")
    assert record.declared.undeclarable == "an unreadable word"
    assert "SECRET" not in repr(record)
