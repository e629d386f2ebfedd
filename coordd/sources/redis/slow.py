"""When to read again what costs much to read and changes often. Pure; monotonic time is passed in."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")

SHARE = 20
PAUSE = (0.5, 5.0)
"""After a reading the next one waits so many times as long as that took, within these seconds: what changes
all the time costs a twentieth of the loop at most, and is known five seconds late at the most."""
HEAVY = 60.0
"""The longest pause where values were passed over for their size: the server copies all of them each time."""


class Slow(Generic[T]):
    """One such thing; ``wanted`` are those parts of it that changed. ``lock`` is held while it is read."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted: set[T] = set()
        self._after = 0.0

    @property
    def due(self) -> float | None:
        """When it may be read, None where nothing asks for it, or it is being read."""
        return self._after if self.wanted and not self.lock.locked() else None

    def may(self, mono: float) -> bool:
        """Whether it is to be read now."""
        return bool(self.wanted) and mono >= self._after and not self.lock.locked()

    def take(self) -> set[T]:
        """A reading begins, of these parts; what is wanted from now on is for the next one."""
        wanted, self.wanted = self.wanted, set()
        return wanted

    def was_read(self, began: float, ended: float, *, heavy: bool = False) -> None:
        """A reading has ended; ``heavy``: there were values too large to be of use."""
        longest = HEAVY if heavy else PAUSE[1]
        self._after = ended + min(max(SHARE * (ended - began), PAUSE[0]), longest)
