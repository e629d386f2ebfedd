"""What makes APScheduler count on the monotonic clock: its time of day, and a trigger without a loop.

APScheduler asks ``datetime.now(timezone)`` for the time, and lists every run of an interval that lies between
the last one and that time. So the scheduler's time zone is :class:`Steady`, in which it is always as late as
the monotonic clock says, whatever the wall clock is set to; and an interval is :class:`Each`, which names one
next run, however long nothing ran. Moments of this zone are for timers alone and mean nothing to people.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from time import monotonic

from apscheduler.triggers.base import BaseTrigger

FAR = 10 * 365 * 86400.0
"""Seconds: what lies further away, or at no time at all, is due then. No date is later than 9999."""

_NONE = timedelta(0)
_BEGINNING = datetime(2000, 1, 1)  # any will do: only differences count


class Steady(tzinfo):
    """A zone whose clock is the monotonic one. Moments of one such object compare with each other alone."""

    def now(self, after: float = 0.0) -> datetime:
        """The moment ``after`` seconds from now, at most :data:`FAR` of them."""
        return _BEGINNING.replace(tzinfo=self) + timedelta(seconds=monotonic() + _bounded(after))

    def fromutc(self, dt: datetime) -> datetime:  # noqa: ARG002 - the wall clock, which does not count
        """The moment it is, whatever ``dt`` says: this is how ``datetime.now(zone)`` asks."""
        return self.now()

    def utcoffset(self, dt: datetime | None) -> timedelta:  # noqa: ARG002 - the same at any time
        """Return none."""
        return _NONE

    def dst(self, dt: datetime | None) -> timedelta:  # noqa: ARG002 - the same at any time
        """Return none."""
        return _NONE

    def tzname(self, dt: datetime | None) -> str:  # noqa: ARG002 - the same at any time
        """Return its name."""
        return "monotonic"


class Each(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """A run every so many seconds; those that are over when it is asked are passed over at once."""

    __slots__ = ("_interval",)

    def __init__(self, seconds: float) -> None:
        self._interval = max(timedelta(seconds=_bounded(seconds)), timedelta.resolution)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first moment after ``now`` that lies whole intervals behind the last run."""
        if previous_fire_time is None:
            return now + self._interval
        missed = max(0, (now - previous_fire_time) // self._interval)
        return previous_fire_time + (missed + 1) * self._interval


def _bounded(seconds: float) -> float:
    """The seconds, at least 0 and at most :data:`FAR`; what is no number is :data:`FAR`."""
    return max(0.0, seconds) if seconds < FAR else FAR
