"""Decide how long to wait before trying again: longer each time, with random variation that is passed in."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Compute waits that double from ``first`` to ``longest`` seconds, randomly shortened by up to half.

    Args:
        random: returns a number in [0, 1), as random.random does.
        first: the first wait in seconds, before it is shortened.
        longest: the longest wait in seconds.
    """

    def __init__(self, *, random: Callable[[], float], first: float = 0.1, longest: float = 2.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._wait = first

    def next(self) -> float:
        """Return the seconds to wait after a further failure."""
        wait, self._wait = self._wait, min(self._wait * 2, self._longest)
        return wait * (1 - self._random() / 2)

    def reset(self) -> None:
        """Begin with the first wait again, after a success."""
        self._wait = self._first
