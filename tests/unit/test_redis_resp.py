"""The Redis protocol in whatever pieces it comes, and what is none of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.redislink import resp
from coordd.redislink.resp import MAX_DEPTH, MAX_LINE, More, NotRedis, Replies, pack
from coordd.redislink.trouble import ServerError

scalars = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=50))
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12).filter(
    lambda tree: depth(tree) <= MAX_DEPTH
)


def depth(tree: Any) -> int:
    return 1 + max(map(depth, tree), default=0) if isinstance(tree, list) else 0


def encoded(tree: Any) -> bytes:
    if tree is None:
        return b"$-1\r\n"
    if isinstance(tree, int):
        return b":%d\r\n" % tree
    if isinstance(tree, bytes):
        return b"$%d\r\n%b\r\n" % (len(tree), tree)
    return b"*%d\r\n" % len(tree) + b"".join(map(encoded, tree))


def taken(data: bytes, cuts: list[int]) -> list[Any]:
    replies, found, last = Replies(), [], 0
    for cut in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
        replies.feed(data[last:cut])
        last = cut
        while not isinstance(reply := replies.next(), More):
            found.append(reply)
    assert replies.waiting == 0
    return found


@given(st.lists(trees, max_size=5), st.lists(st.integers(0, 1000), max_size=20))
def test_replies_come_whole_however_they_are_cut(sent: list[Any], cuts: list[int]) -> None:
    assert taken(b"".join(map(encoded, sent)), cuts) == sent


@given(st.lists(st.binary(max_size=30) | st.integers(-999, 999) | st.text(max_size=20), min_size=1))
def test_a_command_is_a_list_of_strings(command: list[Any]) -> None:
    wanted = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    assert taken(pack([command, ["PING"]]), []) == [wanted, [b"PING"]]


def test_errors_are_values_at_any_depth_and_hold_no_secret() -> None:
    replies = Replies(secrets=("hunter2",))
    replies.feed(b"*2\r\n+OK\r\n-NOPERM no hunter2\r\n*-1\r\n$0\r\n\r\n*0\r\n")
    whole = replies.next()
    assert isinstance(whole, list)
    assert whole[0] == b"OK"
    assert isinstance(whole[1], ServerError)
    assert whole[1].code == "NOPERM"
    assert "hunter2" not in repr(whole)
    assert [replies.next() for _ in range(3)] == [None, b"", []]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak the Redis protocol"),
        (b"S", "does not speak the Redis protocol"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS there"),
        (b":12x\r\n", "does not speak the Redis protocol"),
        (b"$\r\n", "does not speak the Redis protocol"),
        (b":" + b"9" * 5000 + b"\r\n", "does not speak the Redis protocol"),
        (b"+" + b"x" * MAX_LINE, "does not speak the Redis protocol"),
        (b"$99999999999\r\n", "more than 64 MiB"),
        (b"*99999999999\r\n", "more than 64 MiB"),
        (b"*1\r\n" * (MAX_DEPTH + 1), "lists in lists"),
    ],
)
def test_what_is_no_reply(data: bytes, words: str) -> None:
    replies = Replies()
    replies.feed(data)
    with pytest.raises(NotRedis, match=words):
        while not isinstance(replies.next(), More):
            pass


def test_a_reply_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resp, "MAX_REPLY", 1000)
    replies = Replies()
    replies.feed(b"*900\r\n")
    with pytest.raises(NotRedis, match="at once"):
        for _ in range(900):
            replies.feed(b":1\r\n")
            replies.next()
