"""Decide when to try again: longer and longer, never quite at the same time; chance is passed in."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Waits that double from ``first`` to ``longest`` seconds, each shortened by up to half at random.

    Args:
        random: gives a number in [0, 1), as random.random does.
        first: the first wait before it is shortened.
        longest: no wait is longer.
    """

    def __init__(self, *, random: Callable[[], float], first: float = 0.1, longest: float = 2.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._wait = first

    def next(self) -> float:
        """Seconds to wait after another failure."""
        wait, self._wait = self._wait, min(self._wait * 2, self._longest)
        return wait * (1 - self._random() / 2)

    def reset(self) -> None:
        """It worked: the next failure begins with the first wait."""
        self._wait = self._first
