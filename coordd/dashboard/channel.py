"""Call the daemon over one asynchronous connection, and receive its notifications.

Results stay the bytes that the daemon sent, as most are passed on unchanged. Callers must expect
:class:`ChannelLost` at any time; a lost channel never comes back, a new one replaces it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import msgspec

from coordd.errors import CannotTell, ClientError, RpcError
from coordd.util.text import escape

MAX_LINE = 64 * 1024 * 1024
"""Bytes of one answer at most; 100,000 agents make about 40 MiB."""

MAX_WAITING = 256
"""Calls that may wait for their answers at once."""

_TURN = 256
"""Lines that are read before other tasks have a turn."""

OnNotification = Callable[[str, bytes], None]
"""A function that takes a notification's method and its encoded parameters."""


class ChannelLost(CannotTell):
    """The connection ended, or its data is not JSON-RPC."""


class Overloaded(CannotTell):
    """Too much is asked at the same time; the daemon itself works."""


class _Fault(msgspec.Struct):
    code: int = -32603
    message: str = "error"
    data: object = None


class _Message(msgspec.Struct):
    jsonrpc: str
    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Fault | None = None


_decoder = msgspec.json.Decoder(_Message)


class Channel:
    """One connection; ``open`` makes it, and ``closed`` is done with the reason when it is lost."""

    def __init__(
        self,
        *,
        path: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_notification: OnNotification | None = None,
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._notify = on_notification
        self._next_id = 1
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._lost: ChannelLost | None = None
        self.heard = 0.0
        """When the daemon last sent something, by the loop's clock."""
        self.closed = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        within: float,
        on_notification: OnNotification | None = None,
        sock: socket.socket | None = None,
    ) -> Channel:
        """Connect to the socket at ``path`` within ``within`` seconds, or take the connected ``sock``.

        Raises:
            CannotTell: the socket cannot be connected to.
        """
        try:
            async with asyncio.timeout(within):
                reader, writer = await asyncio.open_unix_connection(
                    path if sock is None else None, sock=sock, limit=MAX_LINE
                )
        except TimeoutError as error:
            raise CannotTell(f"{escape(path)}: no connection within {within:g} s.") from error
        except OSError as error:
            raise CannotTell(f"{escape(path)}: {error.strerror or error}") from error
        return cls(path=path, reader=reader, writer=writer, on_notification=on_notification)

    async def call(self, method: str, params: object, *, within: float) -> bytes:
        """Call a method and return its encoded result.

        Raises:
            RpcError: the daemon answered with an error.
            ChannelLost: the connection is lost, or was lost while waiting.
            Overloaded: too many calls wait already, or other calls are answered but not this one in time.
            CannotTell: the daemon answered nothing within ``within`` seconds.
        """
        if self._lost is not None:
            raise self._lost
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded("too many requests wait for the daemon already; ask again later.")
        identity, self._next_id = self._next_id, self._next_id + 1
        request: dict[str, object] = {"jsonrpc": "2.0", "id": identity, "method": method}
        if params is not None:
            request["params"] = params
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = future
        try:
            self._writer.write(msgspec.json.encode(request) + b"\n")
            async with asyncio.timeout(within):
                return await future
        except TimeoutError as error:
            if asyncio.get_running_loop().time() - self.heard < within:
                raise Overloaded("the daemon is busy with other requests; ask again later.") from error
            raise CannotTell(
                f"{escape(self._path)}: no answer within {within:g} s; "
                "the daemon may be stopped or overloaded."
            ) from error
        finally:
            self._waiting.pop(identity, None)

    def close(self) -> None:
        """Close the connection; a second call has no effect."""
        self._end(ChannelLost(f"{escape(self._path)}: the connection is closed."))

    async def _read(self) -> ClientError:
        """Read lines until the connection ends; return the reason."""
        lines = 0
        try:
            while True:
                self._take(await self._reader.readuntil(b"\n"))
                lines += 1
                if lines % _TURN == 0:
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            why = "the daemon closed the connection."
        except asyncio.LimitOverrunError:
            why = f"an answer of more than {MAX_LINE} bytes."
        except OSError as error:
            why = error.strerror or str(error)
        except msgspec.DecodeError:
            why = "the answer is not JSON-RPC 2.0."
        return self._end(ChannelLost(f"{escape(self._path)}: {why}"))

    def _take(self, line: bytes) -> None:
        message = _decoder.decode(line)
        if message.method is not None:
            if self._notify is not None:
                self._notify(message.method, bytes(message.params))
            return
        if message.id is None:
            if message.error is not None:  # the connection is refused: full, or shutting down
                self._end(
                    ChannelLost(f"{escape(self._path)}: the daemon refused: {escape(message.error.message)}")
                )
            return
        self.heard = asyncio.get_running_loop().time()
        future = self._waiting.get(message.id)
        if future is None or future.done():
            return
        if message.error is not None:
            fault = message.error
            future.set_exception(RpcError(fault.code, escape(fault.message), fault.data))
        else:
            future.set_result(bytes(message.result))

    def _end(self, reason: ChannelLost) -> ChannelLost:
        """Close the connection; return the first reason that was given."""
        self._lost = self._lost or reason
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._lost)
        self._waiting.clear()
        with suppress(OSError, RuntimeError):  # the loop may be closing already
            self._writer.transport.abort()
        return self._lost
