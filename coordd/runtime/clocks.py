"""Keep clocks that count only the time in which a source was observed.

The rule: silence of an agent counts only while its source is observed. Time in which the source could not be
read, or in which coordd itself did not run (a stall, SIGSTOP), is taken out once it is over. Pure: monotonic
time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass


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


class LoopMonitor:
    """Find gaps in which coordd itself did not run, from the regular ticks of its loop.

    A tick is due every ``interval``; one that is late by more than ``grace`` means a gap (a stall, SIGSTOP),
    which :meth:`tick` returns so that it is taken out of every source's clock. :meth:`horizon` is the latest
    moment at which agents may be judged: after a gap, and before the tick that reports it, judging at the
    real time would count the gap as silence of the agents.
    """

    __slots__ = ("_grace", "_interval", "_last", "lag")

    def __init__(self, *, interval: float, grace: float = 2.0, mono: float) -> None:
        self._interval = interval
        self._grace = grace
        self._last = mono
        self.lag = 0.0

    def tick(self, mono: float) -> float:
        """Note a tick; return the gap in seconds, 0.0 when the loop was on time."""
        late = max(0.0, mono - self._last - self._interval)
        self._last = mono
        self.lag = max(self.lag, late)
        return late if late > self._grace else 0.0

    def start(self, mono: float) -> None:
        """Begin to expect ticks; the time before does not count as a gap."""
        self._last = mono

    def take_lag(self) -> float:
        """Return the greatest lateness in seconds since this was last called."""
        lag, self.lag = self.lag, 0.0
        return lag

    def horizon(self, mono: float) -> float:
        """Return ``mono``, or the last moment at which coordd certainly ran, whichever is earlier."""
        limit = self._last + self._interval
        return mono if mono <= limit + self._grace else limit
