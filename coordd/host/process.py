"""Measure what coordd's own process costs: CPU, memory, descriptors."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU seconds of all threads since the process began, as read at a monotonic moment."""

    mono: float
    seconds: float


def read_own_cpu(mono: float) -> CpuUse:
    """Return user and system time from the process clock, finer than the 10 ms ticks of /proc."""
    return CpuUse(mono, time.process_time())


def cpu_share(before: CpuUse | None, after: CpuUse | None) -> float | None:
    """Return the percent of one processor used between two readings, None where it is unknown."""
    if before is None or after is None:
        return None
    elapsed = after.mono - before.mono
    spent = after.seconds - before.seconds
    return round(100 * spent / elapsed, 3) if elapsed > 0 and spent >= 0 else None


def read_own_rss() -> int:
    """Return the resident memory in bytes."""
    return int(psutil.Process().memory_info().rss)


def read_own_descriptors() -> int:
    """Return the number of open file descriptors."""
    return psutil.Process().num_fds()
