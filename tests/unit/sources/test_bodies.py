"""Test that what agents write is parsed from bytes, and that bad parts leave the others valid."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.agents.traces import Claim, Progress, Registration
from coordd.sources.bodies import parse_claim, parse_heartbeat, parse_progress, parse_registration
from coordd.sources.file.parse import parse_active_list, parse_tasks
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
    [b"soon", b"NaN", b"-1", b"1", b"1e400", b"9" * 5000, b"2026-11-21T12:00:00Z x", b"978307199"],
)
def test_a_heartbeat_that_is_no_timestamp_says_so_without_its_content(content: bytes) -> None:
    with pytest.raises(Malformed, match=r"^not a timestamp$"):
        parse_heartbeat(content)


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
        (b"\0\xff", "not UTF-8 text"),
    ],
)
def test_json_of_no_use_makes_everything_unknown_and_is_reported(content: bytes, reason: str) -> None:
    registration, problem = parse_registration(content)
    assert registration == Registration()
    assert problem is not None
    assert reason in problem


def test_an_empty_registration_is_one_being_written_and_not_malformed() -> None:
    assert parse_registration(b"") == (Registration(), None)


def test_a_surrogate_in_json_becomes_an_escape_and_text_that_is_not_utf_8_is_unknown() -> None:
    registration, problem = parse_registration(b'{"status": "a\\ud800", "hostname": "b\xff"}')
    assert (registration.status, registration.hostname, problem) == ("a\\ud800", None, "not UTF-8 text")


def test_a_claim_expires_when_it_says_or_after_its_ttl() -> None:
    by_ttl, _ = parse_claim("t", b'{"agent_id": "a", "claimed_at": 1795262400, "ttl": 300}')
    assert by_ttl == Claim("t", "a", NOON, NOON + 300)
    written, _ = parse_claim(
        "t",
        b'{"id": "other", "agent_id": "a", "description": "d", "claimed_at": "2026-11-21T12:00:00Z",'
        b' "ttl": 5, "expires_at": "2026-11-21T13:00:00Z", "status": "held"}',
    )
    assert written == Claim("t", "a", NOON, NOON + 3600, "held", "d")


@pytest.mark.parametrize("ttl", ["true", "-1", "1e308", "NaN", '"soon"', "[]"])
def test_a_bad_ttl_makes_the_end_unknown(ttl: str) -> None:
    claim, problem = parse_claim("t", f'{{"claimed_at": 1795262400, "ttl": {ttl}}}'.encode())
    assert claim == Claim("t", claimed_at=NOON)
    assert problem is not None


def test_a_claim_that_ends_after_the_last_year_does_not_end() -> None:
    claim, problem = parse_claim("t", b'{"claimed_at": "9999-12-31T23:59:59Z", "ttl": 1}')
    assert (claim.expires_at, problem) == (None, None)


def test_progress_is_a_percentage_with_words() -> None:
    progress, problem = parse_progress(
        "t", b'{"task_id": "t", "progress": 40, "message": "half", "timestamp": "2026-11-21T12:00:00Z"}'
    )
    assert (progress, problem) == (Progress("t", 40.0, "half", NOON), None)
    for wrong in (b"101", b'"4o"', b"null", b"true"):
        assert parse_progress("t", b'{"progress": ' + wrong + b"}").value == Progress("t")
    assert parse_progress("t", b'{"progress": "40"}').value == Progress("t", 40.0)
    assert parse_progress("t", b'{"progress": -1}').value == Progress("t", failed=True)


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
    ]
    with contextlib.suppress(Malformed):
        found += [parse_tasks(content), (sorted(parse_active_list(content).value),)]
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


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_encodable(text: str) -> None:
    jsonable(text).encode()
