"""Keep the records that wait for their sink, bounded: the oldest give way and are counted. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """Keep items in order by key, at most ``limit`` in all; the oldest of any key gives way.

    ``dropped`` counts the items that gave way.

    Args:
        limit: how many items may wait; 0 keeps nothing.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, deque[tuple[int, T]]] = {}
        self._sequence = 0
        self._first = 0
        self._length = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._length

    def count(self, key: str) -> int:
        """Return how many items of ``key`` wait."""
        return len(self._waiting.get(key, ()))

    def put(self, key: str, items: Iterable[T]) -> int:
        """Add items behind those that wait.

        Returns:
            How many items, of any key, were dropped to make room.
        """
        queue = self._waiting.setdefault(key, deque())
        dropped = 0
        for item in items:
            self._sequence += 1
            queue.append((self._sequence, item))
            self._length += 1
            if self._length > self._limit:
                self._drop_oldest()
                dropped += 1
        self.dropped += dropped
        return dropped

    def put_first(self, key: str, items: Sequence[T]) -> int:
        """Add items that are older than all that wait, before them; return as :meth:`put`."""
        queue = self._waiting.setdefault(key, deque())
        for item in reversed(items):
            self._first -= 1
            queue.appendleft((self._first, item))
        self._length += len(items)
        dropped = 0
        while self._length > self._limit:
            self._drop_oldest()
            dropped += 1
        self.dropped += dropped
        return dropped

    def head(self, key: str, count: int) -> list[T]:
        """Return the oldest ``count`` items of ``key``, which go on waiting."""
        return [item for _, item in islice(self._waiting.get(key, ()), count)]

    def done(self, key: str, count: int) -> None:
        """Remove the oldest ``count`` items of ``key``: they are written.

        Raises:
            IndexError: fewer are waiting.
        """
        for _ in range(count):
            self._waiting[key].popleft()
            self._length -= 1

    def _drop_oldest(self) -> None:
        min((waiting for waiting in self._waiting.values() if waiting), key=_first).popleft()
        self._length -= 1

    def give_up(self) -> int:
        """Drop and count all that waits; return how many items that were."""
        count, self._length = self._length, 0
        self._waiting.clear()
        self.dropped += count
        return count


def _first(queue: deque[tuple[int, T]]) -> int:
    return queue[0][0]
