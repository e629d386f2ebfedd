"""Hold what event streams are sent: the newest records in a ring, and latest values.

There is no queue for each reader. A reader keeps a position; a slow one finds that the ring has moved on, and
is told how much it missed. A thousand readers cost a thousand positions. Nothing here does I/O.

An event's id is ``<epoch>-<number>``. The epoch is this process's own, so an id of an earlier process, whose
ring is gone, is recognized.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from coordd import model

RECORDS = model.RECORD_TOPICS
"""Topics of which every record counts; they have ids and are sent again after a lost connection."""
LATEST = ("link", "status", "tasks")
"""Topics of which only the latest value counts; they have no ids."""
TOPICS = (*RECORDS, *LATEST)

PACE = 0.1
"""Seconds in which records are gathered before streams are woken: 1,000 agents beat 33 times a second."""
BATCH_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RingBounds:
    """What the ring holds at most."""

    records: int = 10_000
    bytes: int = 8 * 1024 * 1024


class Feed:
    """The ring of records and the latest values."""

    def __init__(self, *, epoch: str, bounds: RingBounds | None = None) -> None:
        self._epoch = epoch
        self._bounds = bounds or RingBounds()
        self._ring: list[tuple[str, bytes] | None] = []
        self._gone = 0  # dropped entries at the list's beginning; removed when they are half of it
        self._bytes = 0
        self._end = 0
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._changes = 0
        self._readers: set[Reader] = set()
        self._waking: asyncio.TimerHandle | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def end(self) -> int:
        """Return the number of the newest record."""
        return self._end

    @property
    def begin(self) -> int:
        """Return the number of the oldest record in the ring."""
        return self._end - len(self._ring) + self._gone

    @property
    def last_id(self) -> str:
        """Return the id of the newest record."""
        return f"{self._epoch}-{self._end}"

    def record(self, topic: str, data: bytes) -> None:
        """Add a record, encoded as JSON on one line."""
        self._end += 1
        entry = b"id: %b-%d\nevent: %b\ndata: %b\n\n" % (
            self._epoch.encode(),
            self._end,
            topic.encode(),
            data,
        )
        self._ring.append((topic, entry))
        self._bytes += len(entry)
        while self._end - self.begin > self._bounds.records or self._bytes > self._bounds.bytes:
            self._drop_oldest()
        self._wake_soon()

    def latest(self, topic: str, data: bytes) -> None:
        """Replace the latest value of a topic; the same value again wakes nobody."""
        entry = message(topic, data)
        known = self._latest.get(topic)
        if known is not None and known[1] == entry:
            return
        self._changes += 1
        self._latest[topic] = (self._changes, entry)
        self._wake_soon()

    def forget(self, topic: str) -> None:
        """Remove the latest value of a topic."""
        self._latest.pop(topic, None)

    def reader(self, *, after: str | None, topics: frozenset[str]) -> Reader:
        """Return a reader that begins after the record with the id ``after``; with None, at the end."""
        position = self._position(after)
        reader = Reader(self, self._end if position is None else position, topics)
        reader.reset = after is not None and position is None
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Remove a reader that ends."""
        self._readers.discard(reader)

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        self._wake()

    def since(self, position: int) -> Iterator[tuple[str, bytes]]:
        """Yield the entries after a position in the ring."""
        for index in range(self._gone + max(0, position - self.begin), len(self._ring)):
            entry = self._ring[index]
            if entry is not None:
                yield entry

    def newer(self, change: int, topics: frozenset[str]) -> list[tuple[int, bytes]]:
        """Return the latest values that changed after ``change``, in the order of their changes."""
        found = [one for topic, one in self._latest.items() if one[0] > change and topic in topics]
        return sorted(found)

    def _drop_oldest(self) -> None:
        entry = self._ring[self._gone]
        self._bytes -= len(entry[1]) if entry is not None else 0
        self._ring[self._gone] = None
        self._gone += 1
        if self._gone * 2 > len(self._ring):
            del self._ring[: self._gone]
            self._gone = 0

    def _position(self, last_id: str | None) -> int | None:
        if last_id is None:
            return None
        epoch, _, text = last_id.rpartition("-")
        if epoch != self._epoch or not (text.isascii() and text.isdigit()) or len(text) > 18:
            return None
        number = int(text)
        return number if number <= self._end else None

    def _wake_soon(self) -> None:
        if self._waking is None and self._readers:
            self._waking = asyncio.get_running_loop().call_later(PACE, self._wake)

    def _wake(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        for reader in self._readers:
            reader.ready.set()


class Reader:
    """One stream's position in the feed; ``reset`` tells that the record it asked to go on from is gone."""

    __slots__ = ("_change", "_feed", "_topics", "position", "ready", "reset")

    def __init__(self, feed: Feed, position: int, topics: frozenset[str]) -> None:
        self._feed = feed
        self._topics = topics
        self._change = 0
        self.position = position
        self.ready = asyncio.Event()
        self.reset = False

    def take(self) -> bytes:
        """Return what is new as server-sent events of about :data:`BATCH_BYTES`; empty if nothing is."""
        parts: list[bytes] = []
        size = 0
        lost = self._feed.begin - self.position
        if lost > 0:
            parts.append(message("lagged", b'{"dropped":%d}' % lost))
            self.position += lost
        for topic, entry in self._feed.since(self.position):
            if size >= BATCH_BYTES:
                self.ready.set()  # the rest at the next call
                return b"".join(parts)
            self.position += 1
            if topic in self._topics:
                parts.append(entry)
                size += len(entry)
        for change, entry in self._feed.newer(self._change, self._topics):
            self._change = change
            parts.append(entry)
        return b"".join(parts)

    def close(self) -> None:
        """Leave the feed."""
        self._feed.leave(self)


def message(topic: str, data: bytes) -> bytes:
    """Return a server-sent event without an id (HTML standard, section 9.2)."""
    return b"event: %b\ndata: %b\n\n" % (topic.encode(), data)
