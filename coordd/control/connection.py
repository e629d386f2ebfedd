"""Serve one client of the control socket: its lines, its answers in order, its deadlines.

Lines are split by protocol/jsonrpc.py, and answered by a ``dispatch`` function that is passed in: what a
request means is not known here. A client that is slow, silent, greedy or gone costs its own connection and
nothing else. These states may hold at the same time::

    state           begins when                           ends when
    request begun   bytes came without their newline      the newline comes; or after ``whole_request``
                                                          seconds, with a final error
    queued          whole requests came                   all of them are answered, in order
    awaits turn     others have requests too              its turn comes (turns.py)
    busy            a method returned an awaitable        its answer is written
    unread          the kernel takes no more bytes        it does again; or after ``write_deadline`` (for
                                                          notifications ``silence``) seconds, dropped
    final error     a request was too long or too slow    queued requests are answered, then the error: closed
    eof             the client sends no more              queued requests are answered: closed
    subscribed      a request subscribed                  one ends the subscription, or the connection ends
    ended           close(), abort(), the client left     (it never ends)

Requests are answered while none of "awaits turn", "busy" and "unread" holds. Bytes are read from the socket
while none of "queued", "unread", "final error" and "eof" holds. Notifications are sent between answers, a
piece at a time, while "unread" does not hold: the rest stays in the subscription, which is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, cast

from coordd.control.hub import Streamed, Subscription
from coordd.control.peer import Peer
from coordd.control.turns import Turns
from coordd.protocol.admission import Caller
from coordd.protocol.jsonrpc import INVALID_REQUEST, MAX_REQUEST, AnswerAndClose, Fault, LineSplitter, TooLong

ANSWERS_PER_TURN = 64
"""Requests of one client that are answered before others have their turn."""

READ = 64 * 1024
"""Bytes that are read of a client at once, so that what a thousand of them send together stays small."""

NOTIFICATIONS_PER_TURN = 64 * 1024
"""Bytes of notifications that are written at once, and may be unread outside of the bounded queue."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limit what a client may cost.

    ``whole_request``: seconds from a request's first byte to its newline. ``write_deadline``: seconds that a
    client may leave an answer unread. ``silence``: seconds that a subscriber may leave notifications unread,
    which come at a pace that it does not choose. ``request``: bytes of a request line. ``held``: bytes that
    unfinished requests and unread answers of all clients may take together.
    """

    connections: int = 1024
    whole_request: float = 5.0
    write_deadline: float = 5.0
    silence: float = 60.0
    request: int = MAX_REQUEST
    held: int = 128 * 1024 * 1024


class ConnectionRegistry(Protocol):
    """Hear what a connection reports about itself; server.py keeps order among all connections."""

    turns: Turns

    def ended(self, connection: ControlConnection) -> None:
        """Record that a connection has ended."""
        ...

    def holds(self, connection: ControlConnection, size: int) -> None:
        """Record how many bytes of memory a connection takes now."""
        ...

    def subscribes(self, connection: ControlConnection) -> Fault | None:
        """Count a connection as a subscriber; return the error where there is no room."""
        ...

    def unsubscribes(self, connection: ControlConnection) -> None:
        """Record that a connection has ended its subscription."""
        ...


Dispatch = Callable[[bytes, Peer], bytes | Streamed | Awaitable[bytes | None] | None]
"""Takes a request line and its sender; returns an answer line (with newline), or None for a notification.

``Streamed`` is an answer that starts a subscription, in place of the one before.

Raises ``AnswerAndClose`` when the connection has to end after the answer.
"""


# One for all: the loop fills it and passes it on in one go, so it is never filled for two.
_BUFFER = memoryview(bytearray(READ))


class ControlConnection(asyncio.BufferedProtocol):
    """Serve one client.

    ``refusal`` makes an error line of a Fault. The public attributes are those of admission.Connection.
    """

    def __init__(
        self,
        *,
        peer: Peer,
        caller: Caller,
        dispatch: Dispatch,
        refusal: Callable[[Fault], bytes],
        limits: ConnectionLimits,
        registry: ConnectionRegistry,
    ) -> None:
        self.peer = peer
        self.caller = caller
        self.since = monotonic()
        self.silent = True
        self.subscribed = False
        self._registry = registry
        self._dispatch = dispatch
        self._refusal = refusal
        self._limits = limits
        self._lines = LineSplitter(limits.request)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._busy: asyncio.Task[None] | None = None
        self._awaits_turn = False
        self._reported_bytes = 0
        self._final_error: bytes | None = None
        self._subscription: Subscription | None = None
        self._sending: asyncio.Handle | None = None
        self._sends_notifications = False
        self._has_asked = False
        self._eof = False
        self._ended = False

    @property
    def incomplete(self) -> bool:
        """Return whether a request has begun and not ended, or none was ever made."""
        return self._lines.pending or not self._has_asked

    @property
    def waits(self) -> bool:
        """Return whether the server waits for the client, to send or to read."""
        return self._unread is not None or (self._busy is None and not self._lines.waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve the client: it is connected."""
        self._transport = cast(asyncio.Transport, transport)
        # What the kernel does not take at once counts as unread, and has a deadline.
        self._transport.set_write_buffer_limits(high=0)
        if self._ended:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """Return the memory into which the loop reads."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that were read."""
        self._received(bytes(_BUFFER[:nbytes]))

    def _received(self, data: bytes) -> None:
        """Take bytes of requests, and answer those that are whole."""
        if self._ended or self._final_error is not None:
            return
        self.silent = False
        now = monotonic()
        if not self._lines.pending:
            self.since = now
        try:
            if self._lines.feed(data):
                self._has_asked = True
                self.since = now
                self._stop_watching()
        except TooLong:
            self._too_long()
            return
        self._watch_request()
        self._work()
        self._report_memory()

    def eof_received(self) -> bool:
        """Answer what is queued, then close: the client sends no more, and may still read."""
        # `printf … | socat` closes its side first. A last line without its newline is a request as well.
        self._received(b"\n")
        self._eof = True
        self._work()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Let go of everything: the connection has ended, for whatever reason."""
        self._ended = True
        for handle in (self._deadline, self._unread, self._sending, self._busy):
            if handle:
                handle.cancel()
        self._unsubscribe()
        self._registry.ended(self)

    def pause_writing(self) -> None:
        """Start the deadline for reading: the kernel takes no more bytes."""
        if self._unread is None:
            deadline = self._limits.silence if self._sends_notifications else self._limits.write_deadline
            self._unread = asyncio.get_running_loop().call_later(deadline, self.abort)
        self._control_reading()
        self._report_memory()

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        if self._unread:
            self._unread.cancel()
            self._unread = None
        self._work()
        self._send_soon()
        self._report_memory()

    def abort(self) -> None:
        """Drop the connection and what was not sent."""
        self._ended = True
        if self._transport:
            self._transport.abort()

    def close(self, answer: bytes | None = None) -> None:
        """End the connection after what was written, and ``answer``, are sent."""
        if self._ended or self._transport is None:
            return
        self._ended = True
        if answer:
            self._transport.write(answer)
        if self._subscription and self._unread is None:
            self._transport.write(self._subscription.take(NOTIFICATIONS_PER_TURN))
        self._unsubscribe()
        self._transport.close()
        # A closing transport does not call pause_writing(): what is unsent gets its deadline here.
        if self._transport.get_write_buffer_size() and self._unread is None:
            self._unread = asyncio.get_running_loop().call_later(self._limits.write_deadline, self.abort)

    def _work(self) -> None:
        """Answer queued requests in order, as long as the client reads the answers."""
        left = ANSWERS_PER_TURN
        turns = self._registry.turns
        while self._lines.waiting and not self._must_wait() and self._transport and not self._gone():
            if left == 0 or not turns.granted():
                self._awaits_turn = True
                turns.later(self.peer, self._next_turn)
                break
            left -= 1
            try:
                line = self._lines.take()
                answer = None if line is None else self._dispatch(line, self.peer)
            except TooLong:
                self._too_long()
                return
            except AnswerAndClose as close:
                self.close(close.answer)
                return
            finally:
                turns.answered()
            if isinstance(answer, Streamed):
                answer = self._subscribe(answer)
            if isinstance(answer, bytes):
                self._transport.write(answer)
            elif answer is not None:
                self._busy = asyncio.ensure_future(self._finish(answer))
        if not self._lines.waiting and not self._must_wait() and (self._eof or self._final_error is not None):
            self.close(self._final_error)
        self._control_reading()

    def _next_turn(self) -> None:
        self._awaits_turn = False
        self._work()
        self._report_memory()

    def _must_wait(self) -> bool:
        return self._awaits_turn or self._busy is not None or self._unread is not None

    def _gone(self) -> bool:
        """Return whether nothing can be sent: the kernel said so at the last write, or it was ended."""
        return self._ended or self._transport is None or self._transport.is_closing()

    def _report_memory(self) -> None:
        """Report the memory taken: unfinished and queued requests, unread answers."""
        size = self._lines.held
        if self._unread is not None and self._transport is not None:
            size += self._transport.get_write_buffer_size()
        if size != self._reported_bytes:
            self._reported_bytes = size
            self._registry.holds(self, size)

    async def _finish(self, answer: Awaitable[bytes | None]) -> None:
        try:
            line = await answer
        finally:
            self._busy = None
        if self._transport and line is not None and not self._gone():
            self._transport.write(line)
        self._work()
        self._report_memory()

    def _subscribe(self, streamed: Streamed) -> bytes | None:
        """Begin a subscription; return its answer, which is an error where there is no room."""
        if not streamed.subscription.has_topics:
            self._unsubscribe()
            return streamed.answer
        fault = self._registry.subscribes(self)
        if fault is not None:
            streamed.subscription.close()
            return streamed.refused(fault)
        if self._subscription:
            self._subscription.close()
        self.subscribed = True
        self._subscription = streamed.subscription
        streamed.subscription.wake = self._send_soon
        if streamed.subscription.pending:  # it goes on from an earlier place
            self._send_soon()
        return streamed.answer

    def _unsubscribe(self) -> None:
        if self._subscription:
            self._subscription.close()
            self._subscription = None
            self.subscribed = False
            self._registry.unsubscribes(self)

    def _send_soon(self) -> None:
        """Send notifications after this turn of the loop, so that records that come together go together."""
        if self._subscription and self._sending is None and self._unread is None and not self._ended:
            self._sending = asyncio.get_running_loop().call_soon(self._send_notifications)

    def _send_notifications(self) -> None:
        self._sending = None
        if self._transport is None or self._subscription is None or self._unread or self._gone():
            return
        self._sends_notifications = True
        self._transport.write(self._subscription.take(NOTIFICATIONS_PER_TURN))
        self._sends_notifications = False
        if self._subscription.pending:
            self._send_soon()

    def _control_reading(self) -> None:
        """Read from the socket only when nothing waits here: the rest can wait in the kernel."""
        if self._transport is None or self._transport.is_closing() or self._eof:
            return
        if self._lines.waiting or self._unread is not None or self._final_error is not None:
            self._transport.pause_reading()
            self._stop_watching()
        else:
            self._transport.resume_reading()
            self._watch_request()

    def _watch_request(self) -> None:
        if not self._lines.pending:
            self._stop_watching()
        elif self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._limits.whole_request, self._too_slow)

    def _stop_watching(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _too_long(self) -> None:
        self._end_after(Fault(INVALID_REQUEST, "Request too long", kind="too-long"))

    def _too_slow(self) -> None:
        text = f"No whole request within {self._limits.whole_request:g} s"
        self._end_after(Fault(INVALID_REQUEST, text, kind="too-slow"))

    def _end_after(self, fault: Fault) -> None:
        """End with an error for the last request, after the answers to those before it."""
        self._stop_watching()
        self._final_error = self._refusal(fault)
        self._work()
