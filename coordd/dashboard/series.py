"""Turn past samples of the host into columns for charts, of a few hundred points for any range. Pure.

A sample has some hundred numbers, a thinned one three times as many; a page draws sixteen. An unknown number
stays None. A time without samples has no point, and is a gap if it is longer than ``gap``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec

from coordd.records.room import cpu_percent, memory_percent
from coordd.util.text import epoch_of, number


@dataclass(frozen=True, slots=True)
class ChartRange:
    """How far back a chart goes, how fine it is, and how long its answer may be reused; all in seconds."""

    span: int
    step: int
    fresh: float


RANGES = {
    "15m": ChartRange(900, 5, 2.0),
    "1h": ChartRange(3600, 15, 2.0),
    "6h": ChartRange(21_600, 60, 5.0),
    "24h": ChartRange(86_400, 300, 30.0),
    "7d": ChartRange(604_800, 1800, 120.0),
}
DEFAULT = "6h"
GAP = 2.5
"""The factor of the usual distance between two points from which on a distance is a gap."""

_PATHS: dict[str, tuple[str | int, ...]] = {
    "swap": ("swap_usage", "percent"),
    "disk": ("disk_usage", "percent"),
    "load1": ("load_average", 0),
    "load5": ("load_average", 1),
    "load15": ("load_average", 2),
    "read": ("disk_io", "read"),
    "write": ("disk_io", "write"),
    "sent": ("network_io", "sent"),
    "received": ("network_io", "received"),
    "active": ("agents", "active"),
    "inactive": ("agents", "inactive"),
    "unknown": ("agents", "unknown"),
    "own_rss": ("self", "rss"),
    "own_cpu": ("self", "cpu_percent"),
}
_COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "cpu": cpu_percent,
    "memory": memory_percent,
    **{name: partial(lambda path, record: _at(record, path), path) for name, path in _PATHS.items()},
}
_BANDS = ("cpu", "memory", "load1", "read", "write", "sent", "received", "own_cpu")
"""Columns for which the least and the most are included too."""


def series(records: Iterable[dict[str, Any]], chosen: ChartRange, now: float) -> bytes:
    """Return ``{"since", "until", "step", "gap", "times", "series"}``, encoded; moments are epoch seconds."""
    rows = [
        (moment, record) for record in records if (moment := epoch_of(record.get("timestamp"))) is not None
    ]
    rows.sort(key=lambda row: row[0])
    times = [moment for moment, _ in rows]
    columns: dict[str, list[float | None]] = {}
    for name, read in _COLUMNS.items():
        values = [read(record) for _, record in rows]
        columns[name] = [_part(value, "mean") for value in values]
        if name in _BANDS:
            columns[f"{name}_min"] = [_part(value, "min") for value in values]
            columns[f"{name}_max"] = [_part(value, "max") for value in values]
    distance = median([after - before for before, after in pairwise(times)]) if len(times) > 2 else 0.0
    return msgspec.json.encode(
        {
            "since": now - chosen.span,
            "until": now,
            "step": chosen.step,
            "gap": GAP * max(distance, chosen.step),
            "times": times,
            "series": columns,
        }
    )


def _at(record: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        try:
            record = record[step]
        except (KeyError, IndexError, TypeError):
            return None
    return record


def _part(value: Any, part: str) -> float | None:
    """Return a number rounded to four decimals; of a thinned number its mean, least or most."""
    known = number(value.get(part) if isinstance(value, dict) else value)
    return None if known is None else round(known, 4)
