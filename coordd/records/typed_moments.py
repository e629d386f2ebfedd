"""Read moments as people type them: ``10 min``, ``today``, ``yesterday 23:55``, ``23:55``, ISO-8601.

Pure, but for the local time zone. A time without a zone is meant as times are shown to whoever typed it:
local, or UTC. A time can be typed as it was shown, with the name of its zone behind it.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time

from coordd.util.timestamps import parse_timestamp, within_calendar
from coordd.util.units import parse_duration

FORMS = (
    "a duration before now (90s, '10 min', 1h30m, '2 days'), now, today, yesterday (their midnight), "
    "a time of day (23:55), 'yesterday 23:55', 2026-11-22, 2026-11-22T06:05:00, "
    "with or without a zone (Z, +01:00), or epoch seconds"
)
"""All forms in words, for an error."""

_YOUNGEST_NUMBER = 1e9  # 2001: a smaller number means something else
_DAYS = {"today": 0, "yesterday": -1}
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?", re.ASCII)
_LONGEST = 64
_BASIC_DATE = len("20261122")


def parse_moment(value: str | float, now: float, *, utc: bool = True) -> float:
    """Return a moment in epoch seconds.

    Args:
        value: one of :data:`FORMS`.
        now: epoch seconds.
        utc: whether a time without a zone is UTC; else it is local.

    Raises:
        ValueError: it is nothing of that; the message lists the forms.
    """
    try:
        moment = _of_text(value.strip(), now, utc=utc) if isinstance(value, str) else _of_number(value)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"expected {FORMS}, not {value!r:.80}") from None
    return moment


def _of_text(text: str, now: float, *, utc: bool) -> float:
    if len(text) > _LONGEST or not text.isascii():
        raise ValueError("no time")
    text, utc = _without_zone_name(text, utc=utc)
    words = text.lower().split()
    if words == ["now"]:
        return now
    if words and words[0] in _DAYS and len(words) <= 2:
        clock = _clock(words[1]) if len(words) == 2 else clock_time()
        return _on_day(clock, now, _DAYS[words[0]], utc=utc)
    if _CLOCK.fullmatch(text):
        clock = _clock(text)
        moment = _on_day(clock, now, 0, utc=utc)
        return moment if moment <= now else _on_day(clock, now, -1, utc=utc)
    if text[-1:].isalpha() and text[-1:] != "Z":
        return within_calendar(now - parse_duration(text.removesuffix(" ago")))
    if text.replace(".", "", 1).isdigit() and len(text) != _BASIC_DATE:
        return _of_number(float(text))
    return _of_iso(text, utc=utc)


def _of_number(value: float) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or value < _YOUNGEST_NUMBER:
        raise ValueError("no time")
    return parse_timestamp(value)


def _of_iso(text: str, *, utc: bool) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = _aware(moment, utc=utc)
    return parse_timestamp(moment.isoformat())


def _without_zone_name(text: str, *, utc: bool) -> tuple[str, bool]:
    """Return the text without the name of a zone at its end, and whether it is UTC."""
    written, blank, name = text.rpartition(" ")
    if blank and name in ("UTC", "GMT"):
        return written, True
    if blank and name in time.tzname:
        return written, False
    return text, utc


def _clock(text: str) -> clock_time:
    if not _CLOCK.fullmatch(text):
        raise ValueError("no time of day")
    hour, minute, *second = text.split(":")
    seconds = float(second[0]) if second else 0.0
    return clock_time(int(hour), int(minute), int(seconds), round(seconds % 1 * 1e6) % 1_000_000)


def _on_day(clock: clock_time, now: float, days: int, *, utc: bool) -> float:
    """Return a time of day, ``days`` after the day of ``now``, in epoch seconds."""
    here = datetime.fromtimestamp(now, UTC)
    today = (here if utc else here.astimezone()).date()
    return _aware(datetime.combine(today + timedelta(days=days), clock), utc=utc).timestamp()


def _aware(moment: datetime, *, utc: bool) -> datetime:
    return moment.replace(tzinfo=UTC) if utc else moment.astimezone()
