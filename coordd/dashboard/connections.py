"""Limit what HTTP connections may cost: count them, time them, cut them.

uvicorn has a timeout between two requests and none within one: a client that connects and sends nothing, or a
header line each second, would stay for ever, and so would an answer that nobody reads. Here a request has
:data:`DEADLINE` seconds to become whole, and a client as many to read a byte of its answer. When all places
are taken, a connection gives way by the rules of protocol/admission.py. If none can, the newcomer's request
is still read: ``/healthz`` is always answered, everything else with 503.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from coordd.dashboard.answers import problem
from coordd.dashboard.client_address import caller_of
from coordd.protocol.admission import Admission, Caller
from coordd.protocol.memory_shares import Memory

MOST = 1024
DEADLINE = 5.0
GRACE = 1.0
"""Seconds for which a newcomer may be silent before it gives way like other connections without a request:
with hundreds of streams one turn of the loop takes a while.
"""
IDLE = 10.0
"""Seconds for which a connection is kept between two requests, and an event stream after its reader stops."""
SWEEP = 1.0
"""Seconds between two looks at all connections, while there are any."""
MOST_WAITING = 64
"""Newcomers without a place whose request is awaited; beyond that the oldest gets its 503 at once."""
MOST_UNREAD = 64 * 1024 * 1024
"""Bytes of unread answers that all connections may have together."""
HEALTH = "/healthz"
CONNECTION = "coordd.control.connection"
"""The key under which an application finds its connection in the ASGI scope."""

_LAST = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%b"
)
_FULL = b"503 Service Unavailable\r\nretry-after: 5"
_BAD = b'{"error":{"kind":"http","message":"this is not a request of HTTP/1.1"}}'


class HttpConnections:
    """All connections of one server, their limits, and counts of those that were refused or cut.

    ``most`` is how many connections there may be; ``deadline`` and ``idle`` are seconds, as above.
    """

    def __init__(self, *, most: int = MOST, deadline: float = DEADLINE, idle: float = IDLE) -> None:
        self.most = most
        self.deadline = deadline
        self.idle = idle
        self.refused = 0
        self.cut = 0
        self._admission: Admission[HttpConnection] = Admission(limit=most, grace=GRACE)
        self._memory: Memory[HttpConnection] = Memory(MOST_UNREAD)
        self._waiting: dict[HttpConnection, None] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self.why_full = f"all {most} connections are in use; try again later"
        text = b'{"error":{"kind":"busy","message":"%b"}}' % self.why_full.encode()
        self._full = _LAST % (_FULL, len(text), text)

    def __len__(self) -> int:
        return len(self._admission)

    @property
    def most_streams(self) -> int:
        """Return how many event streams there may be."""
        return self._admission.subscribers_limit

    def enter(self, connection: HttpConnection) -> bool:
        """Give a newcomer a place, if need be that of another connection; return whether it has one.

        Without a place it may wait.
        """
        self._sweep_later()
        caller = connection.caller
        if self._admission.full(caller):
            other = self._admission.connection_to_drop(caller, connection.loop.time())
            if other is None:
                self._let_wait(connection)
                return False
            self._drop(other)
        self._admission.add(connection)
        return True

    def leave(self, connection: HttpConnection) -> None:
        """Record that a connection has ended."""
        self._admission.remove(connection)
        self._waiting.pop(connection, None)
        self._memory.holds(connection, 0)

    def begin_stream(self, connection: HttpConnection) -> bool:
        """Count an event stream if there is room; return whether there was. Half of all may be streams."""
        if self._admission.subscribe(connection):
            connection.subscribed = True
            return True
        other = self._admission.subscriber_to_drop(connection.caller)
        if other is None:
            self.refused += 1
            return False
        self._drop(other)
        connection.subscribed = self._admission.subscribe(connection)
        return connection.subscribed

    def end_stream(self, connection: HttpConnection) -> None:
        """Record that a connection's event stream has ended."""
        connection.subscribed = False
        self._admission.unsubscribe(connection)

    def holds(self, connection: HttpConnection, size: int) -> None:
        """Record how many bytes of answers a connection has not read."""
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
        for connection in (*self._admission.connections(), *self._waiting):
            if connection.overdue(now):
                self.cut += 1
                connection.transport.abort()
        if len(self._admission) or self._waiting:
            self._sweep_later()


class Counted:
    """Wrap a transport and count what is written, to tell a slow reader from one that does not read."""

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        self._transport = transport
        self._connection = connection
        self.written = 0
        self.get_write_buffer_size = transport.get_write_buffer_size

    def write(self, data: bytes) -> None:
        """Count the data and write it."""
        self.written += len(data)
        self._transport.write(data)
        left = self.get_write_buffer_size()
        if left:
            self._connection.limits.holds(self._connection, left)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HttpConnection(H11Protocol):
    """An HTTP/1.1 connection of uvicorn with limits; ``limits`` is set by the subclass of one server.

    The other public attributes are those that protocol/admission.py reads.
    """

    limits: HttpConnections
    caller: Caller

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._application = self.app
        self.app = self._enter
        self.since = self.loop.time()
        self.silent = True
        self.subscribed = False
        self.incomplete = True  # kept up to date: a newcomer checks all connections
        self._placed = False
        self._taken = 0
        self._unread_since: float | None = None

    @property
    def _asked(self) -> bool:
        return self.cycle is not None

    @property
    def busy(self) -> bool:
        """Return whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_incomplete(self) -> bool:
        """Return whether no request was ever whole, or one has begun and not ended, its body included."""
        if not self._asked:
            return True
        if self.busy:
            return bool(self.cycle.more_body)
        return self.conn.trailing_data != (b"", False) or self.conn.their_state not in (h11.IDLE, h11.DONE)

    @property
    def waits(self) -> bool:
        """Return whether the client has to act: to send a request, or to read its answer."""
        return self.incomplete or not self.busy or bool(self._out.get_write_buffer_size())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new client, and give it a place or let it wait."""
        self.caller = caller_of(transport)
        self._out = Counted(cast(asyncio.Transport, transport), self)
        super().connection_made(cast(asyncio.Transport, self._out))
        self._placed = self.limits.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the connection is closed."""
        self.limits.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests."""
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
        """Start the time for the next request."""
        if not self._is_incomplete():
            self.since = self.loop.time()
        super().on_response_complete()
        self.incomplete = self._is_incomplete()

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or answer that there is no room."""
        scope[CONNECTION] = self
        if self._placed:
            await self._application(scope, receive, send)
            return
        self.cycle.keep_alive = False
        if scope["path"] == HEALTH:
            await self._application(scope, receive, send)
        else:
            response = problem(503, "busy", self.limits.why_full)
            response.headers.update({"retry-after": "5", "connection": "close"})
            response.headers.update({"cache-control": "no-store", "x-content-type-options": "nosniff"})
            await response(scope, receive, send)

    def overdue(self, now: float) -> bool:
        """Return whether its time is over, for a whole request or for reading its answer."""
        left = self._out.get_write_buffer_size()
        self.limits.holds(self, left)
        taken = self._out.written - left
        if left == 0 or taken > self._taken:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        self._taken = taken
        if self._unread_since is not None:
            return now - self._unread_since >= (self.limits.idle if self.subscribed else self.limits.deadline)
        if self.busy and not self.incomplete:
            return False
        return now - self.since >= (self.limits.deadline if self.incomplete else self.limits.idle)


def connection_class(limits: HttpConnections) -> type[HttpConnection]:
    """Return the class of one server's connections, for uvicorn, which makes the instances itself."""
    return type("LimitedConnection", (HttpConnection,), {"limits": limits})
