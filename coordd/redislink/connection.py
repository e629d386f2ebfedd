"""redis-py's connection over a stream of ours: packing, parsing, authentication and the database are its own.

Below its client, which repeats a command whose reply was lost, and without its way to connect (it looks names
up in threads that are joined at exit). Importing this imports redis-py: only :meth:`Link.load` and
:meth:`Wire.open` do. No option of it that waits or tries again is in use.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse, RedisError, ResponseError

# its RESP2 parser, with hiredis installed or not: what it takes is bounded by the stream
from redis._parsers import _AsyncRESP2Parser  # isort: skip

from coordd.redislink.stream import Stream, not_redis
from coordd.redislink.target import Target
from coordd.redislink.trouble import ServerError, server_error

# no CLIENT SETINFO: it costs a round trip, and a user may have no right to it
_NAMELESS: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


class _Parser(_AsyncRESP2Parser):
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


class Connection(AbstractConnection):
    """Speaks over a stream that is open; used once, never connected anew."""

    FAILURE = RedisError
    """What redis-py raises where it cannot go on: it is over, the server refuses, or this is no Redis."""

    def __init__(self, stream: Stream, target: Target) -> None:
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

    async def introduce(self) -> None:
        """Authenticate and choose the database, if the target asks for either.

        Raises:
            RedisError: see :attr:`FAILURE`, and :meth:`said`.
            NotRedis: what came is no reply.
        """
        self._stream.expect()
        with _garbage():
            await self.connect()  # type: ignore[no-untyped-call]

    async def reply(self) -> Any:
        """The next thing that the server sends: bytes, int, None, ServerError, or a list of them.

        Raises:
            RedisError: see :attr:`FAILURE`, and :meth:`said`.
            NotRedis: what came is no reply.
        """
        self._stream.expect()
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
