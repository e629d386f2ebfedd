"""Ids that begin with what somebody typed are found in lines of records, few, whole and longer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sinks.similar_ids import MAX_NAMED, SimilarIds


def line(agent_id: str) -> bytes:
    return (
        msgspec.json.encode({"workspace": "/w", "agent_id": agent_id, "name": '"agent_id":"ab-no"'}) + b"\n"
    )


def found(typed: str | None, *blocks: bytes) -> list[str]:
    similar = SimilarIds(typed)
    for block in blocks:
        similar.look(block)
    return sorted(similar.found)


@pytest.mark.parametrize("typed", ["ab", "ab…"])
def test_those_that_begin_so(typed: str) -> None:
    assert found(typed, line("ab-1") + line("cab-2"), line("ab-1") + line("abé") + line("ab")) == [
        "ab-1",
        "abé",
    ]


@pytest.mark.parametrize("typed", [None, "", "…", "b", "ab-1", "a.", "AB"])
def test_no_others(typed: str | None) -> None:
    assert found(typed, line("ab-1")) == []


def test_few_are_named() -> None:
    assert found("a", *(line(f"a{n}") for n in range(100))) == [f"a{n}" for n in range(MAX_NAMED)]


@given(st.text(max_size=4), st.binary(max_size=60))
def test_whatever_lies_there_can_be_answered(typed: str, rest: bytes) -> None:
    for one in found(typed, b'"agent_id":"' + typed.encode("utf-8", "ignore") + rest + b'"'):
        assert one.startswith(typed.removesuffix("…"))
        msgspec.json.encode(one)
