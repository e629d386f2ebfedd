"""When something has to be looked at again: a heap that forgives.

A deadline that was put too early costs one look too many, and one that is wanted no more leaves with the next
sweep; so nobody has to take anything back. Pure: time is passed in.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=tuple[str, ...])

SPARE = 100
"""So many deadlines that are wanted no more are always borne."""


class Deadlines(Generic[Item]):
    """Items with a due time each, the earliest that was put; ``wanted`` says which of them still matter."""

    def __init__(self, *, wanted: Callable[[Item], bool]) -> None:
        self._wanted = wanted
        self._heap: list[tuple[float, Item]] = []
        self._due: dict[Item, float] = {}
        self._sweep_at = SPARE

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, item: Item, due: float) -> None:
        """Look at the item at ``due``, or before."""
        if self._due.get(item, math.inf) <= due:
            return
        self._due[item] = due
        heapq.heappush(self._heap, (due, item))
        if len(self._heap) > self._sweep_at:
            self._sweep()

    def take(self, now: float) -> Iterator[Item]:
        """Take out what is due."""
        while self._heap and self._heap[0][0] <= now:
            due, item = heapq.heappop(self._heap)
            if self._due.get(item) == due:
                del self._due[item]
                yield item

    def clear(self) -> None:
        """Nothing has to be looked at."""
        self._heap.clear()
        self._due.clear()

    def first(self) -> float | None:
        """When the next look is due; it may be too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def _sweep(self) -> None:
        """A claim for a year may be given back within a minute."""
        self._due = {item: due for item, due in self._due.items() if self._wanted(item)}
        self._heap = [(due, item) for item, due in self._due.items()]
        heapq.heapify(self._heap)
        self._sweep_at = SPARE + 2 * len(self._heap)
