"""Summarise records over stretches of time: numbers by mean, least and most. Pure.

A thinned record has the fields of the records it stands for. ``timestamp`` is the beginning of its stretch,
``step`` its length in seconds, ``records`` their number; each number becomes ``{"mean", "min", "max"}`` over
the known values, everything else is the last value. One record is made for each host; of agents, for each
agent; of events, for each kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from coordd.util.text import epoch_of, number
from coordd.util.timestamps import format_utc, within_calendar

_GROUPED_BY = {"agent": ("host", "workspace", "agent_id"), "event": ("host", "kind")}
_OPEN = 2
"""Stretches open at once, because records at a boundary come a little out of order. After a clock was set
back, a stretch may begin, and be given out, a second time."""
MAX_GROUPS = 200_000
LEAST_STEP = 0.001
"""Seconds: timestamps are no finer."""
_EXACT = 2.0**53


class _Number:
    __slots__ = ("count", "least", "most", "total")

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self.least, self.most = float("inf"), float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    def shown(self) -> dict[str, float | None]:
        # a sum beyond a float's range has no mean: JSON has no infinity
        mean = round(self.total / self.count, 6) if math.isfinite(self.total) else None
        return {
            "mean": None if mean is None else _plain(mean),
            "min": _plain(self.least),
            "max": _plain(self.most),
        }


def _plain(value: float) -> float:
    """Return a whole number as int, so that every JSON encoder writes ``60``, not ``60.0``."""
    return int(value) if abs(value) < _EXACT and value == int(value) else value


class _Group:
    """Summarise the records of one host, agent or kind in one stretch; nested fields by path."""

    __slots__ = ("count", "last", "numbers")

    def __init__(self) -> None:
        self.count = 0
        self.last: dict[str, Any] = {}
        self.numbers: dict[tuple[str | int, ...], _Number] = {}

    def add(self, record: dict[str, Any]) -> None:
        self.count += 1
        self.last = record
        self._add(record, ())

    def _add(self, value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                self._add(inner, (*path, name))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self._add(inner, (*path, index))
        elif (known := number(value)) is not None:
            self.numbers.setdefault(path, _Number()).add(known)

    def shown(self, start: float, step: float) -> dict[str, Any]:
        thinned = self._shown(self.last, ())
        # the timestamp first, as in every record
        rest = {name: value for name, value in thinned.items() if name != "timestamp"}
        return {
            "timestamp": format_utc(within_calendar(start)),
            "step": _plain(step),
            "records": self.count,
            **rest,
        }

    def _shown(self, value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, dict):
            return {name: self._shown(inner, (*path, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._shown(inner, (*path, index)) for index, inner in enumerate(value)]
        known = self.numbers.get(path)
        if known is not None:
            return known.shown()
        return None if isinstance(value, float) and not math.isfinite(value) else value


class Thinner:
    """Take records in the order of writing, and give out thinned ones.

    Args:
        type: of the records: ``system``, ``agent`` or ``event``.
        step: seconds; stretches begin at multiples of it since 1970.

    Raises:
        ValueError: the step is shorter than a millisecond, or infinite.
    """

    def __init__(self, type: str, step: float) -> None:
        if not LEAST_STEP <= step < math.inf:
            raise ValueError("step: at least 1ms")
        self._grouped_by = _GROUPED_BY.get(type, ("host",))
        self._step = step
        self._open: dict[int, dict[tuple[Any, ...], _Group]] = {}
        self._groups = 0
        self.damaged = 0

    def add(self, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Add records, and yield the thinned ones that are complete by that."""
        for record in records:
            moment = epoch_of(record.get("timestamp"))
            if moment is None:
                self.damaged += 1
                continue
            number_of_stretch = int(moment // self._step)
            stretch = self._open.get(number_of_stretch)
            if stretch is None:
                while len(self._open) >= _OPEN or self._groups >= MAX_GROUPS:
                    yield from self._close(next(iter(self._open)))
                stretch = self._open[number_of_stretch] = {}
            key = tuple(str(record.get(name)) for name in self._grouped_by)
            group = stretch.get(key)
            if group is None:
                group = stretch[key] = _Group()
                self._groups += 1
            group.add(record)

    def rest(self) -> Iterator[dict[str, Any]]:
        """Yield the stretches still open, at the end."""
        for stretch in sorted(self._open):
            yield from self._close(stretch)

    def _close(self, number_of_stretch: int) -> Iterator[dict[str, Any]]:
        groups = self._open.pop(number_of_stretch)
        self._groups -= len(groups)
        for group in groups.values():
            yield group.shown(number_of_stretch * self._step, self._step)
