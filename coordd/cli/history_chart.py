"""Draw past records as a plot in the terminal, with plotext (an optional extra: ``coordd[chart]``).

There are as many points as the plot has columns, so memory does not depend on the number of records.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from coordd.cli.common import colour_wanted
from coordd.cli.times import moment_words, zone_of
from coordd.errors import CannotTell
from coordd.records.room import cpu_percent, memory_percent
from coordd.util.text import epoch_of, escape, number
from coordd.util.timestamps import format_utc, within_calendar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from coordd.records.scan import RecordQuery

TICKS = 5
_MARKERS = ("hd", "*", "o")
_LEAST = (40, 10)
_MOST = (200, 40)


_MOST_VALUE = 1e15  # more is no measurement, and makes sums and scales infinite


class _Curve:
    """Collect values by column; several values in one column become their mean."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, int]] = {}

    def add(self, column: int, value: object) -> None:
        known = number(value)
        if known is not None and abs(known) <= _MOST_VALUE:
            total, count = self._sums.get(column, (0.0, 0))
            self._sums[column] = (total + known, count + 1)

    def points(self) -> tuple[list[int], list[float]]:
        columns = sorted(self._sums)
        return columns, [self._sums[x][0] / self._sums[x][1] for x in columns]


def chart(records: Iterable[dict[str, Any]], question: RecordQuery, now: float, *, utc: bool) -> bytes:
    """Return the plot: CPU and memory of the host, an agent's tasks, or the number of agents or events.

    Times are local unless ``utc``; the title names the zone.

    Raises:
        CannotTell: plotext is not installed.
    """
    plot = _plotext()
    columns, rows = _room()
    begin = question.span.since or 0.0
    end = max(begin + 1.0, now if question.span.until is None else question.span.until)
    curves, title = _curves(records, question, columns, begin, end)
    plot.clear_figure()
    plot.plotsize(columns, rows)
    plot.theme("clear" if not colour_wanted() else "pro")
    zone = zone_of(_timestamp(end), utc=utc)
    plot.title(f"{title}, times are {zone}" if zone else title)
    for (label, curve), marker in zip(curves.items(), _MARKERS, strict=False):
        xs, ys = curve.points()
        if xs:
            plot.plot(xs, ys, label=label, marker=marker)
    ticks = [round(i * (columns - 1) / (TICKS - 1)) for i in range(TICKS)]
    moments = [begin + tick * (end - begin) / (columns - 1) for tick in ticks]
    plot.xlim(0, columns - 1)
    plot.xticks(ticks, [_short(moment, end - begin, utc=utc) for moment in moments])
    if question.type == "system":
        plot.ylim(0, 100)
    else:
        plot.ylim(lower=0)
    text = plot.build()
    if not colour_wanted():
        text = plot.uncolorize(text)
    lines = "\n".join([line.rstrip() for line in text.split("\n")]).rstrip("\n") + "\n"
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    encoded: bytes = lines.encode(encoding or "utf-8", "replace")
    return encoded


def _curves(
    records: Iterable[dict[str, Any]], question: RecordQuery, columns: int, begin: float, end: float
) -> tuple[dict[str, _Curve], str]:
    def column(record: dict[str, Any]) -> int | None:
        moment = epoch_of(record.get("timestamp"))
        if moment is None or not begin <= moment < end:
            return None
        return int((moment - begin) / (end - begin) * columns)

    placed = ((x, record) for record in records if (x := column(record)) is not None)
    if question.type == "system":
        return _system(placed), "cpu and memory, percent"
    if question.type == "agent" and question.agent_id is not None:
        return _one_agent(placed), f"agent {escape(question.agent_id)}"
    if question.type == "agent":
        return _agents(placed, columns), "agents that were heard of"
    return _counted(placed, columns), "events"


def _system(placed: Iterable[tuple[int, dict[str, Any]]]) -> dict[str, _Curve]:
    cpu, memory = _Curve(), _Curve()
    for x, record in placed:
        cpu.add(x, cpu_percent(record))
        memory.add(x, memory_percent(record))
    return {"cpu": cpu, "memory": memory}


def _one_agent(placed: Iterable[tuple[int, dict[str, Any]]]) -> dict[str, _Curve]:
    tasks, active = _Curve(), _Curve()
    for x, record in placed:
        tasks.add(x, record.get("active_tasks"))
        active.add(x, 1 if record.get("status") == "active" else 0)
    return {"tasks": tasks, "active": active}


def _agents(placed: Iterable[tuple[int, dict[str, Any]]], columns: int) -> dict[str, _Curve]:
    heard: list[set[tuple[Any, ...]]] = [set() for _ in range(columns)]
    for x, record in placed:
        if record.get("status") == "active":
            heard[x].add((str(record.get("workspace")), str(record.get("agent_id"))))
    curve = _Curve()
    for x, agents in enumerate(heard):
        curve.add(x, len(agents))
    return {"active": curve}


def _counted(placed: Iterable[tuple[int, dict[str, Any]]], columns: int) -> dict[str, _Curve]:
    counts = [0] * columns
    for x, _ in placed:
        counts[x] += 1
    curve = _Curve()
    for x, count in enumerate(counts):
        curve.add(x, count)
    return {"events": curve}


def _plotext() -> Any:
    try:
        import plotext
    except ImportError as error:
        raise CannotTell(
            "--format chart draws with plotext, which is not installed: pip install 'coordd[chart]'"
        ) from error
    if not hasattr(plotext, "build"):
        raise CannotTell("--format chart needs plotext 5: pip install 'coordd[chart]'")
    return plotext


def _room() -> tuple[int, int]:
    there = shutil.get_terminal_size()
    return (
        min(max(there.columns, _LEAST[0]), _MOST[0]),
        min(max(there.lines - 2, _LEAST[1]), _MOST[1]),
    )


def _timestamp(moment: float) -> str:
    return format_utc(within_calendar(moment))


def _short(moment: float, span: float, *, utc: bool) -> str:
    timestamp = _timestamp(moment)
    text = moment_words(timestamp, utc=utc, zone=zone_of(timestamp, utc=utc))
    return text[:10] if span > 3 * 86400 else f"{text[5:10]} {text[11:16]}" if span > 86400 else text[11:19]
