"""Keep the record files bounded: go over all series, one after the other, and report what failed.

Runs in a thread of its own, because gzipping takes seconds. What is done with one series is in
series_housekeeping.py. What cannot be removed or compressed is reported once, and tried again in every run.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from coordd.sinks.base import Notice
from coordd.sinks.content_verdicts import ContentVerdicts
from coordd.sinks.retention import Policy
from coordd.sinks.series_housekeeping import Report, SeriesRound, SeriesWriter
from coordd.util.regular_files import explain
from coordd.util.timestamps import utc_date

log = logging.getLogger(__name__)


class Housekeeper:
    """Apply a :class:`Policy` to series of record files; ``policy`` may be set at any time."""

    def __init__(self, *, writers: Sequence[SeriesWriter], policy: Policy) -> None:
        self._writers = writers
        self.policy = policy
        self._failed: set[tuple[str, str]] = set()
        self._verdicts = ContentVerdicts()

    def run(self, wall: float, *, doubtful: bool = False) -> Report:
        """Go over all series once; blocks for as long as gzip takes, and raises nothing for a bad file.

        Args:
            wall: epoch seconds, for the age of parts.
            doubtful: the clock was set far since coordd started, so today must not evict a true day.
        """
        _be_nice()
        report = Report()
        failures: dict[tuple[str, str], str] = {}
        for writer in self._writers:
            try:
                folder = writer.folder.take()
            except OSError as error:
                failures[writer.folder.path, "opened"] = explain(error)
                continue
            if folder is None:
                continue
            try:
                SeriesRound(
                    writer,
                    folder,
                    self.policy,
                    utc_date(wall),
                    doubtful=doubtful,
                    verdicts=self._verdicts,
                    report=report,
                    failures=failures,
                ).run()
            finally:
                folder.close()
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


def _be_nice() -> None:
    """Lower this thread's priority, below those that record and answer (on Linux each thread has its own)."""
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
