"""A log file that rotates itself, for where no journal takes the lines: a classic daemon, launchd.

Full is full: what cannot be written is lost silently, for there is nowhere to say so, and logging must never
end a daemon. The file is opened as record files are: never through a link, never one that is no regular file.
"""

from __future__ import annotations

import io
import os
from logging.handlers import RotatingFileHandler

from coordd.config import Config
from coordd.directories import ensure_directory
from coordd.errors import StartError
from coordd.layout import Layout, check_project_directories
from coordd.places import Rights
from coordd.sinks.regular import explain, open_regular

MAX_BYTES = 10 * 1024 * 1024
KEPT = 5
"""Files beside the current one: coordd.log.1 is the youngest."""


def default_log_file(layout: Layout, config: Config) -> str:
    """``coordd.log`` in the log directory, which is made as the daemon would make it.

    Raises:
        StartError: the directory cannot be had.
    """
    check_project_directories(layout)
    rights = Rights.of(layout, config)
    path = config.storage.log_dir
    inside = rights.root is not None and path.startswith(rights.root + os.sep)
    try:
        ensure_directory(path, mode=rights.directory, gitignore=inside, root=rights.root if inside else None)
    except OSError as error:
        raise StartError(f"the directory {path} cannot be made: {explain(error)}") from error
    return os.path.join(path, "coordd.log")


class LogFile(RotatingFileHandler):
    """The handler; the file is opened at once.

    Raises:
        StartError: the file cannot be opened.
    """

    def __init__(self, path: str, *, mode: int) -> None:
        self._mode = mode
        try:
            super().__init__(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
        except OSError as error:
            raise StartError(
                f"the log file cannot be opened: {explain(error)}. Name another one with --log-file."
            ) from error

    def _open(self) -> io.TextIOWrapper:
        descriptor, _ = open_regular(self.baseFilename, os.O_WRONLY | os.O_APPEND, mode=self._mode)
        # Nothing is held back: what a full disk refused would fail again at the next rotation, and for good.
        raw = io.FileIO(descriptor, "a")
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
