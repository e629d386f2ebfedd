"""Test redis-py's protocol over our stream: replies in any pieces, and bytes that are no replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.redislink import packed as connections
from coordd.redislink import stream as streaming
from coordd.redislink.connection import RedisConnection
from coordd.redislink.packed import PackedConnection
from coordd.redislink.session import RedisLost, RedisSession
from coordd.redislink.stream import LIMIT, Stream
from coordd.redislink.target import parse_target
from coordd.redislink.trouble import ServerError

scalars = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=50))
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


class Socket(asyncio.Transport):
    """A transport whose other side is the test."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.stream.connection_lost, None)

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@asynccontextmanager
async def connected(url: str = "redis://h") -> AsyncIterator[tuple[RedisSession, Stream, Socket]]:
    stream, target = Stream(), parse_target(url)
    connection = PackedConnection(stream, target)
    session = RedisSession(connection, stream, target.secrets)
    stream.connection_made(socket := Socket(stream))
    await connection.handshake()
    try:
        yield session, stream, socket
    finally:
        await session.close()


def encoded(tree: Any) -> bytes:
    if tree is None:
        return b"$-1\r\n"
    if isinstance(tree, int):
        return b":%d\r\n" % tree
    if isinstance(tree, bytes):
        return b"$%d\r\n%b\r\n" % (len(tree), tree)
    return b"*%d\r\n" % len(tree) + b"".join(map(encoded, tree))


async def feed(stream: Stream, data: bytes, cuts: list[int]) -> None:
    last = 0
    for cut in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
        if cut > last:
            stream.data_received(data[last:cut])
            await asyncio.sleep(0)
        last = cut


@given(st.lists(trees, max_size=5), st.lists(st.integers(0, 1000), max_size=20))
def test_replies_come_whole_however_they_are_cut(sent: list[Any], cuts: list[int]) -> None:
    async def play() -> list[Any]:
        async with connected() as (session, stream, _):
            feeding = asyncio.ensure_future(feed(stream, b"".join(map(encoded, sent)), cuts))
            replies = [await session.receive() for _ in sent]
            await feeding
            return replies

    assert asyncio.run(play()) == sent


async def test_a_command_is_a_list_of_strings() -> None:
    async with connected() as (session, _, socket):
        await session.send(b"SET", "k\u00e4y", 12, b"\0\r\n")
        assert socket.sent == encoded([b"SET", "k\u00e4y".encode(), b"12", b"\0\r\n"])


@pytest.mark.parametrize(
    "words",
    [
        "NOPERM no permissions",
        "ERR unknown command",
        "WRONGTYPE Operation against a key",
        "OOM command not allowed",
        "MOVED 3999 127.0.0.1:6381",
        "MOVED nowhere",
        "ASK",
        "EXECABORT Transaction discarded",
    ],
)
async def test_an_error_is_a_value_in_the_words_of_the_server(words: str) -> None:
    async with connected() as (session, stream, _):
        stream.data_received(b"-%b\r\n*2\r\n+OK\r\n*1\r\n-%b\r\n" % (words.encode(), words.encode()))
        alone, within = await session.receive(), await session.receive()
    assert isinstance(alone, ServerError)
    assert (alone.code, alone.text) == (words.split(" ", maxsplit=1)[0], words)
    assert within == [b"OK", [alone]]


async def test_no_error_holds_a_secret_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handshaken(self: PackedConnection) -> None:
        self.password = None  # no AUTH in this test
        await really(self)

    really = PackedConnection.handshake
    monkeypatch.setattr(PackedConnection, "handshake", handshaken)
    async with connected("redis://:hunter2@h") as (session, stream, _):
        stream.data_received(b"*2\r\n+OK\r\n*1\r\n-NOPERM no hunter2\r\n*-1\r\n$0\r\n\r\n*0\r\n")
        whole: list[Any] = [await session.receive() for _ in range(4)]
    assert whole[0][0] == b"OK"
    assert whole[0][1][0].code == "NOPERM"
    assert "hunter2" not in repr(whole)
    assert whole[1:] == [None, b"", []]


GARBAGE = "does not speak the Redis protocol"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", GARBAGE),
        (b"S", GARBAGE),
        (b"\x15\x03\x01\x00\x02\x02\x46", "speaks TLS there"),
        (b"+OK\r\n220 mail.example.com\r\n", GARBAGE),
        (b":12x\r\n", GARBAGE),
        (b"$\r\n", GARBAGE),
        (b"*many\r\n", GARBAGE),
        (b":" + b"9" * 5000 + b"\r\n", GARBAGE),
        (b"+" + b"x" * (LIMIT + 1), GARBAGE),
        (b"*1\r\n" * 100_000, GARBAGE),
    ],
)
async def test_what_is_no_reply(data: bytes, words: str) -> None:
    async with connected() as (session, stream, socket):
        stream.data_received(data)
        with pytest.raises(RedisLost, match=words):
            while await session.receive() == b"OK":
                pass
        assert socket.closed
        assert not session.alive


@pytest.mark.parametrize("begin", [b"$99999999999\r\n", b"*99999999999\r\n"])
async def test_a_reply_has_a_bound(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MAX_REPLY", 1000)
    async with connected() as (session, stream, socket):
        for _ in range(10):  # many replies may be larger together
            stream.data_received(b"$700\r\n" + bytes(700) + b"\r\n")
            assert await session.receive() == bytes(700)
        waiting = asyncio.ensure_future(session.receive())
        await asyncio.sleep(0)
        stream.data_received(begin)
        for _ in range(100):
            if not socket.closed:
                stream.data_received(b"$50\r\n" + bytes(50) + b"\r\n")
                await asyncio.sleep(0)
        with pytest.raises(RedisLost, match="at once"):
            await waiting


@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")])
async def test_what_came_before_the_end_is_given_out(error: Exception | None) -> None:
    async with connected() as (session, stream, _):
        stream.data_received(b"+OK\r\n+O")
        stream.connection_lost(error)
        assert await session.receive() == b"OK"
        with pytest.raises(RedisLost, match="reset the connection" if error else "closed the connection"):
            await session.receive()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.binary(), max_size=4))
def test_every_argument_is_sent_with_its_length_and_none_as_a_line(arguments: list[str | bytes]) -> None:
    async def pack() -> bytes:
        return b"".join(PackedConnection(Stream(), parse_target("redis://h")).pack_command("GET", *arguments))

    packed = asyncio.run(pack())
    values = [b"GET", *(one.encode() if isinstance(one, str) else one for one in arguments)]
    expected = b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values)
    assert packed == b"*%d\r\n%s" % (len(values), expected)


KEPT = 65_538
"""Bytes that are kept of a string."""


@pytest.mark.parametrize("size", [KEPT - 1, KEPT, KEPT + 1, KEPT + 2, 300_000, 5_000_000])
@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 20])
async def test_of_a_huge_string_the_beginning_comes_and_what_follows_it_is_whole(
    size: int, piece: int
) -> None:
    sent = [b"x", bytes(range(256)) * (size // 256) + b"y" * (size % 256), b"z"]
    cut = [b"x", sent[1][:KEPT], b"z"]
    async with connected() as (session, stream, _):
        data = encoded(sent) + encoded([sent]) + encoded(b"next")
        feeding = asyncio.ensure_future(feed(stream, data, list(range(0, len(data), piece))))
        assert [await session.receive() for _ in range(3)] == [cut, [cut], b"next"]
        await feeding


async def test_a_huge_string_is_kept_by_nobody_and_counts_for_no_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "MAX_REPLY", 1 << 20)
    most = 0
    async with connected() as (session, stream, _):
        waiting = asyncio.ensure_future(session.receive())
        stream.data_received(b"*2\r\n$400000000\r\n")
        piece = bytes(80_000)
        for _ in range(400_000_000 // len(piece)):
            stream.data_received(piece)
            await asyncio.sleep(0)
            most = max(most, len(stream.reader._buffer))  # type: ignore[attr-defined]
        stream.data_received(b"\r\n$1\r\na\r\n")
        assert await waiting == [bytes(KEPT), b"a"]
    assert most < 1 << 20


async def test_less_of_each_string_is_kept_where_less_is_asked_for() -> None:
    async with connected() as (session, stream, _):
        stream.data_received(encoded([b"k" * 5000, b"k" * 10]))
        assert await session.receive(largest=100) == [b"k" * 100, b"k" * 10]
        calling = asyncio.ensure_future(session.call(("SCAN", "0"), largest=7))
        await asyncio.sleep(0)
        stream.data_received(encoded([b"0", [b"k" * 5000, b"short"]]))
        assert await calling == [[b"0", [b"k" * 7, b"short"]]]


async def test_a_list_is_kept_up_to_a_bound_and_the_loop_turns_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_ITEMS", 5000)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with connected() as (session, stream, _):
        stream.data_received(encoded([b"a"] * 20_000) + b"+OK\r\n")
        turning = asyncio.ensure_future(turn())
        assert await session.receive() == [b"a"] * 5000
        turning.cancel()
        assert await session.receive() == b"OK"
    assert turns >= 20


async def test_after_so_much_of_one_reply_strings_are_kept_no_more_but_the_connection_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_KEPT", 1000)
    async with connected() as (session, stream, _):
        stream.data_received(encoded([b"a" * 600] * 4) + encoded(b"b" * 600))
        first, second, *rest = await session.receive()  # type: ignore[misc]
        assert first == second == b"a" * 600
        assert [len(one) for one in rest] == [KEPT, KEPT]  # as if each were too large
        assert await session.receive() == b"b" * 600


def test_a_reply_that_keeps_coming_is_not_late_and_one_that_stops_is() -> None:
    loop, clock = asyncio.new_event_loop(), 0.0
    loop.time = lambda: clock  # type: ignore[method-assign]

    async def play() -> None:
        nonlocal clock
        async with connected() as (session, stream, _):
            calling = asyncio.ensure_future(session.call(("GET", "x"), deadline=1.0))
            await asyncio.sleep(0)
            stream.data_received(b"$10000000\r\n")
            for _ in range(20):
                clock += 0.9
                stream.data_received(bytes(streaming.PROGRESS))
                for _ in range(5):
                    await asyncio.sleep(0)
            assert not calling.done()
            for _ in range(3):
                clock += 0.4
                stream.data_received(b"drip")  # a few bytes are no progress
                for _ in range(5):
                    await asyncio.sleep(0)
            with pytest.raises(RedisLost, match="in time"):
                await calling

    try:
        loop.run_until_complete(play())
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("url", "without"), [("redis://h", True), ("rediss://h", False), ("REDISS://h", False)]
)
def test_ssl_is_there_for_a_url_that_asks_for_it_in_any_case(
    url: str, without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    monkeypatch.setattr("coordd.redislink.connection.import_redis_without_ssl", lambda: asked.append(None))
    RedisConnection(url=url, random=lambda: 0.0).load()
    assert bool(asked) is without
