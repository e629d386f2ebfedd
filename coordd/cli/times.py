"""Write timestamps for people: as local time, or as UTC where they ask for it, with the zone said once.

Pure, but for the local time zone. ``coordctl status`` loads this module and has to start fast.
"""

from __future__ import annotations

import time

from coordd.util.text import UNKNOWN, epoch_of, escape, shown

_TO_THE_SECOND = 19  # characters of 2026-11-22T06:05:00


def moment_words(timestamp: object, *, utc: bool, zone: str = "", millis: bool = False) -> str:
    """Return a timestamp as ``2026-11-22 07:05:00``, in local time unless ``utc``.

    The name of its zone follows unless that is ``zone``, which was said before. Whatever is no timestamp of
    coordd's is returned as it is, escaped.
    """
    read = _read(timestamp, utc=utc)
    if read is None or not isinstance(timestamp, str):
        return shown(timestamp)
    year, month, day, hour, minute, second = read[:6]
    words = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    if millis:
        words += timestamp[_TO_THE_SECOND:-1]
    own = _zone(read, utc=utc)
    return words if own == zone else f"{words} {own}"


def zone_of(timestamp: object, *, utc: bool) -> str:
    """Return the name of the zone in which :func:`moment_words` writes a timestamp; "" if it is none."""
    read = _read(timestamp, utc=utc)
    return "" if read is None else _zone(read, utc=utc)


def local_time(timestamp: object, now: float | None) -> str:
    """Return a timestamp as local time with its zone, ``14:20 CET``, and the date unless that is today's."""
    moment, read = epoch_of(timestamp), _read(timestamp, utc=False)
    if moment is None:
        return UNKNOWN
    if read is None:
        return shown(timestamp)
    today = now is not None and time.localtime(now)[:3] == read[:3]
    return escape(time.strftime("%H:%M %Z" if today else "%Y-%m-%d %H:%M %Z", read))


def _read(timestamp: object, *, utc: bool) -> time.struct_time | None:
    moment = epoch_of(timestamp)
    if moment is None:
        return None
    try:
        return time.gmtime(moment) if utc else time.localtime(moment)
    except (OverflowError, OSError, ValueError):
        return None


def _zone(read: time.struct_time, *, utc: bool) -> str:
    return "UTC" if utc else escape(time.strftime("%Z", read))
