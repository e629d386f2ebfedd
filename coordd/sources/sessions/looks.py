"""Say when to look for what may appear without a word: soon at first, then at growing pauses. Pure."""

from __future__ import annotations

from collections.abc import Collection

from coordd.runtime.pace import SHARE

PAUSES = (1.0, 60.0)
"""Seconds between two looks: at first, and at most."""


class Looks:
    """Looks for things by their names; ``due`` is the monotonic time of the next one, None: there is none."""

    __slots__ = ("_names", "_pause", "due")

    def __init__(self) -> None:
        self.due: float | None = None
        self._pause = PAUSES[0]
        self._names: frozenset[str] = frozenset()

    def plan(self, names: Collection[str], mono: float) -> None:
        """Note what is to be looked for now; another name is looked for soon."""
        wanted = frozenset(names)
        if not wanted:
            self.due = None
        elif self.due is None or wanted - self._names:
            self._pause = PAUSES[0]
            self.due = mono + self._pause
        self._names = wanted

    def is_due(self, mono: float) -> bool:
        """Return whether to look now."""
        return self.due is not None and self.due <= mono

    def looked(self, began: float, ended: float) -> None:
        """Note a look: the next one comes later, and not before this one was worth its cost."""
        self._pause = min(2 * self._pause, PAUSES[1])
        self.due = ended + max(self._pause, SHARE * (ended - began))
