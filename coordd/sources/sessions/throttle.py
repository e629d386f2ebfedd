"""Say when a transcript that changes all the time is read: at once, and then once a second at most.

Pure; monotonic time is passed in. Transcripts that are read at about the same time stay together, so that
fifty busy sessions cost as many wake-ups as one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

PERIOD = 1.0
"""Seconds between two readings of one transcript."""
_GRID = 0.5
_LATE = 0.1  # by which a reading may be late and still keep to its place on the grid


class Throttle(Generic[K]):
    """Hold what has changed and may not be read yet."""

    def __init__(self) -> None:
        self._next: dict[K, float] = {}
        self._waiting: set[K] = set()

    @property
    def due(self) -> float | None:
        """The monotonic time at which something may be read that waits; None: nothing does."""
        return min((self._next.get(key, 0.0) for key in self._waiting), default=None)

    def changed(self, key: K, mono: float) -> bool:
        """Note a change; return whether it may be read now, otherwise it waits."""
        if mono >= self._next.get(key, 0.0):
            return True
        self._waiting.add(key)
        return False

    def wait(self, keys: Iterable[K]) -> None:
        """Note that there is more to read of these, which were read just now."""
        self._waiting.update(keys)

    def take(self, mono: float) -> set[K]:
        """Return what waits and may be read."""
        due = {key for key in self._waiting if self._next.get(key, 0.0) <= mono + _LATE}
        self._waiting -= due
        return due

    def was_read(self, keys: Iterable[K], mono: float) -> None:
        """Note that these are about to be read."""
        after = math.ceil((mono + PERIOD - _LATE) / _GRID) * _GRID
        for key in keys:
            self._next[key] = after
            self._waiting.discard(key)

    def keep(self, keys: Iterable[K]) -> None:
        """Forget all others."""
        kept = set(keys)
        self._next = {key: at for key, at in self._next.items() if key in kept}
        self._waiting &= kept
