"""Write past records as CSV (RFC 4180 with plain newlines): one header line, unknown values empty.

A spreadsheet takes a cell for a formula by its first character, and strangers write ids and messages: a text
that begins like a formula gets a ``'`` before it, which makes it text. Numbers stay numbers.

Nested fields are columns with dots, ``memory_usage.percent``. A type always has the same columns, so that
files can be concatenated; a thinned number has three: ``cpu_percent.mean``, ``.min``, ``.max``.
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
    "declared_status", "sources", "kind", "subject", "message", "detail", "project", "name", "session_id",
    "activity", "activity_since", "waiting_for", "tool", "tool_since", "last_progress", "model",
    "tokens.since", "tty", "ended_at", "user",
}  # fmt: skip  # a list of words
_GROUP = ("memory_current", "memory_used", "memory_max", "memory_percent", "cpu_max", "cpu_percent")
_TOKENS = ("input", "output", "cache_read", "cache_write", "since")
_USAGE = ("total", "used", "free", "percent")
_MEMORY = ("active", "inactive", "buffers", "cached", "shared", "slab", "wired")
"""What psutil tells of the memory beyond that, on Linux or on macOS."""
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
        "network_io.received",
        "coord_mode",
        "agents.active",
        "agents.inactive",
        "agents.unknown",
        "self.cpu_percent",
        "self.rss",
        "self.open_fds",
        "self.loop_lag_ms",
        *(f"cgroup.{name}" for name in _GROUP),
        *(f"memory_usage.{name}" for name in _MEMORY),
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
        "project",
        "name",
        "kind",
        "session_id",
        "activity",
        "activity_since",
        "waiting_for",
        "tool",
        "tool_since",
        "background",
        "last_progress",
        "model",
        "context_tokens",
        *(f"tokens.{name}" for name in _TOKENS),
        "proc_start",
        "tty",
        "processes",
        "ended_at",
        "user",
    ),
    "event": ("timestamp", "host", "kind", "subject", "message", "detail"),
}
_FORMULA = frozenset("=+-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b")
"""Characters with which formulas begin, also in the full width and small forms of East Asian input."""
_BLANK = frozenset("\t\r\n")
"""Characters that some programs cut off, and at which others end the cell."""
_ENDLESS = float("inf")
_IDENTITIES = frozenset({"pid", "proc_start"})
"""Numbers that say which one, and not how much: they have no mean."""
_THIN = ("mean", "min", "max")
_ROWS = 500


def csv_blocks(type: str, records: Iterable[dict[str, Any]], *, thinned: bool) -> Iterator[bytes]:
    """Yield the header, then the rows, in blocks of whole lines."""
    columns = [name for name in _COLUMNS[type] if not (thinned and name in _IDENTITIES)]
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
    """Collect rows for :mod:`csv`, which end with CR LF, and keep only the LF.

    Python quotes a cell that holds a character of the row's line break. With a plain LF, a cell with a CR
    would not be quoted, and the text after the CR would begin a row, or a formula.
    """

    def write(self, row: str, /) -> int:
        """Add one row."""
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
        return None  # Infinity and NaN count as unknown: JSON does not have them
    return value


def harmless(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula, with ``'`` before it if needed.

    Leading white space and invisible characters are skipped in the check, since some programs remove them.
    """
    if text[:1] in _BLANK:
        return f"'{text}"
    start = 0
    while start < len(text) and (text[start].isspace() or not text[start].isprintable()):
        start += 1
    return f"'{text}" if text[start : start + 1] in _FORMULA else text
