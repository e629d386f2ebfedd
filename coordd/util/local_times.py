"""Write moments for people who read a log or an error: in local time, with their distance from UTC.

Pure, but for the local time zone. Such a text is ISO-8601 still, and programs read it as well; where local
time is UTC it is what records have, ``2026-11-22T06:05:00.123Z``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from coordd.util.timestamps import format_utc


def local_stamp(epoch: float) -> str:
    """Format epoch seconds as ``2026-11-22T07:05:00.123+01:00``.

    Raises:
        ValueError: not finite, or outside the years 1 to 9999.
    """
    utc = format_utc(epoch)
    try:
        local = datetime.fromisoformat(utc).astimezone()
    except (OverflowError, OSError):  # local time would leave the calendar
        return utc
    return utc if local.utcoffset() == UTC.utcoffset(None) else local.isoformat(timespec="milliseconds")
