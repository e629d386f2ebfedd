"""One connection to a Redis: commands in, replies out, each exchange within its deadline.

Nothing is ever sent twice: a command whose reply was lost may have been done, and whether to repeat it is for
the caller to decide. Nothing here reconnects; a connection that failed once is closed for good, and at once:
what a frozen server has not taken yet is not waited for. redis-py, which would do for all this, costs 12 MB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from coordd.redislink.dial import CannotDial, dial
from coordd.redislink.resp import Argument, Command, More, NotRedis, Replies, Reply, pack
from coordd.redislink.target import Target, parse_target
from coordd.redislink.trouble import ServerError, scrub, system_trouble

__all__ = ["Argument", "Command", "RedisLost", "Reply", "Wire", "identity_of"]

CONNECT_DEADLINE = 1.0
"""Seconds to look up the host, as many to connect, and as many to authenticate and choose the database."""
COMMAND_DEADLINE = 1.0
"""Seconds for one exchange: a chunk of commands and their replies."""
CHUNK = 200
"""Commands sent before their replies are read: a few milliseconds of work for either side."""
CLIENT_NAME = "coordd"
"""How ``CLIENT LIST`` shows it."""

_HIGH = 1 << 20  # bytes that nobody has asked for yet: beyond them the server waits
_LAST_WORDS = frozenset({"DENIED", "MAXCLIENTS", "NOAUTH", "WRONGPASS"})
"""Errors that end a connection: the server closes it, or nothing else can be had of it."""


class RedisLost(Exception):
    """The connection is no more; the text says of "Redis" what is wrong, without any password.

    ``code`` is the server's error code where it gave one (``NOAUTH``), else None.
    """

    def __init__(self, trouble: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(trouble)


class _Stream(asyncio.Protocol):
    """The socket's side: keeps what came until it is asked for, knows when it is over."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self.replies = Replies(secrets=secrets)
        self.over: Exception | None = None
        self.on_over: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._more: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.replies.feed(data)
        if self._more is None and self._reading and self.replies.waiting > _HIGH:
            self._pause(True)
        _wake(self._more)

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._room)
        self._room = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = exc or ConnectionError("closed")
        _wake(self._more)
        _wake(self._room)
        if self.on_over is not None:
            self.on_over()

    async def reply(self) -> Reply:
        """The next one; what came before the end of the connection is still given out."""
        while isinstance(reply := self.replies.next(), More):
            if self.over is not None:
                raise self.over
            self._more = asyncio.get_running_loop().create_future()
            if not self._reading:
                self._pause(False)
            try:
                await self._more
            finally:
                self._more = None
        return reply

    async def write(self, data: bytes) -> None:
        """Return when the system has taken all but a little of it."""
        if self.over is None and self._transport is not None:
            self._transport.write(data)
        if self._room is not None and self.over is None:
            await self._room

    @property
    def connected(self) -> bool:
        """Whether it ever was, in TLS where that is wanted."""
        return self._transport is not None

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    def _pause(self, paused: bool) -> None:
        self._reading = not paused
        if self._transport is not None:
            (self._transport.pause_reading if paused else self._transport.resume_reading)()


class Wire:
    """A connection, made by :meth:`open`. Exchanges follow one another: a second one waits for the first."""

    def __init__(self, stream: _Stream, secrets: tuple[str, ...]) -> None:
        self._stream = stream
        self._secrets = secrets
        self._lock = asyncio.Lock()
        self._lost: RedisLost | None = None

    @classmethod
    async def open(cls, url: str) -> Wire:
        """Connect, authenticate, choose the database.

        Raises:
            RedisLost: it cannot be done, or not in time.
        """
        target = parse_target(url)
        stream = _Stream(target.secrets)
        wire = cls(stream, target.secrets)
        try:
            await dial(target, stream, deadline=CONNECT_DEADLINE)
            async with asyncio.timeout(CONNECT_DEADLINE):
                await wire._introduce(target)
        except TimeoutError as error:
            slow = "does not answer in time"
            if target.tls is not None and not stream.connected:
                slow += ", at least not in TLS: redis:// is for a port without it"
            raise wire._fail(RedisLost(slow) if error.errno is None else error) from None
        except BaseException as error:
            raise wire._fail(error) from None
        return wire

    @property
    def alive(self) -> bool:
        """Whether no exchange has failed yet, and the other side has not closed."""
        return self._lost is None and self._stream.over is None

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, once, when the connection is over, whoever ended it."""
        self._stream.on_over = callback
        if self._stream.over is not None:
            callback()

    async def call(self, *commands: Command, deadline: float = COMMAND_DEADLINE) -> list[Reply]:
        """Send commands, in chunks, and return their replies in order; an error of one is its reply.

        A caller that is cancelled within an exchange ends the connection: whose replies then came would
        not be known.

        Args:
            deadline: seconds for each chunk, from when its turn has come.

        Raises:
            RedisLost: the connection failed or was late; what was sent may or may not have been done.
        """
        replies: list[Reply] = []
        for start in range(0, len(commands), CHUNK):
            if start:
                await asyncio.sleep(0)  # what waits on the loop goes first
            chunk = commands[start : start + CHUNK]
            data = pack(chunk)
            async with self._lock:
                self._check()
                try:
                    async with asyncio.timeout(deadline):
                        await self._stream.write(data)
                        for _ in chunk:
                            replies.append(self._taken(await self._stream.reply()))  # noqa: PERF401 - one by one
                except BaseException as error:
                    raise self._fail(error) from None
        return replies

    async def send(self, *command: Argument) -> None:
        """Send a command whose reply comes by :meth:`receive`; for a connection that subscribes.

        Raises:
            RedisLost: the connection failed or was late.
        """
        data = pack([command])
        self._check()
        try:
            async with asyncio.timeout(COMMAND_DEADLINE):
                await self._stream.write(data)
        except BaseException as error:
            raise self._fail(error) from None

    async def receive(self) -> Reply:
        """The next thing that the server sends, however long that takes.

        Raises:
            RedisLost: the connection failed.
        """
        self._check()
        try:
            return self._taken(await self._stream.reply())
        except BaseException as error:
            raise self._fail(error) from None

    async def close(self) -> None:
        """Let go; whoever still waits for a reply is told that it is lost."""
        if self._lost is None:
            self._lost = RedisLost("was left")
        self._stream.abort()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    async def _introduce(self, target: Target) -> None:
        for _ in range(2):
            await asyncio.sleep(0)  # a server that is full says so and closes: that is read before it is lost
        if target.password is not None:
            who = (target.username, target.password) if target.username else (target.password,)
            await self._said(("AUTH", *who))
        commands: list[Sequence[Argument]] = [("CLIENT", "SETNAME", CLIENT_NAME)]
        if target.database:
            commands.append(("SELECT", target.database))
        await self._stream.write(pack(commands))
        self._taken(await self._stream.reply())  # a name is a courtesy, and may be forbidden
        if target.database:
            self._demand(await self._stream.reply())

    async def _said(self, command: Sequence[Argument]) -> None:
        await self._stream.write(pack([command]))
        reply = await self._stream.reply()
        if isinstance(reply, ServerError) and "wrong number of arguments" in reply.text and len(command) == 3:
            # before Redis 6 there were no users
            await self._stream.write(pack([(command[0], command[2])]))
            reply = await self._stream.reply()
        self._demand(reply)

    def _demand(self, reply: Reply) -> None:
        if isinstance(reply, ServerError):
            raise RedisLost(str(reply), reply.code)
        if reply != b"OK":
            raise NotRedis("does not speak the Redis protocol: something else listens there")

    def _taken(self, reply: Reply) -> Reply:
        if isinstance(reply, ServerError) and reply.code in _LAST_WORDS:
            raise RedisLost(str(reply), reply.code)
        return reply

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _fail(self, error: BaseException) -> BaseException:
        """Close; the error to raise in its place."""
        if self._lost is None:
            self._lost = self._explained(error)
        self._stream.abort()
        return self._lost if isinstance(error, Exception) else error

    def _explained(self, error: BaseException) -> RedisLost:
        if isinstance(error, RedisLost):
            return error
        if isinstance(error, CannotDial | NotRedis):
            return RedisLost(scrub(str(error), self._secrets))
        if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
            return RedisLost("does not answer in time")
        if not isinstance(error, Exception):
            return RedisLost("was left in the middle of an exchange")
        trouble = system_trouble(error) or f"fails: {type(error).__name__}: {error}"
        return RedisLost(scrub(trouble, self._secrets))


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


async def identity_of(wire: Wire) -> int | None:
    """The server's number of this connection, for CLIENT TRACKING's REDIRECT; None where it will not say.

    Raises:
        RedisLost: the connection failed.
    """
    reply = (await wire.call(("CLIENT", "ID")))[0]
    return reply if isinstance(reply, int) else None
