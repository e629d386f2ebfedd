"""Say what a provider has told of an account's limits: how much of a window is used, and when it begins anew.

Pure values. What was told of a window that is over says nothing of the one that has begun since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_LIMITS = 16
"""Limits of one account that are kept."""


@dataclass(frozen=True, slots=True)
class ToldLimit:
    """What was told of one window of an account's limits.

    ``name`` is the provider's word for the limit, None for its usual one. ``window`` is the length of the
    window in seconds, ``used_percent`` how much of it is used, ``resets_at`` when it begins anew; each is
    None where that was not told. ``seen_at`` is when it was told. Times are epoch seconds.
    """

    name: str | None
    window: float | None
    used_percent: float | None
    resets_at: float | None
    seen_at: float

    def used_at(self, wall: float) -> float | None:
        """Return how much is used at a moment in epoch seconds; None where nobody has told of that window."""
        if self.resets_at is None:
            stale = self.window is not None and wall - self.seen_at >= self.window
            return None if stale else self.used_percent
        return self.used_percent if wall < self.resets_at else None


def newest(told: Iterable[ToldLimit]) -> list[ToldLimit]:
    """Return what was told last of each window, in the order of names and windows."""
    found: dict[tuple[str | None, float | None], ToldLimit] = {}
    for one in told:
        before = found.get((one.name, one.window))
        if before is None or one.seen_at >= before.seen_at:
            found[one.name, one.window] = one
    return sorted(_last(found.values()), key=lambda one: (one.name or "", one.window or 0.0))


def _last(found: Iterable[ToldLimit]) -> Iterator[ToldLimit]:
    """Yield those that were told last, as many as are kept."""
    yield from sorted(found, key=lambda one: one.seen_at, reverse=True)[:MAX_LIMITS]
