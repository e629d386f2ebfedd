"""HTTP connections that cannot cost more than their share: counted, timed, cut.

uvicorn has a timeout between two requests and none within one: a client that connects and says nothing, or a
header line each second, would stay for ever, and so would an answer that nobody reads. Here a request has
:data:`DEADLINE` seconds to become whole, and a client so many to read a byte of what waits for it. When all
places are taken somebody gives way by the rules of doors.py; a newcomer for whom nobody does is asked what it
wants all the same: ``/healthz`` is answered always, everything else with 503.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from coordd.dashboard.answers import problem
from coordd.dashboard.whence import caller_of
from coordd.protocol.admission import Caller, Doors
from coordd.protocol.memory_shares import Memory

MOST = 1024
DEADLINE = 5.0
GRACE = 1.0
"""Seconds for which a newcomer may be silent before it gives way like others that bring no request: a turn of
this loop takes a while when it serves hundreds of streams."""
IDLE = 10.0
"""Seconds for which a connection is kept between two requests, and an event stream whose reader stops."""
SWEEP = 1.0
"""Seconds between two looks at all connections, while there are any."""
MOST_WAITING = 64
"""Newcomers without a place whose request is waited for; beyond it the oldest of them is told at once."""
MOST_UNREAD = 64 * 1024 * 1024
"""Bytes of answers of all connections that are not read yet."""
HEALTH = "/healthz"
CONNECTION = "coordd.control.connection"
"""Where an application finds its connection in the scope."""

_LAST = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%b"
)
_FULL = b"503 Service Unavailable\r\nretry-after: 5"
_BAD = b'{"error":{"kind":"http","message":"this is not a request of HTTP/1.1"}}'


class HttpConnections:
    """All connections of one server, the limits they have, and what became of those that broke them.

    ``most``: connections at once. ``deadline``, ``idle``: seconds, as above.
    """

    def __init__(self, *, most: int = MOST, deadline: float = DEADLINE, idle: float = IDLE) -> None:
        self.most = most
        self.deadline = deadline
        self.idle = idle
        self.refused = 0
        self.cut = 0
        self._doors: Doors[HttpConnection] = Doors(limit=most, grace=GRACE)
        self._memory: Memory[HttpConnection] = Memory(MOST_UNREAD)
        self._waiting: dict[HttpConnection, None] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self.why_full = f"all {most} connections are in use; try again later"
        text = b'{"error":{"kind":"busy","message":"%b"}}' % self.why_full.encode()
        self._full = _LAST % (_FULL, len(text), text)

    def __len__(self) -> int:
        return len(self._doors)

    @property
    def most_streams(self) -> int:
        """Event streams at once."""
        return self._doors.subscribers_limit

    def enter(self, connection: HttpConnection) -> bool:
        """Give a newcomer a place, if need be another's; whether it has one. Without, it may wait."""
        self._sweep_later()
        caller = connection.caller
        if self._doors.full(caller):
            other = self._doors.gives_way(caller, connection.loop.time())
            if other is None:
                self._let_wait(connection)
                return False
            self._drop(other)
        self._doors.enter(connection)
        return True

    def leave(self, connection: HttpConnection) -> None:
        """A connection is no more."""
        self._doors.leave(connection)
        self._waiting.pop(connection, None)
        self._memory.holds(connection, 0)

    def begin_stream(self, connection: HttpConnection) -> bool:
        """Count an event stream if there is room for one; whether there was. Half of all may be streams."""
        if self._doors.subscribe(connection):
            connection.subscribed = True
            return True
        other = self._doors.gives_up(connection.caller)
        if other is None:
            self.refused += 1
            return False
        self._drop(other)
        connection.subscribed = self._doors.subscribe(connection)
        return connection.subscribed

    def end_stream(self, connection: HttpConnection) -> None:
        """It is a stream no more."""
        connection.subscribed = False
        self._doors.unsubscribe(connection)

    def holds(self, connection: HttpConnection, size: int) -> None:
        """So many bytes wait to be read by it."""
        self._memory.holds(connection, size)
        while (heaviest := self._memory.heaviest()) is not None:
            self.cut += 1
            self._drop(heaviest)

    def _let_wait(self, connection: HttpConnection) -> None:
        self.refused += 1
        self._waiting[connection] = None
        if len(self._waiting) > min(MOST_WAITING, self.most // 2):
            oldest = next(iter(self._waiting))
            oldest.transport.write(self._full)
            self._drop(oldest)

    def _drop(self, connection: HttpConnection) -> None:
        connection.transport.abort()
        self.leave(connection)

    def _sweep_later(self) -> None:
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = asyncio.get_running_loop().time()
        for connection in (*self._doors.guests(), *self._waiting):
            if connection.overdue(now):
                self.cut += 1
                connection.transport.abort()
        if len(self._doors) or self._waiting:
            self._sweep_later()


class Counted:
    """A transport that counts what is written to it: what of it was taken tells a slow reader from none."""

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        self._transport = transport
        self._connection = connection
        self.written = 0
        self.get_write_buffer_size = transport.get_write_buffer_size

    def write(self, data: bytes) -> None:
        """As the transport's own."""
        self.written += len(data)
        self._transport.write(data)
        left = self.get_write_buffer_size()
        if left:
            self._connection.room.holds(self._connection, left)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HttpConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection, with limits. ``room`` is set by a subclass made for one server.

    The other public attributes are what doors.py asks.
    """

    room: HttpConnections
    caller: Caller

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._application = self.app
        self.app = self._enter
        self.since = self.loop.time()
        self.silent = True
        self.subscribed = False
        self.incomplete = True  # kept up to date, for all are looked at whenever a newcomer needs a place
        self._placed = False
        self._taken = 0
        self._unread_since: float | None = None

    @property
    def _asked(self) -> bool:
        return self.cycle is not None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_incomplete(self) -> bool:
        """Whether no request ever came whole, or one has begun and not ended, its body included."""
        if not self._asked:
            return True
        if self.busy:
            return bool(self.cycle.more_body)
        return self.conn.trailing_data != (b"", False) or self.conn.their_state not in (h11.IDLE, h11.DONE)

    @property
    def waits(self) -> bool:
        """Whether it is for the client to speak, or to read what it asked for."""
        return self.incomplete or not self.busy or bool(self._out.get_write_buffer_size())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is connected, and let in or not."""
        self.caller = caller_of(transport)
        self._out = Counted(cast(asyncio.Transport, transport), self)
        super().connection_made(cast(asyncio.Transport, self._out))
        self._placed = self.room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self.silent or not (self.busy or self.incomplete):
            self.since = self.loop.time()  # of this request
        self.silent = False
        super().data_received(data)
        self.incomplete = self._is_incomplete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's signature
        """Answer what is no HTTP, unless an answer has begun: that one is the last then, whole or not.

        A request whose body turns out to be none is being answered meanwhile; nothing more is sent for it.
        """
        head = False
        if self.cycle is not None:
            head = not self.cycle.response_complete and self.cycle.scope["method"] == "HEAD"
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            # Not by way of h11, which refuses to send what its own bookkeeping did not expect.
            self.transport.write(_LAST % (b"400 Bad Request", len(_BAD), b"" if head else _BAD))
        self.transport.close()

    def on_response_complete(self) -> None:
        """From here on it has its time for the next request."""
        if not self._is_incomplete():
            self.since = self.loop.time()
        super().on_response_complete()
        self.incomplete = self._is_incomplete()

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or say that there is no room."""
        scope[CONNECTION] = self
        if self._placed:
            await self._application(scope, receive, send)
            return
        self.cycle.keep_alive = False
        if scope["path"] == HEALTH:
            await self._application(scope, receive, send)
        else:
            response = problem(503, "busy", self.room.why_full)
            response.headers.update({"retry-after": "5", "connection": "close"})
            response.headers.update({"cache-control": "no-store", "x-content-type-options": "nosniff"})
            await response(scope, receive, send)

    def overdue(self, now: float) -> bool:
        """Whether it has had its time: without a whole request, or without reading what waits for it."""
        left = self._out.get_write_buffer_size()
        self.room.holds(self, left)
        taken = self._out.written - left
        if left == 0 or taken > self._taken:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        self._taken = taken
        if self._unread_since is not None:
            return now - self._unread_since >= (self.room.idle if self.subscribed else self.room.deadline)
        if self.busy and not self.incomplete:
            return False
        return now - self.since >= (self.room.deadline if self.incomplete else self.room.idle)


def connection_class(room: HttpConnections) -> type[HttpConnection]:
    """The class of one server's connections: uvicorn makes them, and passes nothing of ours on."""
    return type("RoomConnection", (HttpConnection,), {"room": room})
