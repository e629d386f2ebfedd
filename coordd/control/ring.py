"""Keep the newest notifications of one topic, so that a subscriber who was cut off can go on.

The rule: what is kept of a topic is everything after :attr:`Ring.begin`, without a gap. Each topic has a
share of its own, so that a thousand agents that beat push no event out. All shares together are less than
what waits for one subscriber (hub.py), which leaves room for what comes while the rest is sent. Pure state;
the bytes are those that the subscribers' queues share.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from coordd.model import Topic


@dataclass(frozen=True, slots=True)
class RingBounds:
    """Limit what is kept of one topic."""

    notifications: int
    bytes: int


SHARES: Mapping[Topic, RingBounds] = {
    "event": RingBounds(2000, 768 * 1024),
    "agent": RingBounds(3000, 1280 * 1024),
    "system": RingBounds(500, 128 * 1024),
    "task": RingBounds(1000, 384 * 1024),
    "attention": RingBounds(1000, 512 * 1024),
}


class Chunk(NamedTuple):
    """Notifications as lines, how many, and the ``seq`` of the last; their numbers have no gap."""

    data: bytes
    records: int
    seq: int

    def after(self, seq: int) -> Chunk:
        """Return the part that comes after a number; the whole chunk where all of it does."""
        passed = seq - (self.seq - self.records)
        if passed <= 0:
            return self
        start = 0
        for _ in range(passed):
            start = self.data.index(b"\n", start) + 1
        return Chunk(self.data[start:], self.records - passed, self.seq)


class Ring:
    """Hold the newest chunks of one topic; everything after ``begin`` is here."""

    __slots__ = ("_bounds", "_bytes", "_chunks", "_notifications", "begin")

    def __init__(self, bounds: RingBounds, begin: int) -> None:
        self.begin = begin
        self._bounds = bounds
        self._chunks: deque[Chunk] = deque()
        self._bytes = 0
        self._notifications = 0

    def put(self, chunk: Chunk) -> None:
        """Keep a chunk that is newer than all others; where there is no room, the oldest go."""
        self._chunks.append(chunk)
        self._bytes += len(chunk.data)
        self._notifications += chunk.records
        while self._bytes > self._bounds.bytes or self._notifications > self._bounds.notifications:
            gone = self._chunks.popleft()
            self._bytes -= len(gone.data)
            self._notifications -= gone.records
            self.begin = gone.seq

    def after(self, seq: int) -> Iterator[Chunk]:
        """Yield what comes after a number that is not below ``begin``, in order."""
        for index in range(bisect_right(self._chunks, seq, key=lambda one: one.seq), len(self._chunks)):
            yield self._chunks[index].after(seq)
