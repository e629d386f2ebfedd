"""Make APScheduler count on the monotonic clock: a time zone, and triggers.

APScheduler asks ``datetime.now(timezone)`` for the time, and lists every run of an interval between the last
one and that time. So the scheduler's time zone is :class:`MonotonicZone`, whose time follows the monotonic
clock whatever the wall clock says; an interval is an :class:`IntervalTrigger`, which names one next run,
however long nothing ran. Moments in this zone serve timers only and mean nothing to people.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from time import monotonic

from apscheduler.triggers.base import BaseTrigger

LONGEST = 10 * 365 * 86400.0
"""Seconds, the longest delay: a longer one, or none that is a number, becomes this; dates end in 9999."""

_NONE = timedelta(0)
_BEGINNING = datetime(2000, 1, 1)  # any date serves: only differences count


class MonotonicZone(tzinfo):
    """A time zone whose clock is the monotonic one; compare moments of one such object only."""

    def now(self, after: float = 0.0) -> datetime:
        """Return the moment ``after`` seconds from now, at most :data:`LONGEST`."""
        return _BEGINNING.replace(tzinfo=self) + timedelta(seconds=monotonic() + _bounded(after))

    def fromutc(self, dt: datetime) -> datetime:  # noqa: ARG002 - the wall clock, which does not count
        """Return the present moment, whatever ``dt`` says; ``datetime.now(zone)`` calls this."""
        return self.now()

    def utcoffset(self, dt: datetime | None) -> timedelta:  # noqa: ARG002 - the same at any time
        """Return no offset."""
        return _NONE

    def dst(self, dt: datetime | None) -> timedelta:  # noqa: ARG002 - the same at any time
        """Return no daylight saving."""
        return _NONE

    def tzname(self, dt: datetime | None) -> str:  # noqa: ARG002 - the same at any time
        """Return the name of the zone."""
        return "monotonic"


class IntervalTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Trigger a run every ``seconds``; runs that were missed are skipped."""

    __slots__ = ("_interval",)

    def __init__(self, seconds: float) -> None:
        self._interval = max(timedelta(seconds=_bounded(seconds)), timedelta.resolution)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first moment after ``now`` that lies whole intervals behind the last run."""
        if previous_fire_time is None:
            return now + self._interval
        missed = max(0, (now - previous_fire_time) // self._interval)
        return previous_fire_time + (missed + 1) * self._interval


class OnceTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Trigger one run at the moment ``at``."""

    __slots__ = ("_at",)

    def __init__(self, at: datetime) -> None:
        self._at = at

    def get_next_fire_time(
        self,
        previous_fire_time: datetime | None,
        now: datetime,  # noqa: ARG002 - part of the interface
    ) -> datetime | None:
        """Return the moment, and None once it has been."""
        return self._at if previous_fire_time is None else None


def _bounded(seconds: float) -> float:
    """Return the seconds, at least 0 and at most :data:`LONGEST`, which stands for NaN as well."""
    return max(0.0, seconds) if seconds < LONGEST else LONGEST
