"""Decide when to read again what is costly to read and changes often. Pure; monotonic time is passed in."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from coordd.runtime.pace import Pace

T = TypeVar("T")

HEAVY = 60.0
"""The longest pause if values were left out for their size, since the server copies them all each time."""


class ReadThrottle(Generic[T]):
    """Space out the readings of one costly thing.

    ``wanted`` holds the parts of it that changed; ``lock`` is held while it is read.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted: set[T] = set()
        self._pace = Pace()

    @property
    def due(self) -> float | None:
        """When it may be read next; None if nothing is wanted, or while it is being read."""
        return self._pace.after if self.wanted and not self.lock.locked() else None

    def ready(self, mono: float) -> bool:
        """Return whether it should be read now."""
        return bool(self.wanted) and mono >= self._pace.after and not self.lock.locked()

    def take(self) -> set[T]:
        """Begin a reading; return the parts that are wanted.

        Parts wanted from now on wait for the next reading.
        """
        wanted, self.wanted = self.wanted, set()
        return wanted

    def ended(self, began: float, ended: float, *, heavy: bool = False) -> None:
        """End a reading; ``heavy`` means that it met values that are too large to be used."""
        self._pace.ended(began, ended, longest=HEAVY if heavy else None)
