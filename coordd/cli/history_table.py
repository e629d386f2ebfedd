"""Write past records as a table for people, page by page, so that memory stays bounded.

From page to page columns only grow wider. A thinned number shows its mean, then least and most.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coordd.cli.agent_places import short_path, short_paths
from coordd.cli.times import moment_words, zone_of
from coordd.records.room import cpu_percent, memory_percent
from coordd.util.text import UNKNOWN, count, duration, number, percent, shown, size, width
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

_PAGE = 500
_ANSWERS = {"redis": "answers", "file": UNKNOWN}
"""What the label ``coord_mode`` says: whether a configured Redis answered, not where agents came from."""

Row = list[str]


def table_blocks(
    type: str, records: Iterable[dict[str, Any]], *, thinned: bool, with_workspace: bool, utc: bool = False
) -> Iterator[bytes]:
    """Yield a heading, then one row for each record, in blocks of whole lines.

    Times are local unless ``utc``. The heading names the zone of the first; another one, as where the clocks
    were changed, stands behind its time.
    """
    heading, row = _KINDS[type](with_workspace)
    zone: str | None = None
    if thinned:
        heading = [heading[0], "RECORDS", *heading[1:]]
    widths = [0] * len(heading)
    page = [heading]
    for record in records:
        timestamp, cells = record.get("timestamp"), row(record)
        if zone is None:
            zone = zone_of(timestamp, utc=utc)
            heading[0] = f"TIME ({zone})" if zone else heading[0]
        cells.insert(0, moment_words(timestamp, utc=utc, zone=zone, millis=True))
        if thinned:
            cells.insert(1, count(record.get("records")))
        page.append(cells)
        if len(page) >= _PAGE:
            yield _block(page, widths)
            page = []
    if page:
        yield _block(page, widths)


def _block(page: Sequence[Row], widths: list[int]) -> bytes:
    lines = []
    for row in page:
        for x, cell in enumerate(row):
            widths[x] = max(widths[x], width(cell))
    for row in page:
        cells = [cell + " " * (widths[x] - width(cell)) for x, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines).encode("utf-8", "backslashreplace")


Columns = tuple[Row, "Callable[[dict[str, Any]], Row]"]


def _system(_with_workspace: bool) -> Columns:
    def row(record: dict[str, Any]) -> Row:
        load = record.get("load_average")
        agents = _part(record, "agents")
        return [
            _number(cpu_percent(record), percent),
            _number(memory_percent(record), percent),
            _number(_part(record, "disk_usage").get("percent"), percent),
            _number(load[0] if isinstance(load, list) and load else None, _two_decimals),
            _number(agents.get("active"), _count),
            _number(agents.get("inactive"), _count),
            _number(agents.get("unknown"), _count),
            _ANSWERS.get(str(record.get("coord_mode")), UNKNOWN),
            shown(record.get("host")),
        ]

    heading = ["TIME", "CPU", "MEMORY", "DISK", "LOAD", "ACTIVE", "INACTIVE", "UNKNOWN", "REDIS", "HOST"]
    return heading, row


def _agent(with_workspace: bool) -> Columns:
    def row(record: dict[str, Any]) -> Row:
        cells = [
            shown(record.get("agent_id")),
            shown(record.get("status")),
            shown(record.get("reason")),
            shown(record.get("cause")),
            _number(record.get("active_tasks"), _count),
            _number(record.get("uptime"), duration),
            _number(record.get("cpu_percent"), percent),
            _number(record.get("rss"), size),
        ]
        place = record.get("workspace")
        where = "Redis" if place is None else short_path(place, os.environ.get("HOME"))
        return [*cells, where] if with_workspace else cells

    heading = ["TIME", "AGENT", "STATUS", "REASON", "CAUSE", "TASKS", "UPTIME", "CPU", "RSS"]
    return [*heading, "WORKSPACE"] if with_workspace else heading, row


def _event(_with_workspace: bool) -> Columns:
    def row(record: dict[str, Any]) -> Row:
        return [
            shown(record.get("kind")),
            shown(record.get("subject")),
            short_paths(record.get("message"), os.environ.get("HOME")),
        ]

    return ["TIME", "KIND", "SUBJECT", "MESSAGE"], row


_KINDS: dict[str, Callable[[bool], Columns]] = {"system": _system, "agent": _agent, "event": _event}


def _part(record: dict[str, Any], name: str) -> dict[str, Any]:
    return as_dict(record.get(name))


def _number(value: Any, words: Callable[[object], str]) -> str:
    """Return a number in words; a thinned one as ``12.3 % (4.0 % to 50.1 %)``, unless it never changed."""
    if not isinstance(value, dict):
        return words(value)
    mean, least, most = value.get("mean"), value.get("min"), value.get("max")
    if least == most:
        return words(most)
    return f"{words(mean)} ({words(least)} to {words(most)})"


def _count(value: object) -> str:
    known = number(value)
    return UNKNOWN if known is None else f"{known:.0f}" if known == int(known) else f"{known:.1f}"


def _two_decimals(value: object) -> str:
    known = number(value)
    return UNKNOWN if known is None else f"{known:.2f}"
