"""Tell a written time from what cannot be one. Pure."""

from __future__ import annotations

EARLIEST = 978_307_200.0
"""2001-01-01 in epoch seconds: what is before it is no time."""
AHEAD = 86_400.0
"""Seconds by which a written time may be ahead of the clock; what is later is no time."""


def plausible(at: float, wall: float) -> float | None:
    """Return a time in epoch seconds, None if it cannot be one while ``wall`` is the time now."""
    return at if EARLIEST <= at <= wall + AHEAD else None
