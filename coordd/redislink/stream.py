"""Read and write one socket for a Redis connection: bounded, aware of its end, closed without waiting.

asyncio's reader and writer with two differences: bytes received before the end are read before the end is
reported, whichever side ended it; and closing takes effect at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import cast

MAX_REPLY = 64 << 20
"""Bytes that are kept of one reply, with all lists in it; 50,000 registered agents take a fifth of it."""
PROGRESS = 64 << 10
"""Bytes after which a reply that is still coming counts as progress."""
LIMIT = 64 << 10
"""Bytes of a line; up to twice as many are buffered before they are read, then the server has to wait."""

_BEGINNINGS = b"+-:$*"
_TLS_ALERT = 0x15  # RFC 8446, section 5.1: the answer of a TLS port to plain text
_KEEPALIVE = {"TCP_KEEPIDLE": 4, "TCP_KEEPALIVE": 4, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}
"""Seconds without a packet, then seconds between questions (macOS has the first under the second name), then
their number: a host or network that is gone is found within eight seconds, without a command."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER (socket(7)): drops what is not delivered yet


class NotRedis(Exception):
    """Raised internally when the bytes received cannot come from a Redis; the text says what they are."""


class Stream(asyncio.StreamReaderProtocol):
    """The asyncio protocol of one connection; ``writer`` is set once it is connected."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader(limit=LIMIT)
        super().__init__(self.reader)
        self.writer: SocketWriter | None = None
        self.over = False
        self.fault: Exception | None = None
        """What the server did to end the connection; None if we ended it."""
        self.on_over: Callable[[], None] | None = None
        self.on_progress: Callable[[], None] | None = None
        """Called after each :data:`PROGRESS` bytes received."""
        self._left = False
        self._begun = False
        self._taken = 0
        self._came = 0

    def begin_reply(self) -> None:
        """Begin a reply: MAX_REPLY counts from here."""
        self._taken = 0

    def discarded(self, count: int) -> None:
        """Take ``count`` bytes of the reply out of the count: they were read and not kept."""
        self._taken -= count

    def abort(self, *, reset: bool) -> None:
        """Close without waiting; with ``reset``, data not delivered yet is dropped."""
        self._left = True
        if self.writer is None:
            return
        if reset and (sock := self.writer.get_extra_info("socket")) is not None:  # None after the end of TLS
            with suppress(OSError):  # it is closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the open transport, after the TLS handshake if there is one."""
        super().connection_made(transport)
        if (sock := transport.get_extra_info("socket")) is not None:
            _notice_a_dead_peer(sock)
        self.writer = SocketWriter(
            cast("asyncio.Transport", transport), self, self.reader, asyncio.get_running_loop()
        )

    def data_received(self, data: bytes) -> None:
        """Keep received bytes until they are read, if they may come from a Redis."""
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
        """Close our side too when the server closes."""
        super().eof_received()
        self._record_end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the connection has ended, by whichever side."""
        self._record_end(exc)
        self.over = True
        super().connection_lost(None)  # an error would hide from the reader the bytes received before
        if self.on_over is not None:
            self.on_over()

    def _refuse(self, words: str | None) -> None:
        self._record_end(not_redis(words))
        self.abort(reset=True)

    def _record_end(self, exc: Exception | None) -> None:
        if self.fault is None and not self._left:
            self.fault = exc or ConnectionError("closed")


def _notice_a_dead_peer(sock: socket.socket) -> None:
    """Have the kernel ask now and then whether the other host is there (tcp(7)), and reset if it is not."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return  # the end of a process on this machine is told at once
    with suppress(OSError):  # it is closed already, or the system has no such option
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


class SocketWriter(asyncio.StreamWriter):
    """The writing half: it raises no errors, since the reader reports them, and closes at once."""

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
        """Send the data, unless the connection has ended."""
        if not self.is_closing():
            super().writelines(data)

    async def drain(self) -> None:
        """Return when the system has taken nearly all data, or never will."""
        with suppress(ConnectionError):
            await super().drain()

    def close(self) -> None:
        """Close the connection; redis-py calls it after a failure."""
        self._stream.abort(reset=True)


def not_redis(words: str | None = None) -> NotRedis:
    """Return the error for bytes that cannot come from a Redis; ``words`` say what they are, if known."""
    return NotRedis(words or "does not speak the Redis protocol: something else listens there")
