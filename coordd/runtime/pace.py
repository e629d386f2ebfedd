"""Decide when something costly may be done again. Pure; monotonic time is passed in."""

from __future__ import annotations

SHARE = 20
PAUSE = (0.5, 5.0)
"""The pause after a piece of work is SHARE times its duration, within these seconds: constant changes cost at
most a twentieth of a thread's time, and are known at most five seconds late."""


class Pace:
    """Space out repetitions of one costly piece of work.

    ``after`` is the monotonic time from which on it may be done again, ``cost`` the seconds it took last.

    Args:
        pause: the shortest and the longest pause, in seconds.
        burst: seconds of work that may be done without a longer pause than the shortest, after a time in
            which less than its share was done.
    """

    __slots__ = ("_burst", "_ended", "_longest", "_saved", "_shortest", "after", "cost")

    def __init__(self, pause: tuple[float, float] = PAUSE, *, burst: float = 0.0) -> None:
        self.after = 0.0
        self.cost = 0.0
        self._shortest, self._longest = pause
        self._burst = self._saved = burst
        self._ended: float | None = None

    def ended(self, began: float, ended: float, *, longest: float | None = None) -> None:
        """Note that the work was done from ``began`` to ``ended``; ``longest`` replaces the longest pause."""
        self.cost = ended - began
        if self._burst:
            idle = began - (began if self._ended is None else self._ended)
            self._saved = min(self._burst, self._saved + idle / SHARE) - self.cost
            self._ended = ended
        pause = 0.0 if self._saved > 0 else SHARE * self.cost
        self._saved = max(0.0, self._saved)
        self.after = ended + min(max(pause, self._shortest), longest or self._longest)

    def at_least(self, interval: float) -> float:
        """Return an interval in seconds, lengthened so that the work takes at most its share of the time."""
        return max(interval, SHARE * self.cost)
