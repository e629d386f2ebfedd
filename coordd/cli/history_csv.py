"""Past records as CSV (RFC 4180, but lines end with a plain newline): one header line, unknown is empty.

A spreadsheet takes a cell for a formula by its first character, and ids and messages are strangers' words: a
text that begins like one gets a ``'`` before it, which makes it text. Numbers stay numbers.

Nested fields are columns with dots, ``memory_usage.percent``. The columns of a type are always the same ones,
so that files can be put together; thinned numbers take three: ``cpu_percent.mean``, ``.min``, ``.max``.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_WORDS = {
    "timestamp", "host", "coord_mode", "workspace", "agent_id", "status", "reason", "cause", "last_heartbeat",
    "declared_status", "sources", "kind", "subject", "message", "detail",
}  # fmt: skip  # a list of words
_USAGE = ("total", "used", "free", "percent")
_COLUMNS = {
    "system": (
        "timestamp",
        "host",
        "cpu_percent",
        "memory_usage.available",
        *(f"memory_usage.{name}" for name in _USAGE),
        *(f"disk_usage.{name}" for name in _USAGE),
        *(f"load_average.{index}" for index in range(3)),
        "cpu_count",
        *(f"swap_usage.{name}" for name in _USAGE),
        "disk_io.read",
        "disk_io.write",
        "network_io.sent",
        "network_io.recv",
        "coord_mode",
        "agents.active",
        "agents.inactive",
        "agents.unknown",
        "self.cpu_percent",
        "self.rss",
        "self.open_fds",
        "self.loop_lag_ms",
    ),
    "agent": (
        "timestamp",
        "host",
        "workspace",
        "agent_id",
        "status",
        "reason",
        "cause",
        "active_tasks",
        "uptime",
        "last_heartbeat",
        "declared_status",
        "sources",
        "pid",
        "cpu_percent",
        "rss",
    ),
    "event": ("timestamp", "host", "kind", "subject", "message", "detail"),
}
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b")
"""What formulas begin with, also in full width and the small forms of East Asian input."""
_BLANK = frozenset("\t\r\n")
"""Some programs cut these off, others end the cell here."""
_ENDLESS = float("inf")
_THIN = ("mean", "min", "max")
_ROWS = 500


def csv_blocks(type: str, records: Iterable[dict[str, Any]], *, thinned: bool) -> Iterator[bytes]:
    """The header, then rows, in blocks of whole lines."""
    columns = [name for name in _COLUMNS[type] if not (thinned and name == "pid")]
    heading = columns
    if thinned:
        heading = ["timestamp", "step", "records"]
        for name in columns[1:]:
            heading += [name] if name in _WORDS else [f"{name}.{part}" for part in _THIN]
    buffer = _Buffer()
    write = csv.writer(buffer, lineterminator="\r\n").writerow
    write(heading)
    for count, record in enumerate(records, 1):
        write([_cell(_at(record, name)) for name in heading])
        if count % _ROWS == 0:
            yield buffer.getvalue().encode("utf-8", "backslashreplace")
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode("utf-8", "backslashreplace")


class _Buffer(io.StringIO):
    """Takes whole rows that end with CR LF, keeps the LF.

    Python quotes a cell for the line breaks of its rows: with a plain LF, one that holds a CR would stand
    there bare, and what follows the CR would begin a row, or a formula.
    """

    def write(self, row: str, /) -> int:
        """Keep one row."""
        return super().write(row.removesuffix("\r\n") + "\n")


def _at(record: dict[str, Any], name: str) -> Any:
    value: Any = record
    for part in name.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        import json

        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return harmless(" ".join([str(part) for part in value]))
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, float) and not -_ENDLESS < value < _ENDLESS:
        return None  # Infinity and NaN, which JSON does not know, are no numbers
    return value


def harmless(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula: with ``'`` before it where need be.

    White space and invisible characters do not count, for some programs cut them off before they look.
    """
    if text[:1] in _BLANK:
        return f"'{text}"
    start = 0
    while start < len(text) and (text[start].isspace() or not text[start].isprintable()):
        start += 1
    return f"'{text}" if text[start : start + 1] in _FORMULA else text
