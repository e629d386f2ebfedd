"""The control socket: connections, their limits and their deadlines. What is asked is not known here.

A connection is a small protocol object on the event loop; lines are split by wire.py, answered by a
``dispatch`` function that is passed in. Every limit is a constant at the top. A client that is slow, silent,
greedy or gone costs its own connection and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import cast

from coordd.peer import Peer, peer_of
from coordd.wire import INVALID_REQUEST, SERVER_ERROR, Close, Fault, LineSplitter, TooLong

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
WHOLE_REQUEST = 5.0
"""Seconds from a request's first byte to its newline."""
WRITE_DEADLINE = 5.0
"""Seconds that a client may leave an answer unread."""
HIGH_WATER = 256 * 1024
"""Unsent bytes above which a client's further requests wait."""
ACCEPTS_PER_TURN = 16

Dispatch = Callable[[bytes, Peer], bytes | Awaitable[bytes | None] | None]
"""A request line and who sent it, to an answer line (with newline), or None for a notification.

Raises ``Close(answer)`` when the connection has to end after the answer.
"""


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Server, peer: Peer) -> None:
        self._server = server
        self._peer = peer
        self._lines = LineSplitter()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._queue: list[bytes] = []
        self._busy: asyncio.Task[None] | None = None
        self._asked = False
        self._eof = False
        self._ended = False

    @property
    def incomplete(self) -> bool:
        """Whether a request has begun and not ended, or none was ever made."""
        return self._lines.pending or not self._asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; what is whole is answered."""
        if self._ended:
            return
        try:
            for line in self._lines.feed(data):
                self._queue.append(line)
                self._asked = True
        except TooLong:
            self._work()
            self._end(self._server.refusal(Fault(INVALID_REQUEST, "Request too long", kind="too-long")))
            return
        self._watch_request()
        self._work()

    def eof_received(self) -> bool:
        """The client sends no more, and may still read."""
        # `printf … | socat` closes its side first: answer what is queued, then close.
        self._eof = True
        return self._busy is not None or bool(self._queue)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """The connection is gone, for whatever reason."""
        for timer in (self._deadline, self._unread):
            if timer:
                timer.cancel()
        if self._busy:
            self._busy.cancel()
        self._ended = True
        self._server.forget(self)

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        self._unread = asyncio.get_running_loop().call_later(WRITE_DEADLINE, self.abort)
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._unread:
            self._unread.cancel()
            self._unread = None
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()
        self._work()

    def abort(self) -> None:
        """Drop the connection with whatever was not sent."""
        if self._transport:
            self._transport.abort()

    def close(self, answer: bytes | None = None) -> None:
        """End the connection after what is on its way."""
        self._end(answer)

    def _work(self) -> None:
        """Answer queued requests in order, as long as the client reads the answers."""
        while self._queue and self._busy is None and self._unread is None and self._transport:
            line = self._queue.pop(0)
            try:
                answer = self._server.dispatch(line, self._peer)
            except Close as close:
                self._end(close.answer)
                return
            if answer is None:
                continue
            if isinstance(answer, bytes):
                self._transport.write(answer)
            else:
                self._busy = asyncio.ensure_future(self._finish(answer))
        if self._eof and not self._queue and self._busy is None and self._transport:
            self._transport.close()

    async def _finish(self, answer: Awaitable[bytes | None]) -> None:
        line = await answer
        self._busy = None
        if self._transport and line is not None:
            self._transport.write(line)
        self._work()

    def _watch_request(self) -> None:
        if not self._lines.pending:
            if self._deadline:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(WHOLE_REQUEST, self._too_slow)

    def _too_slow(self) -> None:
        fault = Fault(INVALID_REQUEST, f"No whole request within {WHOLE_REQUEST:g} s", kind="too-slow")
        self._end(self._server.refusal(fault))

    def _end(self, answer: bytes | None) -> None:
        self._ended = True
        self._queue.clear()
        if self._transport and not self._transport.is_closing():
            if answer:
                self._transport.write(answer)
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._unread = self._unread or asyncio.get_running_loop().call_later(
                    WRITE_DEADLINE, self.abort
                )


class Server:
    """Accepts on a listening socket and keeps at most ``MAX_CONNECTIONS`` clients.

    ``dispatch`` answers a request line; ``refusal`` makes the line that refuses with a Fault.
    """

    def __init__(self, *, dispatch: Dispatch, refusal: Callable[[Fault], bytes]) -> None:
        self.dispatch = dispatch
        self.refusal = refusal
        self.refused = 0
        self._connections: OrderedDict[Connection, None] = OrderedDict()
        self._accepting: set[asyncio.Task[object]] = set()
        self._listener: socket.socket | None = None
        self._spare: int | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def start(self, listener: socket.socket) -> None:
        """Begin to accept on a bound, listening, non-blocking socket."""
        self._listener = listener
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    async def stop(self, *, grace: float = 1.0) -> None:
        """Accept no more, let answers on their way out for ``grace`` seconds, then drop every connection."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener.fileno())
            self._listener = None
        for task in self._accepting:
            task.cancel()
        for connection in list(self._connections):
            connection.close()
        deadline = loop.time() + grace
        while self._connections and loop.time() < deadline:  # noqa: ASYNC110  # at the end of life, for 1 s
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def forget(self, connection: Connection) -> None:
        """Called by a connection that has ended."""
        self._connections.pop(connection, None)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._listener is None:
                return
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._refuse_without_descriptor()
                else:
                    log.exception("accepting on the control socket failed")
                return
            client.setblocking(False)
            if len(self._connections) + len(self._accepting) >= MAX_CONNECTIONS and not self._make_room():
                self._refuse(client, f"All {MAX_CONNECTIONS} connections are in use; try again later")
                continue
            task: asyncio.Task[object] = asyncio.ensure_future(self._adopt(client))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _adopt(self, client: socket.socket) -> None:
        connection = Connection(self, peer_of(client))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, client)
        except OSError:
            client.close()
            return
        self._connections[connection] = None

    def _make_room(self) -> bool:
        """Let the oldest client whose request is incomplete give way to a newcomer."""
        for connection in self._connections:
            if connection.incomplete:
                connection.abort()
                self.forget(connection)
                return True
        return False

    def _refuse(self, client: socket.socket, why: str) -> None:
        self.refused += 1
        with contextlib.suppress(OSError):
            client.send(self.refusal(Fault(SERVER_ERROR, why, kind="busy")))
        client.close()

    def _refuse_without_descriptor(self) -> None:
        """Out of descriptors: with the spare one a waiting client is told so, not polled for ever."""
        if self._spare is None or self._listener is None:
            return
        os.close(self._spare)
        self._spare = None
        try:
            client, _address = self._listener.accept()
        except OSError:
            pass
        else:
            self._refuse(client, "coordd has no file descriptor left; try again later")
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
