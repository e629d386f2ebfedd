"""Measure how busy the processors are, count them, and read the load average.

psutil's own ``cpu_percent`` keeps its state by thread and means nothing on its first call, so the difference
of times is taken here. Busy is all time except ``idle`` and ``iowait``: a processor that waits for a disk
could work. ``steal`` counts as busy: the machine asked for that time and did not get it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

Times = Mapping[str, float]

_RESTING = frozenset({"idle", "iowait"})
_COUNTED_TWICE = frozenset({"guest", "guest_nice"})  # proc_stat(5): part of user and nice as well


def read_cpu_times() -> Times:
    """Return the seconds since boot that all processors together spent in each state."""
    return {name: float(value) for name, value in psutil.cpu_times()._asdict().items()}


def busy_percent(before: Times | None, after: Times | None) -> float | None:
    """Return the mean share of time, 0..100, that the processors were busy; None where it is unknown.

    ``idle`` and ``iowait`` may go back a little (proc_stat(5)), which counts as 0. Any other state that goes
    back means that the counters were reset.
    """
    if before is None or after is None or before.keys() != after.keys():
        return None
    busy = resting = 0.0
    for state in after.keys() - _COUNTED_TWICE:
        spent = after[state] - before[state]
        if state in _RESTING:
            resting += max(spent, 0.0)
        elif spent < 0:
            return None
        else:
            busy += spent
    total = busy + resting
    return round(100 * busy / total, 2) if total > 0 else None


def read_cpu_count() -> int | None:
    """Return the number of logical processors, None where the system does not give it."""
    return psutil.cpu_count()


def read_load_average() -> tuple[float, float, float]:
    """Return the mean number of runnable processes over 1, 5 and 15 minutes (getloadavg(3)).

    Raises:
        OSError: the system does not give it.
    """
    one, five, fifteen = os.getloadavg()
    return round(one, 2), round(five, 2), round(fifteen, 2)
