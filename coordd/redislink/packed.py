"""Use redis-py's protocol over our own stream: its packing, parsing, authentication and database choice.

redis-py's client is not used, since it repeats a command whose reply was lost, nor its way to connect, since
it looks names up in threads that are joined at exit. None of its options that wait or retry are set.
Importing this module imports redis-py: only :meth:`RedisConnection.load` and :meth:`RedisSession.open` do so.
"""

from __future__ import annotations

import asyncio
import inspect
from asyncio import IncompleteReadError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError

# the RESP2 parser, even if hiredis is installed: the stream bounds what it reads
from redis._parsers import _AsyncRESP2Parser  # isort: skip

from coordd.redislink.stream import NotRedis, Stream, not_redis
from coordd.redislink.target import RedisTarget
from coordd.redislink.trouble import ServerError, server_error

# no CLIENT SETINFO: it costs a round trip, and a user may have no right to it
_NAMELESS: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


MAX_STRING = 1 << 33
"""Bytes of the largest string that a Redis may send: its own limit is 512 MB by default."""
MAX_KEPT = 32 << 20
"""Bytes of strings that are kept of one reply; later strings are replaced by :data:`_TOO_MUCH`."""
MAX_ITEMS = 100_000
"""Elements that are kept of one list in a reply; the rest is read and dropped."""
_PIECE = 64 << 10
_TURN = 500
"""Elements of a list that are parsed before the loop may turn: a few milliseconds."""
_TOO_MUCH = bytes((64 << 10) + 2)  # larger than any valid value, so that it is reported as too large


class _Parser(_AsyncRESP2Parser):
    """Parse replies, keeping only the beginning of strings that are too large to be used."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self.largest = len(_TOO_MUCH)
        self.discarded: Callable[[int], None] = lambda _count: None
        self._kept = 0

    def begin(self, largest: int) -> None:
        """Begin a reply; ``largest`` is the number of bytes that are kept of a string in it."""
        self.largest = largest
        self._kept = 0

    async def _read(self, length: int) -> bytes:
        if length <= self.largest and self._kept <= MAX_KEPT:
            self._kept += length
            return await super()._read(length)
        if length > MAX_STRING:
            raise NotRedis(f"answers with more than {MAX_STRING >> 30} GiB at once")
        try:
            if self._kept > MAX_KEPT:
                await self._discard(length + 2)
                return _TOO_MUCH
            self._kept += self.largest
            kept = await self._bytes.readexactly(self.largest)
            await self._discard(length + 2 - self.largest)
        except IncompleteReadError as error:
            raise RedisConnectionError("closed") from error
        return kept

    @property
    def _bytes(self) -> asyncio.StreamReader:
        if self._stream is None:
            raise RedisConnectionError("closed")
        return self._stream

    async def _discard(self, length: int) -> None:
        while length:
            piece = await self._bytes.read(min(length, _PIECE))
            if not piece:
                raise RedisConnectionError("closed")
            length -= len(piece)
            self.discarded(len(piece))

    async def _read_response(self, disable_decoding: bool = False) -> Any:
        """Read one reply as redis-py does, but with bounded lists and pauses for the loop."""
        raw: bytes = await self._readline()
        kind, rest = raw[:1], raw[1:]
        response: Any
        if kind == b"$":
            response = None if rest == b"-1" else await self._read(int(rest))
        elif kind == b"*":
            return None if rest == b"-1" else await self._read_items(int(rest), disable_decoding)
        elif kind == b":":
            return int(rest)
        elif kind == b"+":
            response = rest
        elif kind == b"-":
            return self._error(rest)
        else:
            raise InvalidResponse("no reply")
        if disable_decoding or response is None or self.encoder is None:
            return response
        return self.encoder.decode(response)  # type: ignore[no-untyped-call]

    async def _read_items(self, count: int, disable_decoding: bool) -> list[Any]:
        items = []
        for number in range(1, count + 1):
            item = await self._read_response(disable_decoding)
            if number <= MAX_ITEMS:
                items.append(item)
            elif type(item) is bytes:
                self.discarded(len(item))
            if number % _TURN == 0:
                await asyncio.sleep(0)
                self._chunks.clear()  # redis-py keeps them to retry, which is never done here
        return items

    def _error(self, text: bytes) -> Exception:
        error = self.parse_error(text.decode("utf-8", errors="replace"))
        if isinstance(error, RedisConnectionError):
            raise error
        return error

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        """Return an error with the server's whole text: redis-py drops the code if it has a class for it."""
        try:
            error: Exception = super().parse_error(response)  # type: ignore[no-untyped-call]
        except ValueError:  # MOVED without a valid address
            error = ResponseError(response)
        error.server_text = response  # type: ignore[attr-defined]
        return error


@contextmanager
def _protocol_errors() -> Iterator[None]:
    """Raise what redis-py does not check: impossible lengths, endless lines and lists."""
    try:
        yield
    except (InvalidResponse, ValueError, RecursionError):
        raise not_redis() from None


class PackedConnection(AbstractConnection):
    """Speak redis-py's protocol over an open stream; used once, never reconnected."""

    FAILURE = RedisError
    """What redis-py raises when it cannot go on: the connection is closed, refused, or not a Redis."""

    def __init__(self, stream: Stream, target: RedisTarget) -> None:
        super().__init__(
            username=target.username if target.password is not None else None,
            password=target.password,
            db=target.database,
            protocol=2,
            parser_class=_Parser,
            socket_timeout=None,
            socket_connect_timeout=None,
            **_NAMELESS,
        )
        self._stream = stream
        self._secrets = target.secrets
        self._used = False
        self._replies: _Parser = self._parser  # type: ignore[assignment]  # parser_class, above
        self._replies.discarded = stream.discarded

    async def handshake(self) -> None:
        """Authenticate and choose the database, if the target asks for either.

        Raises:
            RedisError: see :attr:`FAILURE` and :meth:`server_error_of`.
            NotRedis: the bytes received are not a reply.
        """
        self._stream.begin_reply()
        with _protocol_errors():
            await self.connect()  # type: ignore[no-untyped-call]

    async def reply(self, *, largest: int) -> Any:
        """Return the next reply of the server: bytes, int, None, ServerError, or a list of them.

        A string of more than ``largest`` bytes is cut; the rest is never kept in memory.

        Raises:
            RedisError: see :attr:`FAILURE` and :meth:`server_error_of`.
            NotRedis: the bytes received are not a reply.
        """
        self._stream.begin_reply()
        self._replies.begin(largest)
        try:
            with _protocol_errors():
                return self._value(await self.read_response(disable_decoding=True))
        except ResponseError as error:
            return self.server_error_of(error)

    def server_error_of(self, error: BaseException) -> ServerError | None:
        """Return the server's error in an exception of redis-py; None if redis-py raised it by itself."""
        words = getattr(error, "server_text", None) if isinstance(error, RedisError) else None
        return None if words is None else server_error(words, secrets=self._secrets)

    def abandon(self, *, reset: bool) -> None:
        """Close the connection; see :meth:`Stream.abort`."""
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]
        self._reader = self._writer = None
        self._stream.abort(reset=reset)

    def _value(self, reply: Any) -> Any:
        if type(reply) is list:
            for index, item in enumerate(reply):
                if type(item) is not bytes:
                    reply[index] = self._value(item)
        elif isinstance(reply, ResponseError):
            return self.server_error_of(reply)
        return reply

    async def _connect(self) -> None:
        if self._used:  # redis-py would reconnect by itself
            raise ConnectionError
        self._used = True
        self._reader, self._writer = self._stream.reader, self._stream.writer

    def _host_error(self) -> str:
        return "Redis"

    def _error_message(self, exception: BaseException) -> str:
        return f"Redis: {type(exception).__name__}"

    def repr_pieces(self) -> list[tuple[str, object]]:
        """Return nothing, since the target might hold a password."""
        return []
