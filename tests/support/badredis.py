"""Serve what should be a Redis and is not, in the test's loop; also a TLS port in front of a real one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(
    behaviour: Served, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[float]]]:
    """Serve each connection to a port of 127.0.0.1 this way; yield the port and the connections' times."""
    came: list[float] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(monotonic())
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
            await behaviour(reader, writer)
        tasks.discard(task)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything, answer nothing."""
    while await reader.read(65536):
        pass


async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as nginx does to such a client."""
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n")
    await writer.drain()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back (RFC 862)."""
    while data := await reader.read(65536):
        writer.write(data)


async def repeater(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Repeat in each error whatever was sent."""
    while data := await reader.read(65536):
        writer.write(b"-ERR what is " + data.replace(b"\r\n", b" ") + b"\r\n")


async def closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once, in order."""
    writer.close()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset, with SO_LINGER of 0 (socket(7))."""
    await reader.read(10)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def passing_on(port: int) -> Served:
    """Pass everything on to a server on another port, both ways."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.transport.abort()

    return serve


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
