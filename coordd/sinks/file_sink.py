"""Write a sink's records to files: isolate failures, keep a backlog, retry, report each change once.

The subclasses (jsonl.py, csv.py) decide what the records say and which series each belongs to. Of each series
records wait in one of three places, and are written in this order::

    where                                  how they come there            how they leave
    head of the backlog (``_rewriting``)   an fsync failed after writing  written again into a new part
    the backlog                            the disk took nothing          written by a retry, with backoff
    the batch given to write()             just recorded                  written at once if nothing waits
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from coordd.model import SinkStatus
from coordd.records.names import RecordSeries
from coordd.runtime.backoff import Backoff
from coordd.sinks.backlog import Backlog
from coordd.sinks.base import Batch, Notice
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.ledger import Ledger, sync_file
from coordd.sinks.record_file import MAX_PART_BYTES, RecordFile
from coordd.sinks.repair import Damage, repair
from coordd.sinks.transitions import Transitions
from coordd.util.regular_files import explain

_CHUNK = 1000
_NOTICES = 100


class FileSink(ABC):
    """Implement what all :class:`coordd.sinks.base.Sink` made of record files share.

    A subclass sets ``name``, as ``status`` calls it, and ``series``, the series that it writes.

    Args:
        folder: the directory of the files; another sink may write to the same one.
        random: gives a number in [0, 1), for the jitter of retries.
        backlog: how many records may wait, over all series, while the disk takes none.
        max_part_bytes, write: as RecordFile's.
        fsync: as Ledger's.
    """

    name: str
    series: tuple[RecordSeries, ...]

    def __init__(
        self,
        *,
        folder: HeldFolder,
        random: Callable[[], float],
        backlog: int = 100_000,
        max_part_bytes: int = MAX_PART_BYTES,
        write: Callable[[int, bytes], int] = os.write,
        fsync: Callable[[int], None] = sync_file,
    ) -> None:
        self.folder = folder
        folder.on_displaced = self._note_displaced
        self._ledger = Ledger(fsync=fsync, max_lines=max(1, backlog))
        self._files = {
            series.name: RecordFile(
                folder=folder,
                series=series,
                ledger=self._ledger,
                listener=self,
                max_part_bytes=max_part_bytes,
                write=write,
            )
            for series in self.series
        }
        self._backlog: Backlog[bytes] = Backlog(limit=backlog)
        self._backoff = Backoff(random=random)
        self._sync_backoff = Backoff(random=random)
        self._sync_failing = False  # an fsync failed, and none has succeeded since
        self._retry_at: float | None = None
        self._rewriting: dict[
            str, int
        ] = {}  # records at the head of the backlog, written before an fsync failed
        self._closed = False
        self._recreated: list[str] = []
        self._lock = threading.Lock()  # guards what follows: sync and status are called by other threads
        self._errors: dict[str, str] = {}
        self._notices: deque[Notice] = deque(maxlen=_NOTICES)
        self._transitions = Transitions(self.name, self._notices.append, unexplained="it is closed")

    @abstractmethod
    def _lines(self, batch: Batch) -> Iterable[tuple[str, Sequence[bytes]]]:
        """Return the lines that the batch has for each series."""

    @property
    def dirty(self) -> bool:
        """Return whether ``sync`` has something to do."""
        return self._ledger.dirty

    @property
    def durable(self) -> int:
        """Return how many records are known to survive a power loss."""
        return self._ledger.durable

    @property
    def retry_at(self) -> float | None:
        """Return the monotonic time to call ``pump`` at; None while nothing waits."""
        if self._retry_at is None and self._ledger.failed and not self._closed:
            return 0.0  # at once
        return self._retry_at

    def open(self, *, wall: float, mono: float) -> None:
        """Set torn lines aside in all existing files, then open the current ones."""
        for file in self._files.values():
            for damage in repair(self.folder, file.series):
                self.damaged(damage)
        self.roll(wall=wall, mono=mono)

    def write(self, batch: Batch, *, wall: float, mono: float) -> None:
        """Write this sink's records of the batch, after those that wait; keep what cannot be written."""
        self._write_again_what_failed(mono)
        for series, lines in self._lines(batch):
            if not lines:
                continue
            taken = 0
            # While something waits, only the retries touch the disk, because they back off.
            if not self._closed and not self._backlog.count(series) and not self._files[series].torn:
                taken = self._append(series, lines, wall)
            self._backlog.put(series, lines[taken:])
            if self._closed:
                self._backlog.give_up()
        self._settle(wall, mono)
        self.pump(wall=wall, mono=mono)

    def pump(self, *, wall: float, mono: float) -> None:
        """Try again what failed, if its time has come."""
        self._write_again_what_failed(mono)
        if self._retry_at is None or mono < self._retry_at or self._closed:
            return
        self._retry_at = None
        self._drain(wall)
        self._settle(wall, mono)

    def roll(self, *, wall: float, mono: float) -> None:
        """Move every series to the day of ``wall``."""
        self._each(lambda file: file.roll(wall))
        self._settle(wall, mono)

    def begin_next(self, series: Collection[str], *, wall: float, mono: float) -> None:
        """Go on in the next part with those of these series that this sink writes."""
        self._each(lambda file: file.begin_next(wall) if file.series.name in series else None)
        self._settle(wall, mono)

    def check(self, *, wall: float, mono: float) -> None:
        """Restore directory, files and symlinks where somebody removed or changed them."""
        self._each(lambda file: file.check(wall))
        self._settle(wall, mono)

    def sync(self) -> None:
        """Bring what was written to stable storage; may run in another thread than the writer's."""
        self._ledger.sync()
        self._note_transitions()

    def close(self, *, wall: float, mono: float) -> None:
        """Try once more, drop what still waits, sync and close. Later records are dropped and counted."""
        if self._closed:
            return
        self.sync()
        self._write_again_what_failed(mono)
        if self._retry_at is not None:
            self._drain(wall)
        self._closed = True
        self._retry_at = None
        torn = sum(file.close() for file in self._files.values())
        self._backlog.dropped += torn
        self._backlog.give_up()
        self._settle(wall, mono)
        self.sync()
        self._give_up_unsynced()
        self.folder.close()

    def status(self) -> SinkStatus:
        """Return the state, the error in words, and the counts as they are now."""
        with self._lock:
            error = self._error()
        torn = sum(file.torn for file in self._files.values())
        return SinkStatus(
            state="ok" if error is None else "failing",
            written=sum(file.written for file in self._files.values()),
            backlog=len(self._backlog) + torn,
            dropped=self._backlog.dropped,
            error=error,
            warning="; ".join(file.trouble for file in self._files.values() if file.trouble) or None,
            unproven=sum(file.unproven for file in self._files.values()),
        )

    def take_notices(self) -> list[Notice]:
        """Return and forget what happened since the last call, oldest first."""
        with self._lock:
            notices = list(self._notices)
            self._notices.clear()
        return notices

    @property
    def files(self) -> Sequence[RecordFile]:
        """Return the series of this sink, for housekeeping."""
        return tuple(self._files.values())

    def recreated(self, path: str) -> None:
        """Hear that a path was re-created; all that were at once become one notice."""
        self._recreated.append(path)

    def damaged(self, damage: Damage) -> None:
        """Hear that a torn tail was set aside, or could not be; becomes a notice."""
        if damage.error is None:
            message = f"{damage.path} ended in a torn line; it was set aside in {damage.path}.damaged"
        else:
            message = f"not repaired, should it end in a torn line: {damage.error}"
        detail = {"sink": self.name, "bytes": damage.size, "error": damage.error}
        with self._lock:
            self._notices.append(Notice("records.damaged", damage.path, message, detail))

    def accept_folder(self) -> None:
        """Use the directory that stands in place of the one that was lost; may be called from any thread."""
        self.folder.accept()

    def _note_displaced(self, path: str, message: str) -> None:
        with self._lock:
            self._notices.append(Notice("records.displaced", path, message, {"sink": self.name}))

    def _write_again_what_failed(self, mono: float) -> None:
        """Put the lines that a failed fsync made doubtful at the head of the backlog."""
        if not self._ledger.failed or self._closed:
            return
        for series, file in self._files.items():
            rewrite = file.start_over()
            if rewrite is None:
                continue
            self._backlog.dropped += rewrite.forgotten
            self._backlog.put_first(series, rewrite.lines)
            self._rewriting[series] = len(rewrite.lines) + self._rewriting.get(series, 0)
            if not rewrite.lines:
                self._rewriting.pop(series, None)
                file.written_again()
        if self._retry_at is None:
            self._retry_at = mono + self._sync_backoff.next() if self._sync_failing else mono
            self._sync_failing = True

    def _give_up_unsynced(self) -> None:
        """Count as dropped, at the end, what even the last fsync did not bring to disk."""
        for file in self._files.values():
            rewrite = file.start_over()
            if rewrite is not None:
                self._backlog.dropped += len(rewrite.lines) + rewrite.forgotten
            file.close()
        self._ledger.sync()
        self._note_transitions(recovered=False)

    def _each(self, action: Callable[[RecordFile], object]) -> None:
        if self._closed:
            return
        for series, file in self._files.items():
            try:
                action(file)
            except OSError as error:
                self._failed(series, error)
            else:
                self._works(series)

    def _append(self, series: str, lines: Sequence[bytes], wall: float) -> int:
        appended = self._files[series].append(lines, wall)
        if appended.error is not None:
            self._failed(series, appended.error)
        else:
            self._works(series)
        return appended.taken

    def _drain(self, wall: float) -> None:
        for series, file in self._files.items():
            working = True
            while working and (waiting := self._backlog.head(series, _CHUNK)):
                taken = self._append(series, waiting, wall)
                self._backlog.done(series, taken)
                self._count_written_again(series, taken)
                working = taken == len(waiting) and not file.torn
            if working:
                self._append(series, (), wall)
            if not self._backlog.count(series):
                self._count_written_again(series, self._rewriting.get(series, 0))

    def _count_written_again(self, series: str, taken: int) -> None:
        if series not in self._rewriting:
            return
        self._rewriting[series] -= taken
        if self._rewriting[series] <= 0 and not self._files[series].torn:
            del self._rewriting[series]
            self._files[series].written_again()

    def _failed(self, series: str, error: OSError) -> None:
        with self._lock:
            self._errors[series] = explain(error)

    def _works(self, series: str) -> None:
        # A disk may take the rest of a line and then nothing more: it fails as long as records wait.
        if not self._backlog.count(series):
            with self._lock:
                self._errors.pop(series, None)

    def _settle(self, wall: float, mono: float) -> None:
        """End a step: check the other series if one was re-created, plan a retry, report."""
        if self._sync_failing and self._ledger.error is None:
            self._sync_failing = False
            self._sync_backoff.reset()
        if self._recreated:
            self._each(lambda file: file.check(wall))
            self._note_recreated()
        if self._closed:
            self._retry_at = None
        elif not self._errors and not self._rewriting:
            self._backoff.reset()
            self._retry_at = None
        elif self._retry_at is None:
            self._retry_at = mono + self._backoff.next()
        self._note_transitions()

    def _note_recreated(self) -> None:
        paths, self._recreated = sorted(set(self._recreated)), []
        message = f"records in {self.folder.path} were removed or replaced by somebody; new ones were made"
        detail = {"sink": self.name, "paths": paths}
        with self._lock:
            self._notices.append(Notice("records.recreated", self.folder.path, message, detail))

    def _note_transitions(self, *, recovered: bool = True) -> None:
        with self._lock:
            self._transitions.note(self._error(), dropped=self._backlog.dropped, recovered=recovered)

    def _error(self) -> str | None:
        for error in self._errors.values():
            return error
        return self._ledger.error
