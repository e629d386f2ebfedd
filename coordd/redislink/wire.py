"""One connection to a Redis: commands in, replies out, each exchange within its deadline.

Built on redis-py's connection, below its client: that one repeats a command whose reply was lost, which is
for the caller to decide (a write repeated here is one that is safe to repeat), and its defaults wait for a
frozen server for a minute. Nothing here reconnects; a connection that failed once is closed for good.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from coordd.redislink.trouble import ServerError, scrub, server_error, system_trouble

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

CONNECT_DEADLINE = 1.0
"""Seconds to connect, and as many again to authenticate and choose the database."""
COMMAND_DEADLINE = 1.0
"""Seconds for one exchange: a chunk of commands and their replies."""
CHUNK = 200
"""Commands sent before their replies are read: a few milliseconds of work for either side."""

Argument = bytes | str | int
Command = Sequence[Argument]
Reply: TypeAlias = "bytes | int | ServerError | list[Reply] | None"


class RedisLost(Exception):
    """The connection is no more; the text says of "Redis" what is wrong, without any password.

    ``code`` is the server's error code where it gave one (``NOAUTH``), else None.
    """

    def __init__(self, trouble: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(trouble)


class Wire:
    """A connection, made by :meth:`open`. Exchanges follow one another: a second one waits for the first."""

    def __init__(self, connection: AbstractConnection, secrets: tuple[str, ...]) -> None:
        self._connection = connection
        self._secrets = secrets
        self._lock = asyncio.Lock()
        self._lost: RedisLost | None = None

    @classmethod
    async def open(cls, url: str) -> Wire:
        """Connect, authenticate, choose the database.

        Raises:
            RedisLost: it cannot be done, or not in time.
        """
        from redis.asyncio.connection import Connection, parse_url
        from redis.exceptions import RedisError

        options: dict[str, Any] = dict(parse_url(url))
        kind = options.pop("connection_class", Connection)
        secrets = tuple(str(options[name]) for name in ("password", "ssl_password") if options.get(name))
        try:
            connection = kind(
                **options, protocol=2, socket_timeout=None, socket_connect_timeout=CONNECT_DEADLINE
            )
        except (RedisError, OSError, ValueError, TypeError) as error:
            raise RedisLost(scrub(f"cannot be used as configured: {error}", secrets)) from None
        wire = cls(connection, secrets)
        try:
            async with asyncio.timeout(2 * CONNECT_DEADLINE):
                await connection.connect()
        except BaseException as error:
            raise await wire._fail(error) from None
        return wire

    @property
    def alive(self) -> bool:
        """Whether no exchange has failed yet."""
        return self._lost is None

    async def call(self, *commands: Command, deadline: float = COMMAND_DEADLINE) -> list[Reply]:
        """Send commands, in chunks, and return their replies in order; an error of one is its reply.

        Args:
            deadline: seconds for each chunk.

        Raises:
            RedisLost: the connection failed or was late; what was sent may or may not have been done.
        """
        replies: list[Reply] = []
        for start in range(0, len(commands), CHUNK):
            if start:
                await asyncio.sleep(0)  # what waits on the loop goes first
            chunk = commands[start : start + CHUNK]
            async with self._lock:
                self._check()
                try:
                    async with asyncio.timeout(deadline):
                        await self._connection.send_packed_command(
                            self._connection.pack_commands(chunk), check_health=False
                        )
                        for _ in chunk:
                            replies.append(await self._reply())  # noqa: PERF401 - not before the last one came
                except BaseException as error:
                    raise await self._fail(error) from None
        return replies

    async def send(self, *command: Argument) -> None:
        """Send a command whose reply comes by :meth:`receive`; for a connection that subscribes.

        Raises:
            RedisLost: the connection failed or was late.
        """
        self._check()
        try:
            async with asyncio.timeout(COMMAND_DEADLINE):
                await self._connection.send_packed_command(
                    self._connection.pack_command(*command), check_health=False
                )
        except BaseException as error:
            raise await self._fail(error) from None

    async def receive(self) -> Reply:
        """The next thing that the server sends, however long that takes.

        Raises:
            RedisLost: the connection failed.
        """
        self._check()
        try:
            return await self._reply()
        except BaseException as error:
            raise await self._fail(error) from None

    async def close(self) -> None:
        """Let go; whoever still waits for a reply is told that it is lost."""
        if self._lost is None:
            self._lost = RedisLost("was left")
        with suppress(Exception):  # it is closed either way
            await self._connection.disconnect(nowait=True)

    async def _reply(self) -> Reply:
        from redis.exceptions import ConnectionError as Disconnected
        from redis.exceptions import ResponseError

        try:
            reply: Reply = await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            if isinstance(error, Disconnected):
                raise
            return self._server_error(error)
        return reply

    def _server_error(self, error: Exception) -> ServerError:
        known = _CODES.get(type(error).__name__)
        return server_error(scrub(str(error), self._secrets), known)

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    async def _fail(self, error: BaseException) -> BaseException:
        """Close; the error to raise in its place."""
        if self._lost is None:
            self._lost = self._explained(error)
        with suppress(Exception):
            await self._connection.disconnect(nowait=True)
        return self._lost if isinstance(error, Exception) else error

    def _explained(self, error: BaseException) -> RedisLost:
        from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError

        if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
            return RedisLost("does not answer in time")
        found = self._server_error(error) if isinstance(error, RedisError) else None
        if found and (isinstance(error, AuthenticationError | BusyLoadingError) or found.code != "ERR"):
            return RedisLost(str(found), found.code)
        trouble = system_trouble(error)
        if trouble is None and "Connection closed by server" in str(error):
            trouble = "closed the connection"
        if trouble is None:
            trouble = f"fails: {found.text if found else f'{type(error).__name__}: {error}'}"
        return RedisLost(scrub(trouble, self._secrets))


_CODES = {
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "NoScriptError": "NOSCRIPT",
    "ExecAbortError": "EXECABORT",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "MaxConnectionsError": "MAXCLIENTS",
}
"""redis-py takes the code away from an error's text where it has a class for it."""


async def identity_of(wire: Wire) -> int | None:
    """The server's number of this connection, for CLIENT TRACKING's REDIRECT; None where it will not say.

    Raises:
        RedisLost: the connection failed.
    """
    reply = (await wire.call(("CLIENT", "ID")))[0]
    return reply if isinstance(reply, int) else None
