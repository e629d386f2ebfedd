"""The snapshot: the last store, for ``coordctl status`` without a daemon, and for the next daemon.

It says where it was written (origin.py), so that one in a project counts only where coordd itself left it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import msgspec

from coordd.protocol.origin import FIELD, origin_of
from coordd.util.directories import OpenDirectory


def write_snapshot(directory: OpenDirectory, name: str, document: Mapping[str, object], *, mode: int) -> None:
    """Replace the snapshot atomically, whatever stands in its place but a directory; durable when this
    returns.

    Raises:
        OSError: it could not be written; the one before is whole.
    """
    body = msgspec.json.encode({**document, FIELD: origin_of(directory.fd)})
    temporary = f"{name}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory.fd)  # a FIFO under that name would never open
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode, dir_fd=directory.fd)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(descriptor)
    os.rename(temporary, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
