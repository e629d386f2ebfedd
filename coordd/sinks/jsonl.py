"""Write samples and events as JSON lines: ``{system,agent,event}_YYYY-MM-DD.jsonl``, each with a symlink."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from coordd.sinks.base import Batch
from coordd.sinks.file_sink import FileSink
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.ledger import Ledger, sync_file
from coordd.sinks.record_file import MAX_PART_BYTES, RecordFile


class JsonlSink(FileSink):
    """Write three series of JSON lines, with one backlog and one status: the sink ``jsonl``.

    Args:
        metrics_dir: made when missing.
        random: gives a number in [0, 1), for the jitter of retries.
        backlog: how many records may wait while the disk takes none.
        max_part_bytes, mode, write: as RecordFile's.
        directory_mode, gitignore, root: as HeldFolder's.
        folder: the directory, where another sink writes to the same one.
        fsync: as Ledger's.
    """

    def __init__(
        self,
        *,
        metrics_dir: str,
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
            metrics_dir, mode=directory_mode, file_mode=mode, gitignore=gitignore, root=root
        )
        super().__init__(name="jsonl", folder=folder, ledger=ledger, backlog=backlog, random=random)
        for series in ("system", "agent", "event"):
            self._files[series] = RecordFile(
                folder=folder,
                series=series,
                extension="jsonl",
                link=f"{series}.jsonl",
                ledger=ledger,
                listener=self,
                max_part_bytes=max_part_bytes,
                mode=mode,
                write=write,
            )

    def _lines(self, batch: Batch) -> Iterable[tuple[str, Sequence[bytes]]]:
        return (("system", batch.system), ("agent", batch.agent), ("event", batch.event))
