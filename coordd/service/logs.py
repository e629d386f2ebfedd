"""Log one line for each record to stderr, without control characters.

Only a traceback takes more lines. A line break in a message is escaped like any other control character: it
came from a stranger, who must not be able to make lines that look like coordd's.

Times are local, with their distance from UTC: people read them beside their clock.

Under systemd (``JOURNAL_STREAM`` set and stderr is that stream, systemd.exec(5)) lines carry the priority
that sd-daemon(3) defines, and no time of their own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from coordd.util.log_limit import Limited
from coordd.util.log_lines import PRIORITIES, LogLines, to_journal


def for_journal(text: str, environ: Mapping[str, str]) -> str:
    """Return a program's last lines, with the priority of errors where they go to the journal."""
    if not to_journal(environ):
        return text
    return "\n".join([PRIORITIES["ERROR"] + line for line in text.splitlines()])


def set_up(
    level: str,
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    mode: int = 0o600,
    root: str | None = None,
) -> None:
    """Set up logging from ``level`` on, to stderr or to a rotating ``file``, made with ``mode``.

    Below ``root``, a project's directory, no link on the way to the file is followed.

    Raises:
        StartError: the file cannot be opened.
    """
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LogLines(journal=to_journal(environ)))
    else:
        from coordd.service.log_file import LogFile

        handler = LogFile(file, mode=mode, root=root)
        handler.setFormatter(LogLines(journal=False))
        logging.raiseExceptions = False  # on a full disk there is nowhere to report it
    logging.getLogger().handlers[:] = [Limited(handler)]
    set_level(level)


def set_level(level: str) -> None:
    """Change the least level that is logged."""
    logging.getLogger().setLevel(level.upper())
