"""Keeping the record files bounded: old dates go, closed parts are gzipped, then the oldest go by size.

Runs in a thread of its own, beside the one that writes, for gzipping takes seconds; never touches the part
that is being written to, never follows a link, and touches nothing but what parts.py names. Every run is
complete in itself and begins with what a kill in the run before left behind.

The dates that count are those that exist, so that a clock that runs wild deletes nothing by itself. What
cannot be removed or compressed is a notice, once, and is tried again in every run.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from coordd.parts import Part, parse_part, part_name
from coordd.sinks.base import Notice
from coordd.sinks.compress import compress, finish
from coordd.sinks.regular import explain
from coordd.timestamps import utc_date

log = logging.getLogger(__name__)

_DAMAGED = ".damaged"
_COPY = ".gz.tmp"


@dataclass(frozen=True, slots=True)
class Policy:
    """What may stay, for each type of record.

    ``retention_days``: so many of the newest dates that exist. ``compress_after_days``: a closed part is
    gzipped when so many whole days have passed since its own; 0: once it is closed. ``max_bytes``: all files
    together, with what the current part may still grow to.
    """

    retention_days: int
    compress_after_days: int
    max_bytes: int


class Writer(Protocol):
    """What housekeeping must know of a series' record file (files.py)."""

    @property
    def directory(self) -> str:
        """Where the files are, absolute."""

    @property
    def series(self) -> str:
        """``agent``."""

    @property
    def extension(self) -> str:
        """``jsonl``, without its dot."""

    @property
    def path(self) -> str | None:
        """The current part."""

    @property
    def max_part_bytes(self) -> int:
        """To what size a part may grow."""

    def unless_open(self, path: str, act: Callable[[], None]) -> bool:
        """Do something to a file unless it is being written to; whether it was done."""


@dataclass(slots=True)
class Report:
    """What one run did: files removed and gzipped, bytes freed, what failed for the first time."""

    removed: int = 0
    compressed: int = 0
    freed: int = 0
    notices: list[Notice] = field(default_factory=list)


@dataclass(frozen=True, slots=True, order=True)
class _File:
    part: Part
    name: str
    size: int


class Housekeeper:
    """Applies a :class:`Policy` to series of record files; ``policy`` may be set at any time."""

    def __init__(self, *, writers: Sequence[Writer], policy: Policy) -> None:
        self._writers = writers
        self.policy = policy
        self._failed: set[tuple[str, str]] = set()

    def run(self, wall: float) -> Report:
        """One round over all series; blocks for as long as gzip takes, raises nothing for a bad file.

        Args:
            wall: epoch seconds, for the age of parts.
        """
        _be_nice()
        report = Report()
        failures: dict[tuple[str, str], str] = {}
        for writer in self._writers:
            _Series(writer, self.policy, utc_date(wall), report, failures).run()
        for (path, what), reason in failures.items():
            if (path, what) not in self._failed:
                message = f"{path} cannot be {what}: {reason}"
                report.notices.append(Notice("housekeeping.failed", path, message, {"error": reason}))
        self._failed = set(failures)
        if report.removed or report.compressed:
            log.info(
                "record files: %d gzipped, %d removed, %d bytes freed",
                report.compressed,
                report.removed,
                report.freed,
            )
        return report


class _Series:
    """One round over one series."""

    def __init__(
        self,
        writer: Writer,
        policy: Policy,
        today: str,
        report: Report,
        failures: dict[tuple[str, str], str],
    ) -> None:
        self._writer = writer
        self._policy = policy
        self._today = today
        self._report = report
        self._failures = failures

    def run(self) -> None:
        directory = self._writer.directory
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return
        except OSError as error:
            self._fail(directory, "listed", explain(error))
            return
        for name in names:
            self._drop_stale_copy(name)
        self._drop_old_dates()
        self._compress()
        self._drop_to_size()

    def _files(self) -> list[_File]:
        """What belongs to the series, oldest first, with what was set aside as damaged."""
        return sorted(self._found())

    def _found(self) -> Iterator[_File]:
        with suppress(OSError):
            for name in os.listdir(self._writer.directory):
                part = self._part(name.removesuffix(_DAMAGED))
                if part is None:
                    continue
                with suppress(FileNotFoundError):
                    status = os.lstat(self._path(name))
                    if stat.S_ISREG(status.st_mode):
                        yield _File(part, name, status.st_size)

    def _part(self, name: str) -> Part | None:
        return parse_part(name, self._writer.series, self._writer.extension)

    def _path(self, name: str) -> str:
        return os.path.join(self._writer.directory, name)

    def _is_current(self, file: _File) -> bool:
        return self._path(file.name) == self._writer.path

    def _drop_stale_copy(self, name: str) -> None:
        """A copy that a killed run did not finish."""
        part = self._part(name[1 : -len(_COPY)]) if name.startswith(".") and name.endswith(_COPY) else None
        if part is None or part.compressed:
            return
        path = self._path(name)
        try:
            if stat.S_ISREG(os.lstat(path).st_mode):
                os.unlink(path)
        except OSError as error:
            self._fail(path, "removed", explain(error))

    def _drop_old_dates(self) -> None:
        files = self._files()
        kept = set(sorted({file.part.date for file in files})[-self._policy.retention_days :])
        for file in files:
            if file.part.date not in kept and not self._is_current(file):
                self._drop(file)

    def _compress(self) -> None:
        files = self._files()
        names = {file.name for file in files}
        for file in files:
            part = file.part
            if file.name.endswith(_DAMAGED) or part.compressed or self._is_current(file):
                continue
            twin = part_name(
                self._writer.series, Part(part.date, part.number, compressed=True), self._writer.extension
            )
            try:
                if twin in names and not self._finish(file):
                    continue
                # a file that cannot stay need not be compressed: nothing of ours is that large
                if self._is_due(part) and file.size <= self._policy.max_bytes:
                    self._compress_one(file)
            except FileNotFoundError:  # somebody was faster
                continue
            except OSError as error:
                self._fail(self._path(file.name), "compressed", explain(error))

    def _finish(self, file: _File) -> bool:
        """Whether the plain file is still there, and alone."""
        path = self._path(file.name)
        if finish(path, self._remove):
            return os.path.lexists(path) and not os.path.lexists(f"{path}.gz")
        self._fail(path, "compressed", "it is there gzipped too, and each holds something of its own")
        return False

    def _compress_one(self, file: _File) -> None:
        path = self._path(file.name)
        if compress(path, self._remove):
            self._report.compressed += 1
            with suppress(OSError):
                self._report.freed += file.size - os.lstat(f"{path}.gz").st_size

    def _is_due(self, part: Part) -> bool:
        try:
            days = (date.fromisoformat(self._today) - date.fromisoformat(part.date)).days
        except ValueError:  # 2026-13-45: a name like ours
            return False
        return max(0, days - 1) >= self._policy.compress_after_days

    def _drop_to_size(self) -> None:
        files = self._files()
        current = sum(file.size for file in files if self._is_current(file))
        room = self._policy.max_bytes - max(current, min(self._writer.max_part_bytes, self._policy.max_bytes))
        closed = [file for file in files if not self._is_current(file)]
        used = sum(file.size for file in closed)
        for file in closed:
            if used <= room:
                return
            if self._drop(file):
                used -= file.size

    def _drop(self, file: _File) -> bool:
        path = self._path(file.name)
        try:
            gone = self._remove(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            self._fail(path, "removed", explain(error))
            return False
        if gone:
            self._report.removed += 1
            self._report.freed += file.size
        return gone

    def _remove(self, path: str) -> bool:
        return self._writer.unless_open(path, lambda: os.unlink(path))

    def _fail(self, path: str, what: str, reason: str) -> None:
        self._failures[path, what] = reason


def _be_nice() -> None:
    """Give way to the threads that record and answer. On Linux a thread has a nice value of its own."""
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
