"""Leave word of a running daemon, for ``coordctl daemons``: a file while it runs (protocol/registry.py).

A folder that cannot be written costs the entry in that list, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Mapping

from coordd.protocol.registry import file_name
from coordd.util.directories import OpenDirectory, open_directory
from coordd.util.regular_files import make_file, write_all

log = logging.getLogger(__name__)

_FILE_MODE = 0o600


class Registration:
    """Keep the daemon's file in ``folder``, from :meth:`write` to :meth:`close`.

    ``socket``, ``layout``, ``root`` (the project, None elsewhere) and ``start`` (further fields: how to start
    it again) are what clients are told.
    """

    def __init__(
        self,
        *,
        folder: str,
        socket: str,
        layout: str,
        root: str | None,
        start: Mapping[str, object] | None = None,
    ) -> None:
        self._folder = folder
        self._name = file_name(socket)
        self._about = {"socket": socket, "layout": layout, "root": root, "pid": os.getpid(), **(start or {})}
        self._identity: tuple[int, int] | None = None
        self._failed = False

    def write(self) -> None:
        """Make the file, where it is not in its place; may be called again and again."""
        try:
            with open_directory(self._folder, make=True, mode=0o700) as directory:
                if self._identity is None or self._identity != _identity(self._name, directory):
                    self._make(directory)
        except (OSError, ValueError) as error:
            if not self._failed:
                why = getattr(error, "strerror", None) or error
                log.info("'coordctl daemons' will not list this coordd: %s: %s", self._folder, why)
            self._failed = True

    def close(self) -> None:
        """Remove the file, unless another daemon has replaced it."""
        identity, self._identity = self._identity, None
        if identity is None:
            return
        with contextlib.suppress(OSError), open_directory(self._folder) as directory:
            if _identity(self._name, directory) == identity:
                os.unlink(self._name, dir_fd=directory.fd)

    def _make(self, directory: OpenDirectory) -> None:
        temporary = f".{self._name}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory.fd)
        descriptor = make_file(temporary, mode=_FILE_MODE, directory=directory.fd)
        try:
            write_all(descriptor, json.dumps(self._about).encode() + b"\n", self._name)
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, self._name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
        self._identity = (status.st_dev, status.st_ino)


def _identity(name: str, directory: OpenDirectory) -> tuple[int, int] | None:
    try:
        status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
