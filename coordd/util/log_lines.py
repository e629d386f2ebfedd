"""Write one line for each log record, without control characters; service/logs.py has the reasons."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from coordd.util.local_times import local_stamp
from coordd.util.text import escape

PRIORITIES = {"CRITICAL": "<2>", "ERROR": "<3>", "WARNING": "<4>", "INFO": "<6>", "DEBUG": "<7>"}
"""What sd-daemon(3) puts before a line for the journal."""


class LogLines(logging.Formatter):
    """Format records; for the journal with their priority and no time, else with the local time."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record: only a traceback takes more than one."""
        lines = [escape(record.getMessage())]
        if record.exc_info:
            lines += [escape(line) for line in self.formatException(record.exc_info).split("\n")]
        if self._journal:
            head = PRIORITIES.get(record.levelname, "<6>")
            return "\n".join(head + line for line in lines)
        head = f"{local_stamp(record.created)} {record.levelname.lower():8} "
        return "\n".join([head + lines[0], *(" " * len(head) + line for line in lines[1:])])


def to_journal(environ: Mapping[str, str], descriptor: int = 2) -> bool:
    """Return whether output to the descriptor goes to the journal (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        state = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{state.st_dev}:{state.st_ino}"
