"""Exchange commands and replies with one Redis over one connection, each within a deadline.

No command is sent twice: one whose reply was lost may have been carried out, and the caller decides whether
to repeat it. Nothing here reconnects. A connection that failed is closed for good and at once: data that a
frozen server has not received yet is dropped. The protocol is redis-py's (packed.py), imported when the first
connection is opened.
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
"""Seconds for each of three steps: look up the host, connect, authenticate and choose the database."""
COMMAND_DEADLINE = 1.0
"""Seconds for one exchange: a chunk of commands and their replies; renewed after each 64 KiB of replies."""
LARGEST = (64 << 10) + 2
"""Bytes that are kept of each string in a reply by default; the rest is read and dropped."""
CHUNK = 200
"""Commands sent before their replies are read: a few milliseconds of work for either side."""
CLIENT_NAME = "coordd"
"""The connection's name in ``CLIENT LIST``."""


class RedisLost(Exception):
    """Raised when the connection has failed; the text says of "Redis" what is wrong, without any password.

    ``code`` is the server's error code where it gave one (``NOAUTH``), else None.
    """

    def __init__(self, trouble: str, code: str | None = None) -> None:
        self.code = code
        super().__init__(trouble)


class RedisSession:
    """A connection, made by :meth:`open`; exchanges follow one another, a second one waits for the first."""

    def __init__(self, connection: PackedConnection, stream: Stream, secrets: tuple[str, ...]) -> None:
        self._connection = connection
        self._stream = stream
        self._secrets = secrets
        self._lock = asyncio.Lock()
        self._lost: RedisLost | None = None

    @classmethod
    async def open(cls, url: str) -> RedisSession:
        """Connect, authenticate, and choose the database.

        Raises:
            RedisLost: one of the steps failed, or took too long.
        """
        from coordd.redislink.packed import PackedConnection

        target = parse_target(url)
        stream = Stream()
        session = cls(PackedConnection(stream, target), stream, target.secrets)
        try:
            await dial(target, stream, deadline=CONNECT_DEADLINE)
            async with asyncio.timeout(CONNECT_DEADLINE):
                await session._handshake()
        except TimeoutError as error:
            slow = "does not answer in time"
            if target.tls is not None and stream.writer is None:
                slow += ", at least not in TLS: redis:// is for a port without it"
            raise session._fail(RedisLost(slow) if error.errno is None else error) from None
        except BaseException as error:
            raise session._fail(error) from None
        return session

    @property
    def alive(self) -> bool:
        """Whether no exchange has failed and the server has not closed the connection."""
        return self._lost is None and not self._stream.over

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once when the connection ends, whoever ends it."""
        self._stream.on_over = callback
        if self._stream.over:
            callback()

    async def call(
        self, *commands: Command, deadline: float = COMMAND_DEADLINE, largest: int = LARGEST
    ) -> list[Reply]:
        """Send commands, in chunks, and return their replies in order; an error of one is its reply.

        Cancelling a caller during an exchange closes the connection, since later replies could not be matched
        to commands.

        Args:
            deadline: seconds for each chunk, from the moment it is sent, renewed after each 64 KiB of its
                replies: a large reply may take its time, a stalled one is late.
            largest: bytes that are kept of each string in the replies.

        Raises:
            RedisLost: the connection failed or was late; commands may or may not have been carried out.
        """
        replies: list[Reply] = []
        for start in range(0, len(commands), CHUNK):
            if start:
                await asyncio.sleep(0)  # let others on the loop go first
            chunk = commands[start : start + CHUNK]
            data = self._connection.pack_commands(chunk)
            async with self._lock:
                self._raise_if_lost()
                try:
                    async with self._progress_deadline(deadline):
                        await self._connection.send_packed_command(data, check_health=False)
                        for _ in chunk:
                            reply = await self._connection.reply(largest=largest)
                            replies.append(self._checked(reply))
                except BaseException as error:
                    raise self._fail(error) from None
        return replies

    async def send(self, *command: Argument) -> None:
        """Send a command whose reply comes by :meth:`receive`; for a connection that subscribes.

        Raises:
            RedisLost: the connection failed or was late.
        """
        data = self._connection.pack_command(*command)
        self._raise_if_lost()
        try:
            async with asyncio.timeout(COMMAND_DEADLINE):
                await self._connection.send_packed_command(data, check_health=False)
        except BaseException as error:
            raise self._fail(error) from None

    async def receive(self, *, largest: int = LARGEST) -> Reply:
        """Return the next reply of the server, however long it takes; ``largest`` as in :meth:`call`.

        Raises:
            RedisLost: the connection failed.
        """
        self._raise_if_lost()
        try:
            return self._checked(await self._connection.reply(largest=largest))
        except BaseException as error:
            raise self._fail(error) from None

    @asynccontextmanager
    async def _progress_deadline(self, deadline: float) -> AsyncIterator[None]:
        """Raise TimeoutError once no considerable part of a reply has come for ``deadline`` seconds."""
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(deadline) as limit:
            self._stream.on_progress = lambda: limit.reschedule(clock() + deadline)
            try:
                yield
            finally:
                self._stream.on_progress = None

    async def close(self) -> None:
        """Close the connection; a caller that waits for a reply gets :class:`RedisLost`."""
        if self._lost is None:
            self._lost = RedisLost("was left")
        self._connection.abandon(reset=self._lock.locked())
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    async def _handshake(self) -> None:
        for _ in range(2):
            await asyncio.sleep(0)  # a full server sends an error and closes: read that first
        await self._connection.handshake()
        # sent by ourselves, since redis-py would fail where this command is forbidden
        await self._connection.send_command("CLIENT", "SETNAME", CLIENT_NAME, check_health=False)
        named = self._checked(await self._connection.reply(largest=LARGEST))
        if named != b"OK" and not isinstance(named, ServerError):
            raise not_redis()

    def _checked(self, reply: Reply) -> Reply:
        if isinstance(reply, ServerError) and reply.means.final:
            raise RedisLost(str(reply), reply.code)
        return reply

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _fail(self, error: BaseException) -> BaseException:
        """Close the connection; return the error to raise instead."""
        if self._lost is None:
            self._lost = self._explained(error)
        self._connection.abandon(reset=True)
        return self._lost if isinstance(error, Exception) else error

    def _explained(self, error: BaseException) -> RedisLost:
        if isinstance(error, RedisLost):
            return error
        if (server_error := self._connection.server_error_of(error)) is not None:
            return RedisLost(str(server_error), server_error.code)
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
