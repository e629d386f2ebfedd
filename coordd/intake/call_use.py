"""Tell whether the processes of an open call do anything, from the CPU that they have used at each pass.

Pure: monotonic time is passed in. What counts is how far the CPU has risen above its least of the last
``window`` seconds. So what adds up over hours is no work, and neither is what comes and goes between passes:
a process that ended takes its time with it.
"""

from __future__ import annotations

from collections import deque

WORTH = 1.0
"""Seconds of CPU that the processes of a call have to use to count as doing something."""
_PARTS = 16
"""The number of parts of a window of which the least is kept."""


class CallUse:
    """The CPU of the processes that an open call began.

    ``since`` is when the call began, in epoch seconds; ``young`` is the start of the oldest process that can
    be of it, told once: the wall clock may be set while the call is open. Both are the caller's.
    """

    __slots__ = ("_at", "_first", "_least", "_moved", "since", "young")

    def __init__(self, since: float, young: int) -> None:
        self.since = since
        self.young = young
        self._at: float | None = None
        self._first = 0.0
        self._moved: float | None = None
        self._least: deque[tuple[float, float]] = deque()

    def note(self, cpu: float, mono: float, window: float, *, works: bool = False) -> None:
        """Take in one pass.

        Args:
            cpu: the processor seconds of the processes.
            mono: the time of the pass.
            window: agents.stall_after.
            works: whether it is known otherwise that the call is worked at.
        """
        if self._at is None:
            self._first = mono
        self._at = mono
        while len(self._least) > 1 and self._least[1][0] <= mono - window:
            self._least.popleft()
        if works or (self._least and cpu - min(least for _, least in self._least) > WORTH):
            self._moved = mono
            self._least.clear()
        if self._least and mono - self._least[-1][0] < window / _PARTS:
            begun, least = self._least[-1]
            self._least[-1] = begun, min(least, cpu)
        else:
            self._least.append((mono, cpu))

    def works(self, window: float) -> bool | None:
        """Return whether anything was done within the window before the last pass; None: not known yet."""
        if self._at is None:
            return None
        if self._moved is not None and self._at - self._moved < window:
            return True
        seen = self._at - (self._first if self._moved is None else self._moved)
        return False if seen >= window else None

    def missed(self, mono: float, window: float) -> None:
        """Take in that a pass told nothing: what was known is forgotten once it is older than the window."""
        if self._at is not None and mono - self._at >= window:
            self._at = self._moved = None
            self._least.clear()

    def skip(self, seconds: float) -> None:
        """Take out time in which coordd did not run, and the processes perhaps neither."""
        if self._at is None:
            return
        self._at += seconds
        self._first += seconds
        if self._moved is not None:
            self._moved += seconds
        self._least = deque((begun + seconds, least) for begun, least in self._least)
