"""Read the last run's snapshot: bounded, and in a project without following a link.

In a project it counts only where coordd itself left it; see protocol/origin.py.
"""

from __future__ import annotations

import errno
import os

import msgspec

from coordd.protocol.origin import origin_problem
from coordd.util.directories import open_directory, root_of
from coordd.util.regular_files import read_owned

MAX_BYTES = 64 * 1024 * 1024


class _Origin(msgspec.Struct, frozen=True):
    origin: msgspec.Raw = msgspec.Raw(b"null")


def read_snapshot(path: str, *, root: str | None) -> bytes:
    """Return the file's content, whose outermost object is valid JSON.

    Args:
        path: of the snapshot.
        root: a project's canonical path; a snapshot below it must name this machine and its own folder.

    Raises:
        FileNotFoundError: there is no snapshot.
        OSError: it cannot be read, is damaged, or came from elsewhere; ``strerror`` says which.
    """
    folder, name = os.path.split(path)
    with open_directory(folder, root=root) as directory:
        data, owner = read_owned(name, MAX_BYTES, directory=directory.fd)
        try:
            origin = msgspec.json.decode(msgspec.json.decode(data, type=_Origin).origin)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise OSError(errno.EINVAL, f"it is damaged ({error})", path) from None
        problem = origin_problem(origin, directory.fd, owner=owner) if root_of(path, root) else None
    if problem is not None:
        raise OSError(errno.EINVAL, f"{problem}; only coordd's own is believed", path)
    return data
