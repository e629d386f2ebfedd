"""Log to a file that rotates itself, where there is no journal: a classic daemon, launchd.

Lines that do not fit on a full disk are lost silently: there is nowhere to say so, and logging must never end
the daemon. The file is opened as record files are: not through a link, only a regular file, in a directory
that is held open. A ``coordd.log`` or ``coordd.log.3`` that coordd did not make (records/provenance.py) is
neither written, renamed nor removed; the next name is used. Only a file named with ``--log-file`` is used as
it is.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from logging.handlers import RotatingFileHandler

from coordd.config.build import Config
from coordd.config.layout import Layout, check_project_directories
from coordd.config.rights import Rights
from coordd.errors import StartError
from coordd.records import manifest, manifest_file
from coordd.records.manifest import ManifestClaims
from coordd.records.provenance import first_line, proven, proves
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.util.directories import OpenDirectory, open_directory
from coordd.util.local_times import local_stamp
from coordd.util.regular_files import explain

MAX_BYTES = 10 * 1024 * 1024
KEPT = 5
"""Old files that are kept; coordd.log.1 is the youngest."""
_MOST_NAMES = 100


def default_log_file(layout: Layout, config: Config) -> str:
    """Return the path of ``coordd.log`` in the log directory, which is made as the daemon would make it.

    Where somebody else's file has that name, ``coordd.2.log``, and so on.

    Raises:
        StartError: the directory cannot be made, or its manifest cannot be read.
    """
    check_project_directories(layout)
    rights = Rights.of(layout, config)
    path = config.storage.log_dir
    held = HeldFolder.of(path, rights)
    try:
        folder = held.folder()
        claims = held.claims(folder)
        for number in range(1, _MOST_NAMES):
            name = "coordd.log" if number == 1 else f"coordd.{number}.log"
            if not folder.exists(name) or proves(claims, folder.fd, name):
                return os.path.join(path, name)
    except OSError as error:
        raise StartError(f"the directory {path} cannot be made: {explain(error)}") from error
    finally:
        held.close()
    raise StartError(f"no name is left for a log file in {path}: name one with --log-file")


class LogFile(RotatingFileHandler):
    """Handle log records by writing them to a file, which is opened at once.

    Args:
        path: of the file; its directory must exist.
        mode: permission bits of the files.
        root: below it no link is followed on the way to the directory; see open_directory.

    Raises:
        StartError: the file cannot be opened.
    """

    def __init__(self, path: str, *, mode: int, root: str | None = None) -> None:
        self._mode = mode
        self._file = os.path.basename(path)
        try:
            self._directory = self._open_directory(os.path.dirname(os.path.abspath(path)), root)
            self._root = root
            super().__init__(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
        except OSError as error:
            raise StartError(
                f"the log file cannot be opened: {explain(error)}. Name another one with --log-file."
            ) from error

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - the base class's name
        """Return whether the file is full; first follow its directory if that was replaced."""
        if not self._directory.in_place():
            with contextlib.suppress(OSError):
                self._move()
        return int(super().shouldRollover(record))

    def doRollover(self) -> None:  # noqa: N802 - the base class's name
        """Make the file the youngest old one, leave other people's files alone, and begin a new one."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        with contextlib.suppress(OSError):
            self._shift()
        self.stream = self._open()

    def close(self) -> None:
        """Close the file and its directory."""
        super().close()
        self._directory.close()

    @property
    def _folder(self) -> Folder:
        return Folder(self._directory.path, self._directory.fd)

    @staticmethod
    def _open_directory(path: str, root: str | None) -> OpenDirectory:
        return open_directory(path, root=root)

    def _move(self) -> None:
        """Go on in the directory that has the name now; in a project a link is not followed."""
        opened = self._open_directory(self._directory.path, self._root)
        old, self._directory = self._directory, opened
        old.close()
        if self.stream is not None:
            self.stream.close()
        self.stream = self._open()

    def _open(self) -> io.TextIOWrapper:
        folder = self._folder
        data = manifest_file.read(folder.fd, folder.path) or b""
        claims = ManifestClaims.parse(data)
        begins = folder.regular(self._file)
        first = f"{local_stamp(time.time())} info     the log of coordd, pid {os.getpid()}, begins".encode()
        if begins is None or begins.st_size == 0:
            self._announce(first)
        descriptor, _ = folder.open(self._file, os.O_RDWR | os.O_APPEND, mode=self._mode)
        try:
            if os.fstat(descriptor).st_size == 0:
                with contextlib.suppress(OSError):  # a full disk
                    os.write(descriptor, first + b"\n")
            elif not proven(claims, descriptor, self._file):  # --log-file named it
                self._announce(first_line(descriptor, compressed=False)[0])
        except BaseException:
            os.close(descriptor)
            raise
        # Unbuffered: what a full disk refused would fail again at the next rotation, and every one after it.
        raw = io.FileIO(descriptor, "a")
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)

    def _announce(self, line: bytes) -> None:
        """Announce the file in the manifest; where that fails (a full disk), the file is never removed."""
        with contextlib.suppress(OSError):
            folder = self._folder
            manifest_file.append(
                folder.fd, manifest.announcement(self._file, line), mode=self._mode, shown=folder.path
            )

    def _shift(self) -> None:
        folder = self._folder
        claims = ManifestClaims.parse(manifest_file.read(folder.fd, folder.path) or b"")
        if not self._is_ours(folder, self._file, claims):
            # Somebody replaced it: theirs stays.
            raise FileExistsError(self._file)
        free: list[str] = []
        for number in range(1, _MOST_NAMES):
            name = f"{self._file}.{number}"
            if not folder.exists(name) or self._is_ours(folder, name, claims):
                free.append(name)
            if len(free) == KEPT:
                break
        if not free:
            return
        if folder.exists(free[-1]):
            folder.unlink(free[-1])
        for older, younger in zip(reversed(free), reversed([self._file, *free[:-1]]), strict=True):
            if folder.exists(younger):
                folder.move(younger, older)

    def _is_ours(self, folder: Folder, name: str, claims: ManifestClaims) -> bool:
        """Return whether a file begins as one of coordd's log files did, whatever number it has by now."""
        try:
            descriptor, _ = folder.open(name, os.O_RDONLY)
        except OSError:
            return False
        try:
            return proven(claims, descriptor, self._file)
        finally:
            os.close(descriptor)
