"""redis-py's connection over a stream of ours: packing, parsing, authentication and the database are its own.

Below its client, which repeats a command whose reply was lost, and without its way to connect (it looks names
up in threads that are joined at exit). Importing this imports redis-py: only :meth:`Link.load` and
:meth:`Wire.open` do. No option of it that waits or tries again is in use.
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

# its RESP2 parser, with hiredis installed or not: what it takes is bounded by the stream
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
"""Bytes of one string beyond which this is no Redis: its own limit is 512 MB, if nobody raised it."""
MAX_KEPT = 32 << 20
"""Bytes of strings that are kept of one reply; what comes after them is replaced by :data:`_TOO_MUCH`."""
MAX_ITEMS = 100_000
"""Elements that are kept of one list in a reply; the rest is read and dropped."""
_PIECE = 64 << 10
_TURN = 500
"""Elements of a list after which the loop turns: a few milliseconds of parsing."""
_TOO_MUCH = bytes((64 << 10) + 2)  # one value for all: larger than any of use, so that it is reported as such


class _Parser(_AsyncRESP2Parser):
    """Keeps the beginning of strings that are too large to be of use, and reads past the rest of them."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self.largest = len(_TOO_MUCH)
        self.passed_over: Callable[[int], None] = lambda _count: None
        self._kept = 0

    def begin(self, largest: int) -> None:
        """A reply begins; ``largest`` is the number of bytes that are kept of a string in it."""
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
                await self._pass_over(length + 2)
                return _TOO_MUCH
            self._kept += self.largest
            kept = await self._bytes.readexactly(self.largest)
            await self._pass_over(length + 2 - self.largest)
        except IncompleteReadError as error:
            raise RedisConnectionError("closed") from error
        return kept

    @property
    def _bytes(self) -> asyncio.StreamReader:
        if self._stream is None:
            raise RedisConnectionError("closed")
        return self._stream

    async def _pass_over(self, length: int) -> None:
        while length:
            piece = await self._bytes.read(min(length, _PIECE))
            if not piece:
                raise RedisConnectionError("closed")
            length -= len(piece)
            self.passed_over(len(piece))

    async def _read_response(self, disable_decoding: bool = False) -> Any:
        """As redis-py's, which keeps lists of any length, and holds the loop while it reads them."""
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
                self.passed_over(len(item))
            if number % _TURN == 0:
                await asyncio.sleep(0)
                self._chunks.clear()  # kept by redis-py for trying again, which nobody does here
        return items

    def _error(self, text: bytes) -> Exception:
        error = self.parse_error(text.decode("utf-8", errors="replace"))
        if isinstance(error, RedisConnectionError):
            raise error
        return error

    @classmethod
    def parse_error(cls, response: str) -> Exception:
        """An error with the words of the server: redis-py takes the code away where it has a class for it."""
        try:
            error: Exception = super().parse_error(response)  # type: ignore[no-untyped-call]
        except ValueError:  # MOVED with something else than a place behind it
            error = ResponseError(response)
        error.said = response  # type: ignore[attr-defined]
        return error


@contextmanager
def _garbage() -> Iterator[None]:
    """What redis-py does not look for itself: lengths that are none, lines and lists without an end."""
    try:
        yield
    except (InvalidResponse, ValueError, RecursionError):
        raise not_redis() from None


class PackedConnection(AbstractConnection):
    """Speaks over a stream that is open; used once, never connected anew."""

    FAILURE = RedisError
    """What redis-py raises where it cannot go on: it is over, the server refuses, or this is no Redis."""

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
        self._replies.passed_over = stream.passed_over

    async def introduce(self) -> None:
        """Authenticate and choose the database, if the target asks for either.

        Raises:
            RedisError: see :attr:`FAILURE`, and :meth:`said`.
            NotRedis: what came is no reply.
        """
        self._stream.expect()
        with _garbage():
            await self.connect()  # type: ignore[no-untyped-call]

    async def reply(self, *, largest: int) -> Any:
        """The next thing that the server sends: bytes, int, None, ServerError, or a list of them.

        A string of more than ``largest`` bytes is cut there, without the rest ever being kept.

        Raises:
            RedisError: see :attr:`FAILURE`, and :meth:`said`.
            NotRedis: what came is no reply.
        """
        self._stream.expect()
        self._replies.begin(largest)
        try:
            with _garbage():
                return self._value(await self.read_response(disable_decoding=True))
        except ResponseError as error:
            return self.said(error)

    def said(self, error: BaseException) -> ServerError | None:
        """The server's own words in an error of redis-py; None where these are redis-py's."""
        words = getattr(error, "said", None) if isinstance(error, RedisError) else None
        return None if words is None else server_error(words, secrets=self._secrets)

    def abandon(self, *, reset: bool) -> None:
        """Let go, see :meth:`Stream.abort`."""
        self._parser.on_disconnect()  # type: ignore[no-untyped-call]
        self._reader = self._writer = None
        self._stream.abort(reset=reset)

    def _value(self, reply: Any) -> Any:
        if type(reply) is list:
            for index, item in enumerate(reply):
                if type(item) is not bytes:
                    reply[index] = self._value(item)
        elif isinstance(reply, ResponseError):
            return self.said(reply)
        return reply

    async def _connect(self) -> None:
        if self._used:  # redis-py connects by itself whatever is not connected
            raise ConnectionError
        self._used = True
        self._reader, self._writer = self._stream.reader, self._stream.writer

    def _host_error(self) -> str:
        return "Redis"

    def _error_message(self, exception: BaseException) -> str:
        return f"Redis: {type(exception).__name__}"

    def repr_pieces(self) -> list[tuple[str, object]]:
        """Nothing of where it leads: there might be a password in it."""
        return []
