"""Put a proxy in front of a Redis that can turn bad during use: swallow everything, or reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator


class Proxy:
    """Pass on to a port of 127.0.0.1, in its own thread; ``commands`` counts what clients asked."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.commands = 0
        self._target = target
        self._behaviour = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    def swallow(self) -> None:
        """Accept connections and data, and answer nothing."""
        self._behaviour = "swallow"

    def reset(self) -> None:
        """Reset all present connections, and each new one."""
        self._behaviour = "reset"
        self._loop.call_soon_threadsafe(self._reset_all)

    def mend(self) -> None:
        """Pass on again; what was swallowed stays lost."""
        self._behaviour = "pass"

    async def serve(self, started: threading.Event, ending: asyncio.Event) -> None:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await ending.wait()
        server.close()
        self._reset_all()
        await asyncio.sleep(0)

    def run(self, started: threading.Event, ending: asyncio.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.serve(started, ending))
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._behaviour == "reset":
            self._reset_all()
            return
        there: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            back, there = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, there, counted=True), self._pump(back, writer))
        for end in (writer, there):
            if end is not None:
                end.transport.abort()
        self._writers.discard(writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False
    ) -> None:
        swallowed = False
        while data := await reader.read(65536):
            swallowed = swallowed or self._behaviour == "swallow"
            if not swallowed:
                self.commands += data.count(b"\r\n*") + data.startswith(b"*") if counted else 0
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def _reset_all(self) -> None:
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """Run a proxy in front of a port; stop it at the end."""
    proxy = Proxy(port)
    started, ending = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=proxy.run, args=(started, ending), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(ending.set)
        thread.join(10)
