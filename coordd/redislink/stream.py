"""The socket's side of a connection: bounded, knows when it is over, is let go without waiting for anybody.

A reader and a writer of asyncio that differ in this: what came before the end is given out before the end is
told, whoever ended it and however; and closing is at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import cast

MAX_REPLY = 64 << 20
"""Bytes that are kept of one reply, lists within it included; 50,000 agents registered are a fifth of it."""
PROGRESS = 64 << 10
"""Bytes after which a reply that is still coming counts as progress."""
LIMIT = 64 << 10
"""Bytes of a line; twice as many may wait unasked for, beyond them the server waits."""

_BEGINNINGS = b"+-:$*"
_TLS_ALERT = 0x15  # RFC 8446, section 5.1: what a TLS port says to who speaks none
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER (socket(7)): what is not delivered yet never is


class NotRedis(Exception):
    """What came is nothing that a Redis says; the text says of "Redis" what it is."""


class Stream(asyncio.StreamReaderProtocol):
    """The protocol of one connection; ``writer`` is there once it is made."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader(limit=LIMIT)
        super().__init__(self.reader)
        self.writer: SocketWriter | None = None
        self.over = False
        self.fault: Exception | None = None
        """What the other side did to end it; None where we did."""
        self.on_over: Callable[[], None] | None = None
        self.on_progress: Callable[[], None] | None = None
        """Called after each :data:`PROGRESS` bytes that came."""
        self._left = False
        self._begun = False
        self._taken = 0
        self._came = 0

    def expect(self) -> None:
        """A reply begins here: MAX_REPLY counts from now."""
        self._taken = 0

    def passed_over(self, count: int) -> None:
        """So many bytes of the reply were read and are kept by nobody: they do not count."""
        self._taken -= count

    def abort(self, *, reset: bool) -> None:
        """Close without waiting; with ``reset`` nothing that was written is delivered from here on."""
        self._left = True
        if self.writer is None:
            return
        if reset and (sock := self.writer.get_extra_info("socket")) is not None:  # None: of TLS that is over
            with suppress(OSError):  # it is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, in TLS where that is wanted."""
        super().connection_made(transport)
        self.writer = SocketWriter(
            cast("asyncio.Transport", transport), self, self.reader, asyncio.get_running_loop()
        )

    def data_received(self, data: bytes) -> None:
        """Keep what came until it is asked for, if it may be from a Redis."""
        if not self._begun and data[0] not in _BEGINNINGS:
            self._refuse("speaks TLS there: rediss:// is for such a port" if data[0] == _TLS_ALERT else None)
            return
        self._begun = True
        self._taken += len(data)
        self._came += len(data)
        if self._came >= PROGRESS:
            self._came = 0
            if self.on_progress is not None:
                self.on_progress()
        if self._taken > MAX_REPLY:
            self._refuse(f"answers with more than {MAX_REPLY >> 20} MiB at once")
            return
        super().data_received(data)

    def eof_received(self) -> bool:
        """The other side closes: so do we."""
        super().eof_received()
        self._blame(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, by whomever."""
        self._blame(exc)
        self.over = True
        super().connection_lost(None)  # an error here would hide from the reader what came before it
        if self.on_over is not None:
            self.on_over()

    def _refuse(self, words: str | None) -> None:
        self._blame(not_redis(words))
        self.abort(reset=True)

    def _blame(self, exc: Exception | None) -> None:
        if self.fault is None and not self._left:
            self.fault = exc or ConnectionError("closed")


class SocketWriter(asyncio.StreamWriter):
    """The writing half: no error, for the reader tells of it; closed at once, whatever waits to be sent."""

    _stream: Stream

    def __init__(
        self,
        transport: asyncio.Transport,
        stream: Stream,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, stream, reader, loop)
        self._stream = stream

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send, unless it is over."""
        if not self.is_closing():
            super().writelines(data)

    async def drain(self) -> None:
        """Return when the system has taken all but a little, or never will."""
        with suppress(ConnectionError):
            await super().drain()

    def close(self) -> None:
        """Close; redis-py does so when something failed."""
        self._stream.abort(reset=True)


def not_redis(words: str | None = None) -> NotRedis:
    """What to raise where it is not said more exactly."""
    return NotRedis(words or "does not speak the Redis protocol: something else listens there")
