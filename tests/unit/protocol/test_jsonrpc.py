"""Test lines made of chunks, and requests made of messages."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.protocol.jsonrpc import (
    INVALID_REQUEST,
    MAX_REQUEST,
    Fault,
    LineSplitter,
    TooLong,
    check_request,
    error_object,
    request_id,
)


def fed(splitter: LineSplitter, chunk: bytes) -> list[bytes]:
    """The lines that are whole with this chunk."""
    splitter.feed(chunk)
    return list(iter(splitter.take, None))


def split(chunks: list[bytes], limit: int = MAX_REQUEST) -> tuple[list[bytes], bool]:
    splitter = LineSplitter(limit)
    lines: list[bytes] = []
    for chunk in chunks:
        too_long = False
        try:
            splitter.feed(chunk)
        except TooLong:
            too_long = True
        try:
            while (line := splitter.take()) is not None:
                lines += [line]
        except TooLong:
            too_long = True
        if too_long:
            return lines, True
    return lines, False


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b" ", b"\r\n", b"{}"])).map(b"".join), st.data())
def test_any_chunking_gives_the_same_lines(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.lists(st.integers(min_value=0, max_value=len(data))))
    lines, too_long = split(cut(data, cuts))
    assert not too_long
    assert lines == [line for line in data.split(b"\n")[:-1] if line.strip()]


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=12)), st.lists(st.integers(min_value=0, max_value=80)))
def test_the_limit_holds_for_any_chunking(lengths: list[int], cuts: list[int]) -> None:
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    lines, too_long = split(cut(data, cuts), limit=10)
    allowed = []
    for length in lengths:
        if length > 10:
            break
        allowed += [b"x" * length] if length else []
    assert too_long == any(length > 10 for length in lengths)
    assert lines == allowed


def test_an_unfinished_line_is_pending_and_a_whole_one_is_not() -> None:
    splitter = LineSplitter()
    assert not splitter.pending
    assert fed(splitter, b"{") == []
    assert splitter.pending
    assert fed(splitter, b"}\n") == [b"{}"]
    assert not splitter.pending
    assert fed(splitter, b"\n\n") == []
    assert not splitter.pending


def test_an_unfinished_line_longer_than_the_limit_is_too_long_at_once() -> None:
    splitter = LineSplitter(4)
    assert fed(splitter, b"1234") == []
    with pytest.raises(TooLong):
        splitter.feed(b"5")


@pytest.mark.parametrize(
    "message",
    [
        *(None, 1, "x", True, {}, {"jsonrpc": "2.0"}, {"method": "x"}, {"jsonrpc": 2.0, "method": "x"}),
        {"jsonrpc": "1.0", "method": "x"},
        {"jsonrpc": "2.0", "method": 1},
        {"jsonrpc": "2.0", "method": "x", "params": None},
        {"jsonrpc": "2.0", "method": "x", "params": "bar"},
        {"jsonrpc": "2.0", "method": "x", "id": True},
        {"jsonrpc": "2.0", "method": "x", "id": {}},
        {"jsonrpc": "2.0", "method": "x", "id": [1]},
    ],
)
def test_what_is_no_request_is_refused(message: object) -> None:
    with pytest.raises(Fault) as caught:
        check_request(message)
    assert caught.value.code == INVALID_REQUEST


@pytest.mark.parametrize("batch", [[], [1], [{"jsonrpc": "2.0", "method": "x", "id": 1}]])
def test_a_batch_is_refused_by_name(batch: list[object]) -> None:
    with pytest.raises(Fault, match="one request a line") as caught:
        check_request(batch)
    assert error_object(caught.value)["data"] == {"kind": "batch"}


@pytest.mark.parametrize("ident", [0, 1, -1, 1.5, "", "abc", None])
def test_any_id_of_the_specification_is_kept_and_wants_an_answer(ident: object) -> None:
    request = check_request({"jsonrpc": "2.0", "method": "x", "id": ident})
    assert request.id == ident
    assert request.wants_answer
    assert request_id({"id": ident}) == ident


def test_without_an_id_it_is_a_notification() -> None:
    request = check_request({"jsonrpc": "2.0", "method": "x", "params": [1]})
    assert not request.wants_answer
    assert request.params == [1]


@pytest.mark.parametrize("message", [None, [], {}, {"id": True}, {"id": []}, {"id": {}}])
def test_a_bad_request_is_answered_without_an_id_it_does_not_have(message: object) -> None:
    assert request_id(message) is None


def test_lines_are_made_when_they_are_asked_for_and_the_rest_stays_as_it_came() -> None:
    splitter = LineSplitter(8)
    assert splitter.feed(b"1\n\n2\n" + b"3" * 9 + b"\n4\n5")
    assert splitter.waiting
    assert splitter.pending
    assert splitter.held == 18
    assert splitter.take() == b"1"
    assert splitter.feed(b"\n")  # while others wait
    assert splitter.take() == b"2"
    with pytest.raises(TooLong):
        splitter.take()
    assert not splitter.waiting


def test_white_space_alone_asks_for_nothing() -> None:
    splitter = LineSplitter()
    assert not splitter.feed(b"\r\n \n")
    assert splitter.waiting
    assert splitter.take() is None
    assert not splitter.waiting
    assert not splitter.feed(b"x")
    assert splitter.feed(b"\n")
