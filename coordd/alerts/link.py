"""Hold one connection to the daemon: call it, and take its notifications in the order in which they come.

Notifications wait in a queue until they are taken; while many wait nothing is read, so that the daemon's own
bound counts. A lost connection never comes back, a new one replaces it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from typing import Any

from coordd.errors import CannotTell
from coordd.protocol.client import result_of
from coordd.protocol.jsonrpc import LineSplitter, TooLong
from coordd.util import fastjson
from coordd.util.text import escape

MAX_LINE = 16 * 1024 * 1024
"""Bytes of an answer; those of ten thousand agents have a fraction of it."""
MANY = 1000
"""Notifications that wait when no more are read."""


class Link(asyncio.Protocol):
    """One connection; ``closed`` is done with the reason when it is lost."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._lines = LineSplitter(MAX_LINE)
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._next_id = 1
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._notifications: deque[tuple[str, dict[str, Any]]] = deque()
        self._came = asyncio.Event()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.heard = self._loop.time()
        """When something last came, by the loop's clock."""

    @classmethod
    async def open(cls, path: str, descriptor: int) -> Link:
        """Return a link over a connected descriptor, which is its own from now on."""
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        try:
            _, link = await asyncio.get_running_loop().create_connection(lambda: cls(path), sock=sock)
        except BaseException:
            sock.close()
            raise
        return link

    async def call(self, method: str, params: dict[str, object], *, within: float) -> Any:
        """Return the result of a call.

        Raises:
            RpcError: the daemon answered with an error.
            CannotTell: it did not answer within so many seconds, or the connection is lost.
        """
        if self._transport is None or self.closed.done():
            raise CannotTell(self._words("the connection is closed"))
        identity, self._next_id = self._next_id, self._next_id + 1
        request = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls[identity] = future
        self._transport.write(fastjson.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(within):
                return result_of(await future)
        except TimeoutError as error:
            raise CannotTell(self._words(f"no answer within {within:g} s")) from error
        finally:
            self._calls.pop(identity, None)

    async def notification(self) -> tuple[str, dict[str, Any]]:
        """Return the next notification, its method and parameters.

        Raises:
            CannotTell: none will come, for the connection is lost.
        """
        while not self._notifications:
            if self.closed.done():
                raise CannotTell(self._words(self.closed.result()))
            self._came.clear()
            await self._came.wait()
        one = self._notifications.popleft()
        if self._paused and len(self._notifications) < MANY // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return one

    @property
    def waiting(self) -> int:
        """Return the number of notifications that wait to be taken."""
        return len(self._notifications)

    def close(self) -> None:
        """Close the connection; a second call has no effect."""
        self._end("the connection is closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type alone
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        self.heard = self._loop.time()
        try:
            self._lines.feed(data)
            while (line := self._lines.take()) is not None:
                self._take(line)
        except TooLong:
            self._end(f"an answer of more than {MAX_LINE} bytes")
        except (ValueError, RecursionError):
            self._end("the answer is not JSON-RPC 2.0")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all who wait."""
        words = getattr(error, "strerror", None) or "the daemon closed the connection"
        self._end(str(words))

    def _take(self, line: bytes) -> None:
        message = fastjson.loads(line.decode())
        if not isinstance(message, dict):
            raise ValueError("no object")
        method, params, identity = message.get("method"), message.get("params"), message.get("id")
        if isinstance(method, str):
            self._notifications.append((method, params if isinstance(params, dict) else {}))
            self._came.set()
            if len(self._notifications) >= MANY and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            return
        future = self._calls.get(identity) if isinstance(identity, int) else None
        if future is not None and not future.done():
            future.set_result(message)
        elif identity is None and "error" in message:  # the connection is refused: full, or it ends
            self._end("the daemon refused")

    def _end(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(CannotTell(self._words(reason)))
        self._came.set()
        if self._transport is not None:
            with suppress(OSError, RuntimeError):
                self._transport.abort()

    def _words(self, reason: str) -> str:
        return f"{escape(self._path)}: {reason}."
