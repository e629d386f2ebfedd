"""HTTP connections that cannot cost more than their share: counted, timed, cut.

uvicorn has a timeout between two requests and none within one: a client that connects and says nothing, or a
header line each second, would stay for ever, and so would an answer that nobody reads. Here every connection
has :data:`DEADLINE` seconds to bring a request whole, and so many without reading a byte of what waits for
it. Beyond :data:`MOST` connections an idle one gives way, and only then a newcomer is refused, in HTTP.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 256
DEADLINE = 10.0
SWEEP = 1.0
"""Seconds between two looks at all connections, while there are any."""
MAX_LINGERING = 64
"""Refused clients that are being told so; more than that are dropped without a word."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\nretry-after: 5\r\n"
    b"cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n%b"
)


class Room:
    """All connections of one server, the limits they have, and what became of those that broke them.

    ``most``: connections at once. ``deadline``: seconds, as above.
    """

    def __init__(self, *, most: int = MOST, deadline: float = DEADLINE) -> None:
        self.most = most
        self.deadline = deadline
        self.refused = 0
        self.cut = 0
        self._connections: dict[Connection, None] = {}
        self._lingering = 0
        self._sweeping: asyncio.TimerHandle | None = None
        text = b'{"error":{"kind":"busy","message":"all %d connections are in use; try again later"}}' % most
        self._full = _FULL % (len(text), text)

    def __len__(self) -> int:
        return len(self._connections)

    def enter(self, connection: Connection) -> bool:
        """Let a newcomer in, if need be in the place of an idle one; whether it was."""
        if len(self._connections) >= self.most and not self._make_room():
            self.refused += 1
            return False
        self._connections[connection] = None
        self._sweep_later()
        return True

    def leave(self, connection: Connection) -> None:
        """A connection is no more."""
        self._connections.pop(connection, None)

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Tell a client that there is no room; it has a second to hear it, for closing at once resets."""
        if self._lingering >= MAX_LINGERING:
            transport.abort()
            return
        self._lingering += 1
        transport.write(self._full)
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(1.0, self._turned_away, transport)

    def _turned_away(self, transport: asyncio.Transport) -> None:
        self._lingering -= 1
        transport.abort()

    def _make_room(self) -> bool:
        for connection in self._connections:
            if connection.idle:
                connection.transport.abort()
                self.leave(connection)
                return True
        return False

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            if connection.overdue(now, self.deadline):
                self.cut += 1
                connection.transport.abort()
        if self._connections:
            self._sweep_later()


class Counted:
    """A transport that counts what is written to it: what of it was taken tells a slow reader from none."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.written = 0
        self.get_write_buffer_size = transport.get_write_buffer_size

    def write(self, data: bytes) -> None:
        """As the transport's own."""
        self.written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 connection, with limits. ``room`` is set by a subclass made for one server."""

    room: Room

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turned_away = False
        self._quiet_since = self.loop.time()
        self._taken = 0
        self._unread_since: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def idle(self) -> bool:
        """Whether nothing has begun: no request is answered, none has partly come, nothing is on its way."""
        return (
            not self.busy
            and self.conn.trailing_data == (b"", False)
            and self.conn.their_state in (h11.IDLE, h11.DONE)
            and not self.transport.get_write_buffer_size()
            and self.cycle is not None
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is connected, and let in or not."""
        self._out = Counted(cast(asyncio.Transport, transport))
        super().connection_made(cast(asyncio.Transport, self._out))
        if not self.room.enter(self):
            self._turned_away = True
            self.room.turn_away(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests; those of one who was turned away are not read."""
        if not self._turned_away:
            super().data_received(data)

    def on_response_complete(self) -> None:
        """From here on it has its time for the next request."""
        self._quiet_since = self.loop.time()
        super().on_response_complete()

    def overdue(self, now: float, deadline: float) -> bool:
        """Whether it has had its time: without a whole request, or without reading what waits for it."""
        left = self._out.get_write_buffer_size()
        taken = self._out.written - left
        if left == 0 or taken > self._taken:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        self._taken = taken
        if self._unread_since is not None:
            return now - self._unread_since >= deadline
        return not self.busy and now - self._quiet_since >= deadline


def connection_class(room: Room) -> type[Connection]:
    """The class of one server's connections: uvicorn makes them, and passes nothing of ours on."""
    return type("RoomConnection", (Connection,), {"room": room})
