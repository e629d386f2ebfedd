"""Accept clients on the control socket; drop or refuse some when it is full, or out of descriptors.

connection.py talks with a client; protocol/admission.py decides which connection is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable
from time import monotonic

from coordd.control.connection import ConnectionLimits, ControlConnection, Dispatch
from coordd.control.peer import peer_of
from coordd.control.turns import Turns
from coordd.protocol.admission import RESERVED, Admission, Caller
from coordd.protocol.jsonrpc import SERVER_ERROR, Fault
from coordd.protocol.memory_shares import Memory

log = logging.getLogger(__name__)

ACCEPTS_PER_TURN = 16
GIVING_WAY = 4
"""Dropped connections that may have their descriptors still; then nobody is accepted before one is closed."""
PAUSE = 1.0
"""Seconds without accepting after it failed."""


class ControlServer:
    """Accept on a listening socket, and keep a limited number of clients.

    ``dispatch`` answers a request line; ``refusal`` makes the line that refuses with a Fault. ``own_uid`` is
    the daemon's.
    """

    def __init__(
        self,
        *,
        dispatch: Dispatch,
        refusal: Callable[[Fault], bytes],
        limits: ConnectionLimits | None = None,
        own_uid: int | None = None,
    ) -> None:
        self._dispatch = dispatch
        self._refusal = refusal
        self._limits = limits or ConnectionLimits()
        self.refused = 0
        self.turns = Turns()
        self._admission: Admission[ControlConnection] = Admission(
            limit=self._limits.connections, reserved=RESERVED
        )
        self._own_uid = os.geteuid() if own_uid is None else own_uid
        self._memory: Memory[ControlConnection] = Memory(self._limits.held)
        self._adopting: set[asyncio.Task[None]] = set()
        self._giving_way: set[ControlConnection] = set()
        self._listener: socket.socket | None = None
        self._spare: int | None = None
        self._paused: asyncio.TimerHandle | None = None
        self._complained = False

    def __len__(self) -> int:
        return len(self._admission)

    def start(self, listener: socket.socket) -> None:
        """Begin to accept on a bound, listening, non-blocking socket."""
        self._listener = listener
        self._spare = _spare_descriptor()
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def move(self, listener: socket.socket) -> None:
        """Accept on another socket from now on, and close the one before; connected clients stay."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener.fileno())
            self._listener.close()
        self._listener = listener
        if self._paused is None:
            loop.add_reader(listener.fileno(), self._accept)

    async def stop(self, *, grace: float = 1.0) -> None:
        """Stop accepting, let answers be sent for ``grace`` seconds, then drop every connection."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener.fileno())
            self._listener = None
        if self._paused is not None:
            self._paused.cancel()
        await asyncio.gather(*self._adopting)
        for connection in self._admission.connections():
            connection.close()
        deadline = loop.time() + grace
        while len(self._admission) and loop.time() < deadline:  # noqa: ASYNC110  # at the end of life, for 1 s
            await asyncio.sleep(0.01)
        for connection in self._admission.connections():
            connection.abort()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def ended(self, connection: ControlConnection) -> None:
        """Record that a connection has ended."""
        self._giving_way.discard(connection)
        self._admission.remove(connection)
        self._memory.holds(connection, 0)

    def holds(self, connection: ControlConnection, size: int) -> None:
        """Record how many bytes of memory a connection takes, and drop the heaviest if all take too much."""
        self._memory.holds(connection, size)
        while (heaviest := self._memory.heaviest()) is not None:
            self._drop(heaviest)

    def subscribes(self, connection: ControlConnection) -> Fault | None:
        """Count a connection as a subscriber; return the error where there is no room."""
        if self._admission.subscribe(connection):
            return None
        other = self._admission.subscriber_to_drop(connection.caller)
        if other is not None:
            self._drop(other)
            if self._admission.subscribe(connection):
                return None
        self.refused += 1
        most = self._admission.subscribers_limit
        return Fault(
            SERVER_ERROR, f"All {most} places for subscribers are in use; try again later", kind="busy"
        )

    def unsubscribes(self, connection: ControlConnection) -> None:
        """Record that a connection has ended its subscription."""
        self._admission.unsubscribe(connection)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if self._listener is None or self._paused is not None or len(self._giving_way) >= GIVING_WAY:
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
            peer = peer_of(client)
            caller = Caller(peer.uid, peer.pid, peer.may_control(self._own_uid))
            if self._admission.full(caller) and not self._make_room(caller):
                self._refuse(client, f"All {self._admission.limit} connections are in use; try again later")
                continue
            connection = ControlConnection(
                peer=peer,
                caller=caller,
                dispatch=self._dispatch,
                refusal=self._refusal,
                limits=self._limits,
                registry=self,
            )
            self._admission.add(connection)
            task = asyncio.ensure_future(self._adopt(connection, client))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def _adopt(self, connection: ControlConnection, client: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, client)
        except OSError:
            client.close()
            self.ended(connection)

    def _make_room(self, newcomer: Caller) -> bool:
        """Drop a connection for a newcomer; return whether one was dropped."""
        connection = self._admission.connection_to_drop(newcomer, monotonic())
        if connection is None:
            return False
        self._drop(connection)
        return True

    def _drop(self, connection: ControlConnection) -> None:
        connection.abort()
        self.ended(connection)
        self._giving_way.add(connection)

    def _refuse(self, client: socket.socket, why: str) -> None:
        self.refused += 1
        with contextlib.suppress(OSError):
            client.send(self._refusal(Fault(SERVER_ERROR, why, kind="busy")))
        client.close()

    def _cannot_accept(self, error: OSError) -> None:
        """Log a failure to accept once, and pause: a waiting client would wake the loop over and over."""
        if not self._complained:
            self._complained = True
            log.error("the control socket cannot accept: %s", error.strerror)
        if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._refuse_with_the_spare():
            self._pause()

    def _refuse_with_the_spare(self) -> bool:
        """Accept a client with the spare descriptor, to tell it so; return whether there is a spare again."""
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
