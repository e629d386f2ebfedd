"""Collect what was announced as changed in one source, until it is read.

The rule: a bounded number of hints waits; beyond that, and when a source does not name what changed,
everything has to be read. Pure state; it knows neither source nor clock.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

MAX_PENDING = 50_000
"""The number of hints of one source that may wait to be read; beyond it everything is read."""


class PendingHints:
    """Hold the hints; true while anything waits. ``everything`` is true when everything has to be read."""

    def __init__(self) -> None:
        self.everything = False
        self._hints: set[Hashable] = set()

    def __bool__(self) -> bool:
        return self.everything or bool(self._hints)

    def add(self, hints: Collection[Hashable] | None) -> None:
        """Add hints; None means that anything may have changed."""
        if hints is None:
            self.everything = True
        elif len(self._hints) + len(hints) > MAX_PENDING:
            self.everything = True
            self._hints.clear()
        else:
            self._hints.update(hints)

    def take(self) -> set[Hashable]:
        """Return and forget the hints; that everything has to be read stays as it is."""
        hints, self._hints = self._hints, set()
        return hints

    def clear(self) -> None:
        """Forget all that waits: everything is about to be read."""
        self._hints = set()
        self.everything = False
