"""Make APScheduler count on the monotonic clock: a time zone, and a trigger for one moment at a time.

APScheduler asks ``datetime.now(timezone)`` for the time, and lists every run of a trigger between the last
one and that time. So the scheduler's time zone is :class:`MonotonicZone`, whose time follows the monotonic
clock whatever the wall clock says; and its only job has a trigger that never names a second run. Moments in
this zone serve timers only and mean nothing to people.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from time import monotonic

from apscheduler.triggers.base import BaseTrigger

from coordd.runtime.timetable import LONGEST, bounded

_NONE = timedelta(0)
_BEGINNING = datetime(2000, 1, 1)  # any date serves: only differences count


class MonotonicZone(tzinfo):
    """A time zone whose clock is the monotonic one; compare moments of one such object only."""

    def now(self, after: float = 0.0) -> datetime:
        """Return the moment ``after`` seconds from now, at most ten years."""
        return _BEGINNING.replace(tzinfo=self) + timedelta(seconds=monotonic() + bounded(after))

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


class SetByHand(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """Name no run of its own: the job runs when its next run is set from outside, and is kept meanwhile."""

    def get_next_fire_time(
        self,
        previous_fire_time: datetime | None,  # noqa: ARG002 - part of the interface
        now: datetime,
    ) -> datetime:
        """Return a moment ten years ahead; it is set to an earlier one before that."""
        return now + timedelta(seconds=LONGEST)
