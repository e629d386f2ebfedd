"""Test what is made of replies to INFO."""

from __future__ import annotations

import pytest

from coordd.redislink.info import number_of, parse_info, version_of


def test_info() -> None:
    assert parse_info(b"# Server\r\nredis_version:7.0\r\nx:a:b \r\n\xff:1\r\n") == {
        "redis_version": "7.0",
        "x": "a:b",
        "\ufffd": "1",
    }
    assert parse_info(None) == {}


def test_both_kinds_of_server_tell_their_version() -> None:
    assert version_of({"redis_version": "7.2.4", "valkey_version": "8.0.1"}) == "8.0.1"
    assert version_of({"redis_version": "7.0"}) == "7.0"
    assert version_of({}) is None


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("0", 0), ("", None), ("1.5", None), ("-1", None), ("9" * 20, None)]
)
def test_only_a_whole_number_of_a_sane_length_counts(text: str, number: int | None) -> None:
    assert number_of({"x": text}, "x") == number
    assert number_of({"x": text}, "y") is None
