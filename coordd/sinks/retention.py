"""Decide which record files are removed and which are gzipped, from their dates and sizes.

Dates are counted among those that exist, so a wrong clock alone deletes nothing; they are ordered by when
their files were begun (records/ages.py), so a false date evicts no true one. Pure: files in, decisions out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from coordd.records.ages import Age
from coordd.records.names import Part

_GAP = 30
"""Days without records, after which the first day with some takes no other day's place."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limit what is kept of each type of record.

    ``retention_days``: how many of the newest existing dates are kept. ``compress_after_days``: a closed part
    is gzipped when that many whole days have passed since its own; 0: as soon as it is closed. ``max_bytes``:
    all files together, with what the current part may still grow to.
    """

    retention_days: int
    compress_after_days: int
    max_bytes: int


@dataclass(frozen=True, slots=True, order=True)
class RetainedFile:
    """One of coordd's own record files; they sort oldest first."""

    age: Age
    name: str
    part: Part
    size: int


def outdated(
    files: Sequence[RetainedFile], policy: Policy, today: str, *, doubtful: bool
) -> list[RetainedFile]:
    """Return the files whose date is not among the newest ones that are kept.

    Args:
        files: all of one series.
        policy: how many dates are kept.
        today: the UTC date by the clock.
        doubtful: the clock was set far, so today takes no other day's place.
    """
    dates = sorted({file.age.date for file in files})
    doubtful = doubtful or _is_far_from(dates[-2:], today)
    kept = set(dates[-policy.retention_days - doubtful :])
    return [file for file in files if file.age.date not in kept]


def is_due(day: str, policy: Policy, today: str) -> bool:
    """Return whether a closed part of this day is old enough to be gzipped."""
    try:
        days = (date.fromisoformat(today) - date.fromisoformat(day)).days
    except ValueError:  # 2026-13-45: has the form of a date and is none
        return False
    return max(0, days - 1) >= policy.compress_after_days


def room_for_closed(policy: Policy, *, current: int, max_part_bytes: int) -> int:
    """Return how many bytes the closed files may have together.

    Args:
        policy: how many bytes all files may have.
        current: bytes of the part that is being written.
        max_part_bytes: bytes that it may grow to.
    """
    return policy.max_bytes - max(current, min(max_part_bytes, policy.max_bytes))


def _is_far_from(last_two: Sequence[str], today: str) -> bool:
    """Return whether today follows a gap: coordd was not there, or the clock is wrong; nobody can tell."""
    if len(last_two) < 2 or last_two[-1] != today:
        return False
    try:
        before, now = (date.fromisoformat(day) for day in last_two)
    except ValueError:
        return False
    return (now - before).days > _GAP
