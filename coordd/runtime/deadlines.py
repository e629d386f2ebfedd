"""Keep the times at which items have to be judged again, in a heap.

The rule: a deadline need not be removed. One that is too early costs one needless judgement, and one whose
item does not matter any longer leaves with the next sweep. Pure: time is passed in.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=tuple[str, ...])

SPARE = 100
"""The number of unwanted deadlines that are kept without a sweep."""


class Deadlines(Generic[Item]):
    """Hold items, each with the earliest time it was put at; ``wanted`` tells which items still matter."""

    def __init__(self, *, wanted: Callable[[Item], bool]) -> None:
        self._wanted = wanted
        self._heap: list[tuple[float, Item]] = []
        self._due: dict[Item, float] = {}
        self._sweep_at = SPARE

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, item: Item, due: float) -> None:
        """Set the deadline of the item to ``due``, unless it has an earlier one."""
        if self._due.get(item, math.inf) <= due:
            return
        self._due[item] = due
        heapq.heappush(self._heap, (due, item))
        if len(self._heap) > self._sweep_at:
            self._sweep()

    def take(self, now: float) -> Iterator[Item]:
        """Remove and yield the items that are due."""
        while self._heap and self._heap[0][0] <= now:
            due, item = heapq.heappop(self._heap)
            if self._due.get(item) == due:
                del self._due[item]
                yield item

    def clear(self) -> None:
        """Remove all deadlines."""
        self._heap.clear()
        self._due.clear()

    def first(self) -> float | None:
        """Return the time of the next deadline, None where there is none; it may be early, never late."""
        return self._heap[0][0] if self._heap else None

    def _sweep(self) -> None:
        """Remove the deadlines of unwanted items: a claim for a year may be released within a minute."""
        self._due = {item: due for item, due in self._due.items() if self._wanted(item)}
        self._heap = [(due, item) for item, due in self._due.items()]
        heapq.heapify(self._heap)
        self._sweep_at = SPARE + 2 * len(self._heap)
