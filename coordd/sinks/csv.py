"""Write the table ``performance_YYYY-MM-DD.csv``; ``performance.log`` links to the current file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from coordd.model import PerformanceRow
from coordd.records.shapes import HEADER
from coordd.sinks.base import Batch
from coordd.sinks.file_sink import FileSink
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.ledger import Ledger, sync_file
from coordd.sinks.record_file import MAX_PART_BYTES, RecordFile
from coordd.util.timestamps import format_seconds

_SERIES = "performance"


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
    """Write performance rows as a CSV table: the sink ``csv``.

    Args:
        log_dir: made when missing.
        random: gives a number in [0, 1), for the jitter of retries.
        backlog: how many rows may wait while the disk takes none.
        max_part_bytes, mode, write: as RecordFile's.
        directory_mode, gitignore, root: as HeldFolder's.
        folder: the directory, where another sink writes to the same one.
        fsync: as Ledger's.
    """

    def __init__(
        self,
        *,
        log_dir: str,
        random: Callable[[], float],
        backlog: int = 100_000,
        max_part_bytes: int = MAX_PART_BYTES,
        mode: int = 0o640,
        directory_mode: int = 0o700,
        gitignore: bool = False,
        root: str | None = None,
        folder: HeldFolder | None = None,
        write: Callable[[int, bytes], int] = os.write,
        fsync: Callable[[int], None] = sync_file,
    ) -> None:
        ledger = Ledger(fsync=fsync, max_lines=max(1, backlog))
        folder = folder or HeldFolder(
            log_dir, mode=directory_mode, file_mode=mode, gitignore=gitignore, root=root
        )
        super().__init__(name="csv", folder=folder, ledger=ledger, backlog=backlog, random=random)
        self._files[_SERIES] = RecordFile(
            folder=folder,
            series=_SERIES,
            extension="csv",
            link="performance.log",
            ledger=ledger,
            listener=self,
            header=HEADER,
            max_part_bytes=max_part_bytes,
            mode=mode,
            write=write,
        )

    def _lines(self, batch: Batch) -> Iterable[tuple[str, Sequence[bytes]]]:
        return ((_SERIES, [format_row(row) for row in batch.performance]),)


def _percent(value: float | None) -> str:
    return "N/A" if value is None else f"{value:.1f}"


def _count(value: int | None) -> str:
    return "N/A" if value is None else str(value)
