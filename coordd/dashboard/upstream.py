"""Keep the dashboard connected to the daemon, and ask it questions.

There are three connections, however many readers: one with the subscription, one for quick questions, one for
history, so that a long query delays nothing else. The same question within :data:`FRESH` seconds gets the
same answer; a hundred who ask at the same time cause one question. A lost daemon is looked for every
:data:`RETRY` seconds; once one was found, it is that one for good. Where it was only the connection that was
lost, the subscription goes on from where it was (record_stream.py), so that streams miss nothing.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from coordd.dashboard.channel import Channel, ChannelLost, Overloaded
from coordd.dashboard.record_stream import RecordStream
from coordd.errors import CannotTell, ClientError, DaemonNotRunning
from coordd.protocol.client import Client, connect
from coordd.protocol.paths import DaemonLocation
from coordd.util.text import escape

TIMEOUT = 5.0
"""Seconds that an answer may take."""
HISTORY_TIMEOUT = 15.0
"""Seconds that an answer of history may take; the daemon itself gives up after ten."""
MAX_HISTORY = 16
"""Queries of history that may wait at the same time."""
MAX_PARTICULAR = 64
"""Quick questions with parameters that may wait at the same time; those without always have room."""
FRESH = 0.5
"""Seconds for which an answer may be reused."""
RETRY = 1.0
CACHED = 32

Params = dict[str, object]


class Unavailable(ClientError):
    """There is no daemon to ask; ``kind`` is ``daemon-down`` or ``daemon-silent``, ``since`` is monotonic."""

    def __init__(self, kind: str, message: str, since: float) -> None:
        self.kind = kind
        self.since = since
        super().__init__(message)


@dataclass(slots=True)
class _CachedAnswer:
    until: float
    answer: asyncio.Future[bytes]


@dataclass(frozen=True, slots=True)
class _Connected:
    events: Channel
    quick: Channel
    history: Channel

    def close(self) -> None:
        for channel in (self.events, self.quick, self.history):
            channel.close()


class Upstream:
    """The connection to the daemon.

    ``on_record`` is called with each notification (method, encoded parameters), ``on_change`` when the
    connection has come up or gone down. ``find`` connects to the daemon that is meant, as ``coordctl`` does;
    it may block. ``note`` says that another daemon is asked than that one, None if it is that. ``down`` is
    None while it is up. A daemon of a layout that is not in ``layouts`` is not used: this dashboard may be
    open to users who may not open that socket.
    """

    def __init__(
        self,
        *,
        find: Callable[[], Client],
        on_record: Callable[[str, bytes], None],
        on_change: Callable[[], None],
        layouts: frozenset[str],
    ) -> None:
        self._find_one = find
        self._records = RecordStream(on_record=on_record)
        self._on_change = on_change
        self._layouts = layouts
        self._connected: _Connected | None = None
        self._cache: OrderedDict[tuple[str, bytes], _CachedAnswer] = OrderedDict()
        self._history_waiting = 0
        self._particular = 0
        # connect(2) and the search for sockets block, so they run in a thread
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="connect")
        self.path: str | None = None
        self.note: str | None = None
        self.down: Unavailable | None = Unavailable(
            "daemon-down", "coordd has not been reached yet.", time.monotonic()
        )
        self.reconnections = -1

    async def run(self) -> None:
        """Keep the connection up; never returns."""
        try:
            while True:
                try:
                    connected = await self._connect()
                except ClientError as error:
                    self._lose(error)
                else:
                    self._up(connected)
                    reason = await connected.events.closed
                    if self._connected is connected:  # otherwise it was closed already, for a better reason
                        self._lose(reason)
                await asyncio.sleep(RETRY)
        finally:
            self._hang_up()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(
        self, method: str, params: Params | None = None, *, fresh: float = FRESH, anew: bool = False
    ) -> bytes:
        """Return the encoded answer to a quick question, which others may get for ``fresh`` seconds.

        With ``anew`` the daemon is asked even if there is such an answer. It is shared with other callers,
        so it must not be changed.

        Raises:
            Unavailable: there is no daemon, or it does not answer.
            Overloaded: too much is asked at the same time.
            RpcError: the daemon answered with an error.
        """
        key = (method, msgspec.json.encode(params))
        now = time.monotonic()
        cached = self._cache.get(key)
        if cached is None or cached.until <= now or anew:
            if params is not None:
                if self._particular >= MAX_PARTICULAR:
                    raise Overloaded("too many requests wait for the daemon already; ask again later.")
                self._particular += 1
            answer = asyncio.ensure_future(self._quick(method, params))
            answer.add_done_callback(_seen)
            if params is not None:
                answer.add_done_callback(self._answered)
            cached = _CachedAnswer(now + fresh, answer)
            self._cache[key] = cached
            self._cache.move_to_end(key)
            self._tidy(now)
        return await asyncio.shield(cached.answer)

    async def history(self, params: Params, *, of_page: bool = False) -> bytes:
        """Return the encoded answer of ``history.query``; the few queries of the page always have room.

        Raises:
            Unavailable, RpcError: as :meth:`ask`.
            CannotTell: the answer takes too long, or too many queries wait.
        """
        connected = self._require()
        if of_page:
            return await self._query(connected.history, params)
        if self._history_waiting >= MAX_HISTORY:
            raise CannotTell("too many queries of history wait already; ask again later.")
        self._history_waiting += 1
        try:
            return await self._query(connected.history, params)
        finally:
            self._history_waiting -= 1

    async def _query(self, channel: Channel, params: Params) -> bytes:
        try:
            return await channel.call("history.query", params, within=HISTORY_TIMEOUT)
        except ChannelLost as error:
            self.silent(error)
            raise self._unavailable(error) from error

    def _answered(self, _answer: asyncio.Future[bytes]) -> None:
        self._particular -= 1

    def silent(self, error: ClientError) -> None:
        """Close the connection to a daemon that does not answer, and look for it again."""
        if self._connected is not None:
            self._lose(error)

    def _tidy(self, now: float) -> None:
        """Drop answers that are too old to be reused, and the oldest beyond the bound."""
        while self._cache:
            key, oldest = next(iter(self._cache.items()))
            if oldest.until > now and len(self._cache) <= CACHED:
                break
            del self._cache[key]

    def _require(self) -> _Connected:
        if self._connected is None:
            raise self._unavailable(CannotTell("the connection is being made."))
        return self._connected

    async def _quick(self, method: str, params: Params | None) -> bytes:
        connected = self._require()
        try:
            return await connected.quick.call(method, params, within=TIMEOUT)
        except Overloaded:
            raise
        except CannotTell as error:
            self.silent(error)
            raise self._unavailable(error) from error

    def _unavailable(self, error: ClientError) -> Unavailable:
        return self.down or Unavailable("daemon-silent", str(error), time.monotonic())

    async def _connect(self) -> _Connected:
        path, sockets = await asyncio.get_running_loop().run_in_executor(self._thread, self._find)
        events: Channel | None = None
        quick: Channel | None = None
        waiting = list(sockets)
        try:
            events = await Channel.open(
                path, within=TIMEOUT, on_notification=self._records.take, sock=waiting.pop(0)
            )
            self._check_layout(await self._records.subscribe(events, within=TIMEOUT))
            quick = await Channel.open(path, within=TIMEOUT, sock=waiting.pop(0))
            history = await Channel.open(path, within=TIMEOUT, sock=waiting.pop(0))
        except BaseException:
            for channel in (events, quick):
                if channel is not None:
                    channel.close()
            for sock in waiting:
                sock.close()
            raise
        self.path = path
        return _Connected(events, quick, history)

    def _check_layout(self, layout: str) -> None:
        if layout not in self._layouts:
            raise CannotTell(
                f"the daemon there is of the {escape(layout)} layout, and who may ask it is limited by its "
                "socket: start the dashboard with --token-file FILE."
            )

    def _find(self) -> tuple[str, list[socket.socket]]:
        """Return the socket of the daemon that is meant, and three connections to it.

        Raises:
            ClientError: as ``coordctl`` does.
        """
        first = self._find_one()
        clients = [first]
        try:
            same = DaemonLocation("--socket", first.path, None, None, None, root=first.root, own=first.own)
            clients.extend(connect([same], TIMEOUT) for _ in range(2))
            self.note = first.note
            return first.path, [socket.socket(fileno=client.hand_over()) for client in clients]
        finally:
            for client in clients:
                client.close()

    def _up(self, connected: _Connected) -> None:
        self._connected = connected
        self._cache.clear()
        self.down = None
        self.reconnections += 1
        self._on_change()

    def _lose(self, reason: ClientError) -> None:
        self._hang_up()
        self._cache.clear()
        gone = isinstance(reason, (DaemonNotRunning, ChannelLost))
        kind = "daemon-down" if gone else "daemon-silent"
        known = self.down
        since = time.monotonic() if known is None else known.since
        if known is None or str(known) != str(reason) or known.kind != kind:
            self.down = Unavailable(kind, str(reason), since)
            self._on_change()

    def _hang_up(self) -> None:
        if self._connected is not None:
            self._connected.close()
            self._connected = None


def _seen(answer: asyncio.Future[bytes]) -> None:
    """Mark an answer's error as seen, so that asyncio does not log it when nobody waits for it."""
    if not answer.cancelled():
        answer.exception()
