"""Clocks that count only the time that was really observed.

Pure: monotonic time is passed in. An agent is silent only while somebody was listening: time in which its
source could not be read, or in which coordd itself did not run (a stall, SIGSTOP), is taken out once it is
over.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks: epoch seconds for records, monotonic seconds for durations."""

    wall: float
    mono: float


class ObservedClock:
    """Monotonic time less the time in which one source was blind.

    While the source is blind the clock runs on, so that what was last known still ages (and turns
    ``unknown``, never ``inactive``); when sight returns the whole blind period is taken out.
    """

    __slots__ = ("_blind", "_blind_since")

    def __init__(self, *, blind_since: float | None = None) -> None:
        self._blind = 0.0
        self._blind_since = blind_since

    @property
    def readable(self) -> bool:
        """Whether the source can be read, as far as is known."""
        return self._blind_since is None

    def lost(self, mono: float) -> None:
        """The source could not be read at ``mono``; repeating it changes nothing."""
        if self._blind_since is None:
            self._blind_since = mono

    def regained(self, mono: float) -> None:
        """The source was read at ``mono``; without a loss before it this changes nothing."""
        if self._blind_since is not None:
            self._blind += max(0.0, mono - self._blind_since)
            self._blind_since = None

    def skip(self, seconds: float) -> None:
        """Take out a gap in which nobody was listening; inside a blind period it is already counted."""
        if self._blind_since is None:
            self._blind += max(0.0, seconds)

    def now(self, mono: float) -> float:
        """The observed time at monotonic ``mono``."""
        return mono - self._blind


class LoopMonitor:
    """Knows from the loop's regular ticks whether coordd itself was running all the time.

    A tick is due every ``interval``; one that is late by more than ``grace`` means a gap (a stall, SIGSTOP),
    which :meth:`beat` returns so that it is taken out of every source's clock. :meth:`horizon` is the latest
    moment that may be used for a judgement: after a gap, and before the tick that reports it, judging at the
    real time would count the gap as silence of the agents.
    """

    __slots__ = ("_grace", "_interval", "_last", "lag")

    def __init__(self, *, interval: float, grace: float = 2.0, mono: float) -> None:
        self._interval = interval
        self._grace = grace
        self._last = mono
        self.lag = 0.0

    def beat(self, mono: float) -> float:
        """One tick: returns the gap in seconds, 0.0 when the loop was on time."""
        late = max(0.0, mono - self._last - self._interval)
        self._last = mono
        self.lag = max(self.lag, late)
        return late if late > self._grace else 0.0

    def start(self, mono: float) -> None:
        """Begin to expect ticks; what was before is no gap."""
        self._last = mono

    def take_lag(self) -> float:
        """The worst lateness in seconds since it was last taken."""
        lag, self.lag = self.lag, 0.0
        return lag

    def horizon(self, mono: float) -> float:
        """``mono``, or the last moment at which coordd surely listened, whichever is earlier."""
        limit = self._last + self._interval
        return mono if mono <= limit + self._grace else limit
