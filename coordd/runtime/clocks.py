"""Keep clocks that count only the time in which a source was observed.

The rule: silence of an agent counts only while its source is observed. Time in which the source could not be
read, or in which coordd itself did not run (a stall, SIGSTOP), is taken out once it is over; time in which
the machine sleeps is no monotonic time. Pure: monotonic time is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

AHEAD = 0.5
"""Seconds by which deadlines of agents may lie before the timer that judges them."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks: epoch seconds for records, monotonic seconds for durations."""

    wall: float
    mono: float


class ObservedClock:
    """Count monotonic time less the time in which one source was blind, that is, could not be read.

    =========  ==============================================  =======================================
    state      the clock                                       ends
    =========  ==============================================  =======================================
    readable   runs; :meth:`skip` takes a gap out              with :meth:`lost`
    blind      runs on, so that what was last known still      with :meth:`regained`, which takes the
               ages and turns ``unknown``, never ``inactive``  whole blind period out
    =========  ==============================================  =======================================
    """

    __slots__ = ("_blind", "_blind_since")

    def __init__(self, *, blind_since: float | None = None) -> None:
        self._blind = 0.0
        self._blind_since = blind_since

    @property
    def readable(self) -> bool:
        """Whether the source could be read when it was last tried."""
        return self._blind_since is None

    def lost(self, mono: float) -> None:
        """Note that the source could not be read at ``mono``; repeated calls change nothing."""
        if self._blind_since is None:
            self._blind_since = mono

    def regained(self, mono: float) -> None:
        """Note that the source was read at ``mono``; without a loss before it this changes nothing."""
        if self._blind_since is not None:
            self._blind += max(0.0, mono - self._blind_since)
            self._blind_since = None

    def skip(self, seconds: float) -> None:
        """Take out a gap in which coordd did not run; in a blind period it is taken out already."""
        if self._blind_since is None:
            self._blind += max(0.0, seconds)

    def now(self, mono: float) -> float:
        """Return the observed time at the monotonic time ``mono``."""
        return mono - self._blind

    def seen(self, mono: float) -> float:
        """Return the same, but that of the loss while the source is blind: nothing was observed since."""
        return (mono if self._blind_since is None else min(mono, self._blind_since)) - self._blind


class LoopMonitor:
    """Find gaps in which coordd itself did not run, from how late its timers ring.

    The schedule says when its next timer is due (:meth:`expect`) and when it rang (:meth:`woke`). One that is
    late by more than ``grace`` seconds means a gap (a stall, SIGSTOP), which :meth:`woke` returns so that it
    is taken out of every source's clock; the grace is short, for who was stopped together with coordd has to
    have its time to beat again. :meth:`horizon` is the latest moment at which agents may be judged:
    while a timer is overdue, judging at the real time would count the gap as silence of the agents.

    Agents fall silent up to :data:`AHEAD` seconds before the timer that judges them is due; a gap begins
    that much earlier, though not before a moment at which coordd certainly ran.
    """

    __slots__ = ("_due", "_grace", "_ran", "lag")

    def __init__(self, *, grace: float = 0.5) -> None:
        self._grace = grace
        self._due = math.inf
        self._ran = -math.inf
        self.lag = 0.0

    def expect(self, due: float, mono: float) -> None:
        """Note at ``mono`` that the next timer is due at ``due``; an overdue one has to stay the next."""
        self._ran = self.horizon(mono)
        self._due = due

    def woke(self, mono: float) -> float:
        """Note that the timer rings; return the gap in seconds, 0.0 when it is on time."""
        gap = mono - self.horizon(mono)
        self.lag = max(self.lag, mono - self._due)
        self._ran, self._due = mono, math.inf
        return gap

    def take_lag(self) -> float:
        """Return the greatest lateness in seconds since this was last called."""
        lag, self.lag = self.lag, 0.0
        return lag

    def horizon(self, mono: float) -> float:
        """Return ``mono``, or the last moment at which coordd certainly ran, whichever is earlier."""
        if mono <= self._due + self._grace:
            return mono
        return min(mono, max(self._ran, self._due - AHEAD))
