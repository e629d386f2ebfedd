"""Compute how fast counters grow, from two readings. Pure.

The rule: a counter that went back (wrapped, was reset, its device was replaced) has no rate until the next
reading; a rate is never negative and never estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of bytes by device and direction, as read at a monotonic moment."""

    mono: float
    devices: Mapping[str, tuple[int, ...]]


def byte_rates(before: Counters | None, after: Counters | None) -> tuple[float, ...] | None:
    """Return the bytes a second in each direction, over all devices in both readings; None where unknown.

    A device that came or went between the readings is left out: its counter did not run all the time.
    """
    if before is None or after is None or not after.devices:
        return None
    elapsed = after.mono - before.mono
    if elapsed <= 0:
        return None
    sums = [0] * len(next(iter(after.devices.values())))
    for name, counts in after.devices.items():
        for i, (old, new) in enumerate(zip(before.devices.get(name, counts), counts, strict=True)):
            if new < old:
                return None
            sums[i] += new - old
    return tuple(round(total / elapsed, 1) for total in sums)
