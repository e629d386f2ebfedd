"""Pass records on to subscribers as notifications: encoded once, in order, with a bounded queue for each.

A queue knows no socket: its connection takes bytes out when the client has room for them, and is woken when
there are more. A subscriber that does not read loses the oldest notifications and is told how many. All
queues share the same bytes and end with the newest: a hundred that are never emptied take little more memory
than one.

Each record has a number, ``seq``, whether its topic has subscribers or not; it begins anew with each ``run``
of the daemon. A topic is *followed* while somebody subscribes to it and for :data:`KEPT` seconds after: so
long its newest notifications are kept in a ring (ring.py), from which a subscriber who was cut off goes on.
Of a topic that nobody follows nothing is encoded or kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from time import monotonic
from typing import NamedTuple

from coordd.control.place import Place
from coordd.control.ring import SHARES, Chunk, Ring, RingBounds
from coordd.model import RECORD_TOPICS, TOPICS, Topic
from coordd.protocol.jsonrpc import Fault

CHUNK_RECORDS = 100
CHUNK_BYTES = 32 * 1024
"""The size of a chunk, which is queued, sent and lost as one; a longer notification is its own chunk."""

KEPT = 600.0
"""Seconds for which a topic is followed after its last subscriber has left."""


@dataclass(frozen=True, slots=True)
class SubscriberBounds:
    """Limit what waits for one subscriber: events for 10,000 agents that end at once still fit."""

    notifications: int = 10_000
    bytes: int = 4 * 1024 * 1024


class Subscription:
    """Queue the notifications of one subscriber.

    ``wake`` is called after something was queued; it must not call :meth:`take` itself.
    """

    __slots__ = (
        "_bounds",
        "_bytes",
        "_chunks",
        "_dropped",
        "_dropped_seq",
        "_hub",
        "_notifications",
        "has_topics",
        "wake",
    )

    def __init__(self, hub: Hub, bounds: SubscriberBounds, *, has_topics: bool) -> None:
        self.has_topics = has_topics
        """Whether it has any topic."""
        self.wake: Callable[[], None] = _wake_nothing
        self._hub: Hub | None = hub
        self._bounds = bounds
        self._chunks: deque[Chunk] = deque()
        self._bytes = 0
        self._notifications = 0
        self._dropped = 0
        self._dropped_seq = 0

    @property
    def pending(self) -> bool:
        """Return whether there is something to take."""
        return bool(self._chunks or self._dropped)

    @property
    def waiting(self) -> int:
        """Return the number of notifications that wait to be taken."""
        return self._notifications

    def take(self, size: int) -> bytes:
        """Remove and return the oldest notifications, about ``size`` bytes, after a line on those lost."""
        parts: list[bytes] = []
        if self._dropped:
            parts.append(lagged(self._dropped, self._dropped_seq))
            self._dropped = 0
        taken = 0
        while self._chunks and (not taken or taken + len(self._chunks[0].data) <= size):
            data = self._pop().data
            parts.append(data)
            taken += len(data)
        return b"".join(parts)

    def put(self, chunk: Chunk) -> None:
        """Queue a chunk; where the queue is full, the oldest chunks are lost."""
        self._chunks.append(chunk)
        self._bytes += len(chunk.data)
        self._notifications += chunk.records
        while self._bytes > self._bounds.bytes or self._notifications > self._bounds.notifications:
            lost = self._pop()
            self._dropped += lost.records
            self._dropped_seq = lost.seq

    def close(self) -> None:
        """End the subscription and drop what waits; harmless when it has ended."""
        if self._hub is not None:
            self._hub.forget(self)
            self._hub = None
        self._chunks.clear()
        self._bytes = self._notifications = self._dropped = 0
        self.wake = _wake_nothing

    def _pop(self) -> Chunk:
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk.data)
        self._notifications -= chunk.records
        return chunk


class Hub:
    """Number records, and pass them on to the subscribers of their topic.

    Args:
        run: names this run of the daemon, as no other one is named.
        bounds: what waits for one subscriber at most.
        shares: what is kept of each topic at most, for those who go on.
        clock: tells monotonic time.
    """

    def __init__(
        self,
        *,
        run: str,
        bounds: SubscriberBounds | None = None,
        shares: Mapping[Topic, RingBounds] = SHARES,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.run = run
        self.seq = 0
        self._bounds = bounds or SubscriberBounds()
        self._shares = shares
        self._clock = clock
        self._subscribers: dict[Topic, dict[Subscription, None]] = {topic: {} for topic in TOPICS}
        self._rings: dict[Topic, Ring] = {}
        self._left: dict[Topic, float] = {}

    def __len__(self) -> int:
        return len({one for subscribers in self._subscribers.values() for one in subscribers})

    def follows(self, topic: Topic) -> bool:
        """Return whether somebody subscribes to a topic, or did so a moment ago and may come back."""
        if self._subscribers[topic]:
            return True
        if topic not in self._rings:
            return False
        if self._clock() < self._left[topic] + KEPT:
            return True
        del self._rings[topic], self._left[topic]
        return False

    def cannot_resume(self, topics: Iterable[Topic], place: Place) -> str | None:
        """Return in words why nobody can go on from a place with these topics; None where one can."""
        if place.run != self.run:
            return "that place is of another run of coordd: this one has started since"
        if place.seq > self.seq:
            return f"this run of coordd has come to {self.seq} only, not to {place.seq}"
        gaps = []
        for topic in topics:
            if self.follows(topic):
                begin = self._rings[topic].begin
            else:
                begin = self.seq if topic in RECORD_TOPICS else self.seq + 1  # it may have changed untold
            if begin > place.seq:
                gaps.append(f"{topic} after {begin}")
        return f"not all that came after {place.seq} is kept, only {', '.join(gaps)}" if gaps else None

    def subscribe(self, topics: Iterable[Topic], *, after: int | None = None) -> Subscription:
        """Return a subscription to these topics, which begins after the record ``seq``.

        Args:
            topics: the topics.
            after: begin after this number instead; :meth:`cannot_resume` has been asked.
        """
        wanted = tuple(topics)
        subscription = Subscription(self, self._bounds, has_topics=bool(wanted))
        for topic in wanted:
            if not self.follows(topic):
                if topic not in RECORD_TOPICS:
                    self.seq += 1  # no place from before is one of this topic
                self._rings[topic] = Ring(self._shares[topic], self.seq)
            self._subscribers[topic][subscription] = None
        if after is not None:
            for chunk in merge(*(self._rings[one].after(after) for one in wanted), key=lambda one: one.seq):
                subscription.put(chunk)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Remove a subscription that is closed."""
        for topic, subscribers in self._subscribers.items():
            if subscription in subscribers:
                del subscribers[subscription]
                self._left[topic] = self._clock()

    def publish(self, topic: Topic, records: Sequence[bytes]) -> None:
        """Number records and queue them; each is a JSON object, not empty, without a field ``seq``."""
        first = self.seq + 1
        self.seq += len(records)
        if not records or not self.follows(topic):
            return
        subscribers, ring = self._subscribers[topic], self._rings[topic]
        for chunk in _chunks(topic, records, first):
            ring.put(chunk)
            for subscription in subscribers:
                subscription.put(chunk)
        for subscription in subscribers:
            subscription.wake()


class Streamed(NamedTuple):
    """An answer line (None to a notification), and the subscription that follows it.

    ``refused`` makes the error that is answered instead when there is no room for a subscriber.
    """

    answer: bytes | None
    subscription: Subscription
    refused: Callable[[Fault], bytes | None]


def lagged(dropped: int, seq: int) -> bytes:
    """Return the line that says how many notifications were lost, and the ``seq`` of the last of them."""
    return b'{"jsonrpc":"2.0","method":"lagged","params":{"dropped":%d,"seq":%d}}\n' % (dropped, seq)


def _chunks(topic: Topic, records: Sequence[bytes], first: int) -> Iterator[Chunk]:
    head = b'{"jsonrpc":"2.0","method":"%b","params":{"seq":' % topic.encode()
    lines: list[bytes] = []
    size = 0
    for seq, record in enumerate(records, first):
        line = b"%b%d,%b}\n" % (head, seq, record[1:])
        if lines and (len(lines) == CHUNK_RECORDS or size + len(line) > CHUNK_BYTES):
            yield Chunk(b"".join(lines), len(lines), seq - 1)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    yield Chunk(b"".join(lines), len(lines), first + len(records) - 1)


def _wake_nothing() -> None:
    """Do nothing: the subscription has no connection yet, or has ended."""
