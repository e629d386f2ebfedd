"""Notifications to those who subscribed: encoded once, kept in order, bounded for each.

A queue knows no socket: whoever sends it takes bytes out when its client has room for them, and is woken
when there is more. One who does not take them loses the oldest and is told how many. What is queued for
several is the same bytes, and every queue ends with the newest: a hundred that nobody empties hold little
more than one.

Each record has a number, ``seq``, whether anybody subscribed to its topic or not; it begins anew with the
daemon.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coordd.model import TOPICS, Topic
from coordd.protocol.jsonrpc import Fault

CHUNK_RECORDS = 100
CHUNK_BYTES = 32 * 1024
"""What is queued, sent and lost together; a longer notification is a chunk by itself."""


@dataclass(frozen=True, slots=True)
class SubscriberBounds:
    """What may wait for one subscriber: a workspace of 10,000 agents that goes out of reach at once fits."""

    notifications: int = 10_000
    bytes: int = 4 * 1024 * 1024


class Chunk(NamedTuple):
    """Notifications as lines, how many, and the ``seq`` of the last."""

    data: bytes
    records: int
    seq: int


class Subscription:
    """What waits for one subscriber. ``wake`` is called when something is queued; it must not take it yet."""

    __slots__ = (
        "_bounds",
        "_bytes",
        "_chunks",
        "_dropped",
        "_dropped_seq",
        "_hub",
        "_notifications",
        "hears",
        "wake",
    )

    def __init__(self, hub: Hub, bounds: SubscriberBounds, *, hears: bool) -> None:
        self.hears = hears
        """Whether it is of any topic."""
        self.wake: Callable[[], None] = _nobody
        self._hub: Hub | None = hub
        self._bounds = bounds
        self._chunks: deque[Chunk] = deque()
        self._bytes = 0
        self._notifications = 0
        self._dropped = 0
        self._dropped_seq = 0

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        return bool(self._chunks or self._dropped)

    def take(self, size: int) -> bytes:
        """The oldest notifications, as lines of about ``size`` bytes; before them, how many were lost."""
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
        """Queue a chunk; what no longer fits is lost from the old end."""
        self._chunks.append(chunk)
        self._bytes += len(chunk.data)
        self._notifications += chunk.records
        while self._bytes > self._bounds.bytes or self._notifications > self._bounds.notifications:
            lost = self._pop()
            self._dropped += lost.records
            self._dropped_seq = lost.seq

    def close(self) -> None:
        """Receive no more, and let go of what waits; again does nothing."""
        if self._hub is not None:
            self._hub.forget(self)
            self._hub = None
        self._chunks.clear()
        self._bytes = self._notifications = self._dropped = 0
        self.wake = _nobody

    def _pop(self) -> Chunk:
        chunk = self._chunks.popleft()
        self._bytes -= len(chunk.data)
        self._notifications -= chunk.records
        return chunk


class Hub:
    """Numbers records and passes them on to the subscribers of their topic."""

    def __init__(self, *, bounds: SubscriberBounds | None = None) -> None:
        self.seq = 0
        self._bounds = bounds or SubscriberBounds()
        self._subscribers: dict[Topic, dict[Subscription, None]] = {topic: {} for topic in TOPICS}

    def __len__(self) -> int:
        return len({one for subscribers in self._subscribers.values() for one in subscribers})

    def subscribe(self, topics: Iterable[Topic]) -> Subscription:
        """Everything of these topics from now on; what was published so far is in ``seq``."""
        wanted = tuple(topics)
        subscription = Subscription(self, self._bounds, hears=bool(wanted))
        for topic in wanted:
            self._subscribers[topic][subscription] = None
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Called by a subscription that is closed."""
        for subscribers in self._subscribers.values():
            subscribers.pop(subscription, None)

    def publish(self, topic: Topic, records: Sequence[bytes]) -> None:
        """Number records and pass them on; each is a JSON object, not empty, without a ``seq`` of its own."""
        first = self.seq + 1
        self.seq += len(records)
        subscribers = self._subscribers[topic]
        if not subscribers or not records:
            return
        for chunk in _chunks(topic, records, first):
            for subscription in subscribers:
                subscription.put(chunk)
        for subscription in subscribers:
            subscription.wake()


class Streamed(NamedTuple):
    """An answer line (None to a request that wants none), and what is to be sent after it.

    ``refused`` makes the answer that says instead that there is no room for a subscriber.
    """

    answer: bytes | None
    subscription: Subscription
    refused: Callable[[Fault], bytes | None]


def lagged(dropped: int, seq: int) -> bytes:
    """The line that says how many notifications were lost, and the ``seq`` of the last of them."""
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


def _nobody() -> None:
    """Before there is anybody to wake, and after."""
