"""The control socket: who is let in, who gives way, and what happens when there is no descriptor left.

What a client says and is answered is connection.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections import OrderedDict
from collections.abc import Callable

from coordd.connection import Connection, Dispatch, Limits
from coordd.peer import peer_of
from coordd.wire import SERVER_ERROR, Fault

log = logging.getLogger(__name__)

ACCEPTS_PER_TURN = 16
PAUSE = 1.0
"""Seconds for which nothing is accepted after accepting failed."""


class Server:
    """Accepts on a listening socket and keeps a limited number of clients.

    ``dispatch`` answers a request line; ``refusal`` makes the line that refuses with a Fault.
    """

    def __init__(
        self, *, dispatch: Dispatch, refusal: Callable[[Fault], bytes], limits: Limits | None = None
    ) -> None:
        self._dispatch = dispatch
        self._refusal = refusal
        self._limits = limits or Limits()
        self.refused = 0
        self._connections: OrderedDict[Connection, None] = OrderedDict()
        self._adopting: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._spare: int | None = None
        self._paused: asyncio.TimerHandle | None = None
        self._complained = False

    def __len__(self) -> int:
        return len(self._connections)

    def start(self, listener: socket.socket) -> None:
        """Begin to accept on a bound, listening, non-blocking socket."""
        self._listener = listener
        self._spare = _spare_descriptor()
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def move(self, listener: socket.socket) -> None:
        """Accept on another socket from now on, and close the one before; whoever is connected stays."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener.fileno())
            self._listener.close()
        self._listener = listener
        if self._paused is None:
            loop.add_reader(listener.fileno(), self._accept)

    async def stop(self, *, grace: float = 1.0) -> None:
        """Accept no more, let answers on their way out for ``grace`` seconds, then drop every connection."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener.fileno())
            self._listener = None
        if self._paused is not None:
            self._paused.cancel()
        await asyncio.gather(*self._adopting)
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

    def _forget(self, connection: Connection) -> None:
        """Called by a connection that has ended."""
        self._connections.pop(connection, None)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._listener is None or self._paused is not None:
                return
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._cannot_accept(error)
                return
            self._complained = False
            client.setblocking(False)
            if len(self._connections) >= self._limits.connections and not self._make_room():
                self._refuse(
                    client, f"All {self._limits.connections} connections are in use; try again later"
                )
                continue
            connection = Connection(
                peer=peer_of(client),
                dispatch=self._dispatch,
                refusal=self._refusal,
                limits=self._limits,
                on_end=self._forget,
            )
            self._connections[connection] = None
            task = asyncio.ensure_future(self._adopt(connection, client))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def _adopt(self, connection: Connection, client: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, client)
        except OSError:
            client.close()
            self._forget(connection)

    def _make_room(self) -> bool:
        """Let the oldest client whose request is incomplete give way to a newcomer."""
        for connection in self._connections:
            if connection.incomplete:
                connection.abort()
                self._forget(connection)
                return True
        return False

    def _refuse(self, client: socket.socket, why: str) -> None:
        self.refused += 1
        with contextlib.suppress(OSError):
            client.send(self._refusal(Fault(SERVER_ERROR, why, kind="busy")))
        client.close()

    def _cannot_accept(self, error: OSError) -> None:
        """Say so once, and never let a client that waits wake the loop over and over."""
        if not self._complained:
            self._complained = True
            log.error("the control socket cannot accept: %s", error.strerror)
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._refuse_with_the_spare():
            self._pause()

    def _refuse_with_the_spare(self) -> bool:
        """Out of descriptors: give the spare one to a client that waits, to tell it so."""
        if self._spare is None or self._listener is None:
            return False
        os.close(self._spare)
        self._spare = None
        try:
            client, _address = self._listener.accept()
        except OSError:
            pass
        else:
            self._refuse(client, "coordd has no file descriptor left; try again later")
        self._spare = _spare_descriptor()
        return self._spare is not None

    def _pause(self) -> None:
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        self._paused = loop.call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = None
        if self._listener is None:
            return
        if self._spare is None:
            self._spare = _spare_descriptor()
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)


def _spare_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
