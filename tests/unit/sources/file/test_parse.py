"""Test that traces are parsed from bytes, and that bad parts leave the others valid."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.traces import Claim, Progress, Registration
from coordd.sources.file.claims import (
    claimed_task_of,
    merge_claims,
    parse_claim,
    parse_progress,
    progress_task_of,
    task_names_of,
)
from coordd.sources.file.parse import (
    TaskIds,
    agent_id_of,
    parse_active_list,
    parse_heartbeat,
    parse_registration,
    parse_tasks,
)
from coordd.util.fields import Malformed, jsonable

NOON = 1795262400.0  # 2026-11-21T12:00:00Z


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"2026-11-21T12:00:00Z\n", NOON),
        (b"2026-11-21T12:00:00", NOON),
        (b"\xef\xbb\xbf2026-11-21T13:00:00+01:00\r\n", NOON),
        (b"1795262400.0", NOON),
        (b"", None),
        (b" \n", None),
    ],
)
def test_a_heartbeat_is_a_timestamp_or_nothing(content: bytes, expected: float | None) -> None:
    assert parse_heartbeat(content) == expected


@pytest.mark.parametrize(
    "content",
    [b"soon", b"\0" * 24, b"NaN", b"-1", b"1e400", b"9" * 5000, b"\xff\xfe", b"2026-11-21T12:00:00Z x"],
)
def test_a_heartbeat_that_is_no_timestamp_says_so_without_its_content(content: bytes) -> None:
    with pytest.raises(Malformed, match=r"^not a timestamp$"):
        parse_heartbeat(content)


def test_tasks_are_counted_once_each_in_their_order_without_blank_lines() -> None:
    assert parse_tasks(b"t2\n\n  t1  \r\nt2\n\t\n").value == TaskIds(("t2", "t1"))
    assert parse_tasks(b"") == (TaskIds(), None)


def test_of_a_long_list_the_first_tasks_are_named_and_the_rest_is_counted() -> None:
    content = b"\xef\xbb\xbfa\nb\n\nc\r\n  a\nd\nb\n" + b"y" * 257 + b"\n" + "é".encode() * 200 + b"\n"
    assert parse_tasks(content, 2) == (
        TaskIds(("a", "b"), 3),
        "holds an id longer than 256 characters, which was skipped",
    )
    full = b"".join(b"%d\n" % number for number in range(150_000))
    ids = parse_tasks(full).value
    assert (len(ids.named), ids.unnamed) == (10_000, 140_000)


def test_an_overlong_id_is_skipped_and_reported_and_its_neighbours_stay() -> None:
    ids, problem = parse_tasks(b"a\n" + b"x" * 256 + b"\n" + b"y" * 257 + b"\nb")
    assert ids == TaskIds(("a", "x" * 256, "b"))
    assert problem is not None
    assert "256" in problem


def test_the_active_list_is_a_set_of_ids() -> None:
    assert parse_active_list(b"a\nb\na\n") == (frozenset({"a", "b"}), None)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.heartbeat", "a"),
        ("a.b.heartbeat", "a.b"),
        ("a.heartbeat.tmp", None),
        (".a.heartbeat", None),
        (".heartbeat", None),
        ("a.tasks", None),
        ("a\nb\x1b[31m.heartbeat", "a\nb\x1b[31m"),
        ("\udcff\udc80é.heartbeat", "\\xff\\x80é"),
    ],
)
def test_the_agent_of_a_file_name(filename: str, expected: str | None) -> None:
    assert agent_id_of(filename, ".heartbeat") == expected


def test_a_file_name_whose_escapes_grow_too_long_is_malformed() -> None:
    with pytest.raises(Malformed):
        agent_id_of("\udcff" * 65 + ".heartbeat", ".heartbeat")


def test_a_registration_says_all_it_can() -> None:
    content = json.dumps(
        {
            "id": "a",
            "started_at": "2026-11-21T12:00:00Z",
            "status": "active",
            "capabilities": ["code", "test"],
            "project_type": "python",
            "hostname": "box",
            "pid": 42,
            "proc_start": 1234,
        }
    ).encode()
    assert parse_registration(content) == (
        Registration(NOON, "active", "box", 42, 1234.0),
        None,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("started_at", "soon"),
        ("started_at", True),
        ("started_at", 1e300),
        ("status", 3),
        ("status", "s" * 257),
        ("pid", "forty-two"),
        ("pid", 0),
        ("pid", True),
        ("pid", 10**4000),
        ("pid", 2**31),
        ("proc_start", -1),
        ("proc_start", float("nan")),
        ("proc_start", float("inf")),
        ("hostname", {}),
        ("hostname", ["box"]),
    ],
)
def test_a_bad_field_is_none_and_named_and_the_others_count(field: str, value: object) -> None:
    good = {"status": "busy", "pid": 7}
    registration, problem = parse_registration(json.dumps({**good, field: value}).encode())
    assert getattr(registration, field) is None
    others = good.keys() - {field}
    assert {name: getattr(registration, name) for name in others} == {name: good[name] for name in others}
    assert problem is not None
    assert problem.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[1]", "not an object"),
        (b"null", "not an object"),
        (b"{", "not JSON"),
        (b"[" * 60_000, "nested too deeply"),
        (b'{"a":' * 10_000, "nested too deeply"),
        (b"\0\xff", "not JSON"),
    ],
)
def test_json_of_no_use_makes_everything_unknown_and_is_reported(content: bytes, reason: str) -> None:
    registration, problem = parse_registration(content)
    assert registration == Registration()
    assert problem is not None
    assert reason in problem


def test_an_empty_registration_is_one_being_written_and_not_malformed() -> None:
    assert parse_registration(b"") == (Registration(), None)


def test_surrogates_and_bad_bytes_in_json_become_escapes() -> None:
    registration, problem = parse_registration(b'{"status": "a\\ud800", "hostname": "b\xff"}')
    assert (registration.status, registration.hostname, problem) == ("a\\ud800", "b\\xff", None)


def test_a_claim_expires_when_it_says_or_after_its_ttl() -> None:
    by_ttl, _ = parse_claim("t", b'{"agent_id": "a", "claimed_at": 1795262400, "ttl": 300}')
    assert by_ttl == Claim("t", "a", NOON, NOON + 300)
    written, _ = parse_claim(
        "t",
        b'{"id": "other", "agent_id": "a", "description": "d", "claimed_at": "2026-11-21T12:00:00Z",'
        b' "ttl": 5, "expires_at": "2026-11-21T13:00:00Z", "status": "held"}',
    )
    assert written == Claim("t", "a", NOON, NOON + 3600, "held", "d")


@pytest.mark.parametrize("ttl", ["true", "-1", "1e308", "NaN", '"300"', "[]"])
def test_a_bad_ttl_makes_the_end_unknown(ttl: str) -> None:
    claim, problem = parse_claim("t", f'{{"claimed_at": 1795262400, "ttl": {ttl}}}'.encode())
    assert claim == Claim("t", claimed_at=NOON)
    assert problem is not None


def test_a_claim_that_ends_after_the_last_year_does_not_end() -> None:
    claim, problem = parse_claim("t", b'{"claimed_at": 253402300799, "ttl": 1}')
    assert (claim.expires_at, problem) == (None, None)


def test_progress_is_a_percentage_with_words() -> None:
    progress, problem = parse_progress(
        "t", b'{"task_id": "t", "progress": 40, "message": "half", "timestamp": "2026-11-21T12:00:00Z"}'
    )
    assert (progress, problem) == (Progress("t", 40.0, "half", NOON), None)
    for wrong in (b"-1", b"101", b'"40"', b"null"):
        assert parse_progress("t", b'{"progress": ' + wrong + b"}").value == Progress("t")


def test_names_of_work() -> None:
    assert claimed_task_of("t.claim") == claimed_task_of("t.json") == "t"
    assert claimed_task_of("t.txt") is None
    assert progress_task_of("t.progress") == "t"
    assert task_names_of("fix.md") == ("fix", "fix.md")
    assert task_names_of("v1.2") == ("v1.2", "v1.2")
    assert task_names_of("fix") == ("fix", "fix")
    assert task_names_of("fix.swp") is None
    assert task_names_of(".gitkeep") is None


def test_of_two_claims_on_a_task_the_later_counts() -> None:
    early, late = Claim("t", "a", 1.0), Claim("t", "b", 2.0)
    assert merge_claims([early, late]) == merge_claims([late, early]) == {"t": late}
    assert merge_claims([Claim("t", "a"), Claim("t", "b")]) == {"t": Claim("t", "a")}


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["started_at", "pid", "ttl", "claimed_at", "progress", "status"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_bring_a_parser_down_and_all_that_comes_out_is_json(content: bytes) -> None:
    found = [
        parse_registration(content),
        parse_claim("t", content),
        parse_progress("t", content),
        parse_tasks(content),
        (sorted(parse_active_list(content).value),),
    ]
    with contextlib.suppress(Malformed):
        parse_heartbeat(content)
    for value in found:
        _encode(value)


def _encode(value: object) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, tuple | list):
        for item in value:
            _encode(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            _encode(getattr(value, name))


@given(st.binary())
def test_any_file_name_becomes_text_that_json_can_carry(name: bytes) -> None:
    text = jsonable(name.decode("utf-8", "surrogateescape"))
    assert text == name.decode("utf-8", "backslashreplace")


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_encodable(text: str) -> None:
    jsonable(text).encode()
