"""Test what is read from the answers of a Redis to the regular exchange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.redislink.info import number_of, parse_info
from coordd.redislink.server_info import ServerInfo
from coordd.redislink.trouble import ServerError

INFO = (
    b"# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n\r\n"
    b"# Keyspace\r\ndb0:keys=7,expires=2,avg_ttl=0\r\n"
)


def test_what_info_tells() -> None:
    info = ServerInfo.of([b"PONG", INFO])
    assert info.trouble is None
    assert number_of(info.fields, "used_memory") == 1048576
    assert number_of(info.fields, "used_memory_human") is None
    assert number_of(info.fields, "no_such_field") is None
    assert info.keys(0) == 7
    assert info.keys(3) == 0, "a database without keys is not listed"


def test_what_is_refused_is_unknown() -> None:
    refused = ServerError("NOPERM", "NOPERM this user has no permissions")
    info = ServerInfo.of([refused, refused])
    assert info.trouble is refused
    assert info.fields == {}
    assert number_of(info.fields, "used_memory") is None
    assert info.keys(0) is None


@pytest.mark.parametrize("value", ["keys=", "keys=x", "7", "keys=99999999999999999999999", "keys=-1"])
def test_a_number_of_keys_that_is_none_is_unknown(value: str) -> None:
    assert ServerInfo.of([b"PONG", b"db0:" + value.encode()]).keys(0) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read(reply: bytes) -> None:
    for name, value in parse_info(reply).items():
        assert ":" not in name
        assert len(value) <= 100


@pytest.mark.parametrize("reply", [None, 3, [b"used_memory:1"]])
def test_another_reply_tells_nothing(reply: object) -> None:
    assert parse_info(reply) == {}  # type: ignore[arg-type]
