"""One connection to a Redis: commands in, replies out, each exchange within its deadline.

Nothing is ever sent twice: a command whose reply was lost may have been done, and whether to repeat it is for
the caller to decide. Nothing here reconnects; a connection that failed once is closed for good, and at once:
what a frozen server has not taken yet is neither waited for nor delivered later. The protocol is redis-py's
(connection.py), imported when the first connection is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from coordd.redislink.dial import CannotDial, dial
from coordd.redislink.stream import NotRedis, Stream, not_redis
from coordd.redislink.target import parse_target
from coordd.redislink.trouble import ServerError, scrub, system_trouble

if TYPE_CHECKING:
    from coordd.redislink.packed import PackedConnection

Argument = bytes | str | int
Command = Sequence[Argument]
Reply: TypeAlias = "bytes | int | ServerError | list[Reply] | None"

CONNECT_DEADLINE = 1.0
"""Seconds to look up the host, as many to connect, and as many to authenticate and choose the database."""
COMMAND_DEADLINE = 1.0
"""Seconds for one exchange, a chunk of commands and their replies; anew after each 64 KiB of them."""
LARGEST = (64 << 10) + 2
"""Bytes of one string in a reply that are kept, unless less is asked for; the rest is read and dropped."""
CHUNK = 200
"""Commands sent before their replies are read: a few milliseconds of work for either side."""
CLIENT_NAME = "coordd"
"""How ``CLIENT LIST`` shows it."""

_LAST_WORDS = frozenset({"DENIED", "MAXCLIENTS", "NOAUTH", "WRONGPASS"})
"""Errors that end a connection: the server closes it, or nothing else can be had of it."""


class RedisLost(Exception):
    """The connection is no more; the text says of "Redis" what is wrong, without any password.

    ``code`` is the server's error code where it gave one (``NOAUTH``), else None.
    """

    def __init__(self, trouble: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(trouble)


class RedisSession:
    """A connection, made by :meth:`open`. Exchanges follow one another: a second one waits for the first."""

    def __init__(self, connection: PackedConnection, stream: Stream, secrets: tuple[str, ...]) -> None:
        self._connection = connection
        self._stream = stream
        self._secrets = secrets
        self._lock = asyncio.Lock()
        self._lost: RedisLost | None = None

    @classmethod
    async def open(cls, url: str) -> RedisSession:
        """Connect, authenticate, choose the database.

        Raises:
            RedisLost: it cannot be done, or not in time.
        """
        from coordd.redislink.packed import PackedConnection

        target = parse_target(url)
        stream = Stream()
        wire = cls(PackedConnection(stream, target), stream, target.secrets)
        try:
            await dial(target, stream, deadline=CONNECT_DEADLINE)
            async with asyncio.timeout(CONNECT_DEADLINE):
                await wire._introduce()
        except TimeoutError as error:
            slow = "does not answer in time"
            if target.tls is not None and stream.writer is None:
                slow += ", at least not in TLS: redis:// is for a port without it"
            raise wire._fail(RedisLost(slow) if error.errno is None else error) from None
        except BaseException as error:
            raise wire._fail(error) from None
        return wire

    @property
    def alive(self) -> bool:
        """Whether no exchange has failed yet, and the other side has not closed."""
        return self._lost is None and not self._stream.over

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, once, when the connection is over, whoever ended it."""
        self._stream.on_over = callback
        if self._stream.over:
            callback()

    async def call(
        self, *commands: Command, deadline: float = COMMAND_DEADLINE, largest: int = LARGEST
    ) -> list[Reply]:
        """Send commands, in chunks, and return their replies in order; an error of one is its reply.

        A caller that is cancelled within an exchange ends the connection: whose replies then came would
        not be known.

        Args:
            deadline: seconds for each chunk, from when its turn has come, and anew after each 64 KiB of its
                replies: what is large takes its time, what stands still is late.
            largest: bytes that are kept of each string in the replies.

        Raises:
            RedisLost: the connection failed or was late; what was sent may or may not have been done.
        """
        replies: list[Reply] = []
        for start in range(0, len(commands), CHUNK):
            if start:
                await asyncio.sleep(0)  # what waits on the loop goes first
            chunk = commands[start : start + CHUNK]
            data = self._connection.pack_commands(chunk)
            async with self._lock:
                self._check()
                try:
                    async with self._while_it_comes(deadline):
                        await self._connection.send_packed_command(data, check_health=False)
                        for _ in chunk:
                            reply = await self._connection.reply(largest=largest)
                            replies.append(self._taken(reply))
                except BaseException as error:
                    raise self._fail(error) from None
        return replies

    async def send(self, *command: Argument) -> None:
        """Send a command whose reply comes by :meth:`receive`; for a connection that subscribes.

        Raises:
            RedisLost: the connection failed or was late.
        """
        data = self._connection.pack_command(*command)
        self._check()
        try:
            async with asyncio.timeout(COMMAND_DEADLINE):
                await self._connection.send_packed_command(data, check_health=False)
        except BaseException as error:
            raise self._fail(error) from None

    async def receive(self, *, largest: int = LARGEST) -> Reply:
        """The next thing that the server sends, however long that takes; ``largest`` as in :meth:`call`.

        Raises:
            RedisLost: the connection failed.
        """
        self._check()
        try:
            return self._taken(await self._connection.reply(largest=largest))
        except BaseException as error:
            raise self._fail(error) from None

    @asynccontextmanager
    async def _while_it_comes(self, deadline: float) -> AsyncIterator[None]:
        """Raise TimeoutError once nothing of note has come for so many seconds."""
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(deadline) as limit:
            self._stream.on_progress = lambda: limit.reschedule(clock() + deadline)
            try:
                yield
            finally:
                self._stream.on_progress = None

    async def close(self) -> None:
        """Let go; whoever still waits for a reply is told that it is lost."""
        if self._lost is None:
            self._lost = RedisLost("was left")
        self._connection.abandon(reset=self._lock.locked())
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    async def _introduce(self) -> None:
        for _ in range(2):
            await asyncio.sleep(0)  # a server that is full says so and closes: that is read before it is lost
        await self._connection.introduce()
        # redis-py would take it for a failure where this is forbidden
        await self._connection.send_command("CLIENT", "SETNAME", CLIENT_NAME, check_health=False)
        named = self._taken(await self._connection.reply(largest=LARGEST))
        if named != b"OK" and not isinstance(named, ServerError):
            raise not_redis()

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
        self._connection.abandon(reset=True)
        return self._lost if isinstance(error, Exception) else error

    def _explained(self, error: BaseException) -> RedisLost:
        if isinstance(error, RedisLost):
            return error
        if (said := self._connection.said(error)) is not None:
            return RedisLost(str(said), said.code)
        if not isinstance(error, Exception):
            return RedisLost("was left in the middle of an exchange")
        if isinstance(error, TimeoutError) and error.errno is None:
            return RedisLost("does not answer in time")
        if isinstance(error, CannotDial | NotRedis):
            trouble = str(error)
        elif isinstance(error, self._connection.FAILURE):
            fault = self._stream.fault or not_redis()
            trouble = system_trouble(fault) or str(fault)
        else:
            trouble = system_trouble(error) or f"fails: {type(error).__name__}: {error}"
        return RedisLost(scrub(trouble, self._secrets))


async def identity_of(wire: RedisSession) -> int | None:
    """The server's number of this connection, for CLIENT TRACKING's REDIRECT; None where it will not say.

    Raises:
        RedisLost: the connection failed.
    """
    reply = (await wire.call(("CLIENT", "ID")))[0]
    return reply if isinstance(reply, int) else None
