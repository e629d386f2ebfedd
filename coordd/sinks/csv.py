"""Write the table ``performance_YYYY-MM-DD.csv``; ``performance.log`` links to the current file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from coordd.model import PerformanceRow
from coordd.records.names import RecordSeries
from coordd.records.shapes import HEADER
from coordd.sinks.base import Batch
from coordd.sinks.file_sink import FileSink
from coordd.util.timestamps import format_seconds


def format_row(row: PerformanceRow) -> bytes:
    """Return one line of the table, without newline.

    >>> format_row(PerformanceRow(0.0, 12.34, 50.0, None, None, "file"))
    b'1970-01-01T00:00:00Z,12.3,50.0,N/A,N/A,file'
    """
    return ",".join(
        (
            format_seconds(row.timestamp),
            _percent(row.cpu),
            _percent(row.memory),
            _count(row.redis_memory),
            _count(row.redis_keys),
            row.coord_mode,
        )
    ).encode()


class CsvSink(FileSink):
    """Write performance rows as a CSV table: the sink ``csv``."""

    name = "csv"
    series = (RecordSeries("performance", "csv", "performance.log", HEADER),)

    def _lines(self, batch: Batch) -> Iterable[tuple[str, Sequence[bytes]]]:
        return (("performance", [format_row(row) for row in batch.performance]),)


def _percent(value: float | None) -> str:
    return "N/A" if value is None else f"{value:.1f}"


def _count(value: int | None) -> str:
    return "N/A" if value is None else str(value)
