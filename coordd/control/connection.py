"""One client of the control socket: its lines, its answers in order, its deadlines.

What is asked is not known here: lines are split by wire.py and answered by a ``dispatch`` function that
is passed in. A client that is slow, silent, greedy or gone costs its own connection and nothing else.

After a request that subscribes, notifications are sent between the answers, a piece at a time and only while
the kernel takes them: what its client does not read stays in the subscription, which is bounded.
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
"""So many requests that a client sent at once are answered before others have their turn."""

READ = 64 * 1024
"""Bytes that are read of a client at once, so that what a thousand of them send together stays small."""

NOTIFICATIONS_PER_TURN = 64 * 1024
"""Bytes of notifications that are written at once, and that may lie unread outside of the bounded queue."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may cost.

    ``whole_request``: seconds from a request's first byte to its newline. ``write_deadline``: seconds that a
    client may leave an answer unread. ``silence``: seconds that a subscriber may leave
    notifications unread, whose pace it did not choose. ``request``: bytes of a request line. ``held``: bytes
    that half requests and unread answers of all clients may take together.
    """

    connections: int = 1024
    whole_request: float = 5.0
    write_deadline: float = 5.0
    silence: float = 60.0
    request: int = MAX_REQUEST
    held: int = 128 * 1024 * 1024


class House(Protocol):
    """What a connection tells those who keep order among all of them (server.py)."""

    turns: Turns

    def ended(self, connection: ControlConnection) -> None:
        """It is no more."""
        ...

    def holds(self, connection: ControlConnection, size: int) -> None:
        """So many bytes lie in memory for it now."""
        ...

    def subscribes(self, connection: ControlConnection) -> Fault | None:
        """It wants to be a subscriber; why not."""
        ...

    def unsubscribes(self, connection: ControlConnection) -> None:
        """It is one no more."""
        ...


Dispatch = Callable[[bytes, Peer], bytes | Streamed | Awaitable[bytes | None] | None]
"""A request line and who sent it, to an answer line (with newline), or None for a notification.

``Streamed`` is an answer that starts the client's notifications, in place of those it had.

Raises ``Close(answer)`` when the connection has to end after the answer.
"""


# One for all: the loop fills it and passes it on in one go, so it is never filled for two.
_BUFFER = memoryview(bytearray(READ))


class ControlConnection(asyncio.BufferedProtocol):
    """One client.

    ``refusal`` makes the line that refuses with a Fault. The public attributes are what doors.py asks.
    """

    def __init__(
        self,
        *,
        peer: Peer,
        caller: Caller,
        dispatch: Dispatch,
        refusal: Callable[[Fault], bytes],
        limits: ConnectionLimits,
        house: House,
    ) -> None:
        self.peer = peer
        self.caller = caller
        self.since = monotonic()
        self.silent = True
        self.subscribed = False
        self._house = house
        self._dispatch = dispatch
        self._refusal = refusal
        self._limits = limits
        self._lines = LineSplitter(limits.request)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._busy: asyncio.Task[None] | None = None
        self._turn = False
        self._holds = 0
        self._last_words: bytes | None = None
        self._subscription: Subscription | None = None
        self._tell_turn: asyncio.Handle | None = None
        self._telling = False
        self._asked = False
        self._eof = False
        self._ended = False

    @property
    def incomplete(self) -> bool:
        """Whether a request has begun and not ended, or none was ever made."""
        return self._lines.pending or not self._asked

    @property
    def waits(self) -> bool:
        """Whether it is for the client to speak, or to read what it asked for."""
        return self._unread is not None or (self._busy is None and not self._lines.waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is connected."""
        self._transport = cast(asyncio.Transport, transport)
        # Whatever the kernel does not take at once counts as unread, and has a deadline.
        self._transport.set_write_buffer_limits(high=0)
        if self._ended:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """Where the loop puts what it reads."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        self._received(bytes(_BUFFER[:nbytes]))

    def _received(self, data: bytes) -> None:
        """Bytes of requests; what is whole is answered."""
        if self._ended or self._last_words is not None:
            return
        self.silent = False
        now = monotonic()
        if not self._lines.pending:
            self.since = now
        try:
            if self._lines.feed(data):
                self._asked = True
                self.since = now
                self._stop_watching()
        except TooLong:
            self._too_long()
            return
        self._watch_request()
        self._work()
        self._weigh()

    def eof_received(self) -> bool:
        """The client sends no more, and may still read."""
        # `printf … | socat` closes its side first: answer what is queued, then close. A last line that lacks
        # its newline is whole all the same, or no JSON.
        self._received(b"\n")
        self._eof = True
        self._work()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """The connection is gone, for whatever reason."""
        self._ended = True
        for handle in (self._deadline, self._unread, self._tell_turn, self._busy):
            if handle:
                handle.cancel()
        self._unsubscribe()
        self._house.ended(self)

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        if self._unread is None:
            deadline = self._limits.silence if self._telling else self._limits.write_deadline
            self._unread = asyncio.get_running_loop().call_later(deadline, self.abort)
        self._steer()
        self._weigh()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._unread:
            self._unread.cancel()
            self._unread = None
        self._work()
        self._tell_soon()
        self._weigh()

    def abort(self) -> None:
        """Drop the connection with whatever was not sent."""
        self._ended = True
        if self._transport:
            self._transport.abort()

    def close(self, answer: bytes | None = None) -> None:
        """End the connection after what is on its way."""
        if self._ended or self._transport is None:
            return
        self._ended = True
        if answer:
            self._transport.write(answer)
        if self._subscription and self._unread is None:
            self._transport.write(self._subscription.take(NOTIFICATIONS_PER_TURN))
        self._unsubscribe()
        self._transport.close()
        # A closing transport pauses nobody: what it still holds needs its deadline from here.
        if self._transport.get_write_buffer_size() and self._unread is None:
            self._unread = asyncio.get_running_loop().call_later(self._limits.write_deadline, self.abort)

    def _work(self) -> None:
        """Answer queued requests in order, as long as the client reads the answers."""
        left = ANSWERS_PER_TURN
        turns = self._house.turns
        while self._lines.waiting and not self._held() and self._transport and not self._gone():
            if left == 0 or not turns.granted():
                self._turn = True
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
        if not self._lines.waiting and not self._held() and (self._eof or self._last_words is not None):
            self.close(self._last_words)
        self._steer()

    def _next_turn(self) -> None:
        self._turn = False
        self._work()
        self._weigh()

    def _held(self) -> bool:
        return self._turn or self._busy is not None or self._unread is not None

    def _gone(self) -> bool:
        """Whether nothing is to be sent any more: the kernel said so at the last write, or it was ended."""
        return self._ended or self._transport is None or self._transport.is_closing()

    def _weigh(self) -> None:
        """Tell how much lies here: half a request, requests that wait, answers that are not read."""
        size = self._lines.held
        if self._unread is not None and self._transport is not None:
            size += self._transport.get_write_buffer_size()
        if size != self._holds:
            self._holds = size
            self._house.holds(self, size)

    async def _finish(self, answer: Awaitable[bytes | None]) -> None:
        try:
            line = await answer
        finally:
            self._busy = None
        if self._transport and line is not None and not self._gone():
            self._transport.write(line)
        self._work()
        self._weigh()

    def _subscribe(self, streamed: Streamed) -> bytes | None:
        """Begin with its notifications; the answer, which says no where there is no room."""
        if not streamed.subscription.hears:
            self._unsubscribe()
            return streamed.answer
        why_not = self._house.subscribes(self)
        if why_not is not None:
            streamed.subscription.close()
            return streamed.refused(why_not)
        if self._subscription:
            self._subscription.close()
        self.subscribed = True
        self._subscription = streamed.subscription
        streamed.subscription.wake = self._tell_soon
        return streamed.answer

    def _unsubscribe(self) -> None:
        if self._subscription:
            self._subscription.close()
            self._subscription = None
            self.subscribed = False
            self._house.unsubscribes(self)

    def _tell_soon(self) -> None:
        """Send what is queued once this turn of the loop is over: records that come together go together."""
        if self._subscription and self._tell_turn is None and self._unread is None and not self._ended:
            self._tell_turn = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._tell_turn = None
        if self._transport is None or self._subscription is None or self._unread or self._gone():
            return
        self._telling = True
        self._transport.write(self._subscription.take(NOTIFICATIONS_PER_TURN))
        self._telling = False
        if self._subscription.pending:
            self._tell_soon()

    def _steer(self) -> None:
        """Read on only when nothing waits here: what a client sends meanwhile waits in the kernel."""
        if self._transport is None or self._transport.is_closing() or self._eof:
            return
        if self._lines.waiting or self._unread is not None or self._last_words is not None:
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
        """Refuse what came last, after the answers to what came before it."""
        self._stop_watching()
        self._last_words = self._refusal(fault)
        self._work()
