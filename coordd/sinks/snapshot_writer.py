"""Write the snapshot: what the daemon knows, for ``coordctl status`` without a daemon, and for the next one.

It says where it was written (protocol/origin.py), so that in a project only coordd's own snapshot counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping

import msgspec

from coordd.protocol.origin import FIELD, origin_of
from coordd.util.directories import OpenDirectory
from coordd.util.regular_files import make_file, open_file

_TELLING = len(b'{"schema":')
_MOST_ASIDE = 100


def write_snapshot(
    directory: OpenDirectory, name: str, document: Mapping[str, object], *, mode: int, durable: bool = True
) -> None:
    """Replace the snapshot atomically; it is on disk when this returns, if it is to be ``durable``.

    Otherwise a power loss may leave a damaged one, which is passed over: the records say the same.

    Anything but a directory that has its name is replaced. A file that does not begin like a snapshot is not
    coordd's, or is damaged: it is kept, as ``snapshot.json.aside``.

    Raises:
        OSError: the snapshot could not be written; the one before is whole.
    """
    body = msgspec.json.encode({**document, FIELD: origin_of(directory.fd)})
    temporary = f"{name}.tmp"
    for taken in (temporary, name):
        _keep_a_strangers(directory.fd, taken, begins=body[:_TELLING])
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory.fd)  # a FIFO under that name would never open
    descriptor = make_file(temporary, mode=mode, directory=directory.fd)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        if durable:
            os.fsync(descriptor)
    os.rename(temporary, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)


def _keep_a_strangers(folder: int, name: str, *, begins: bytes) -> None:
    """Rename a regular file with content of another kind to the next free name with ``.aside``.

    Raises:
        OSError: it cannot be had out of the way; it is as it was.
    """
    try:
        descriptor = open_file(name, directory=folder)
    except FileNotFoundError:
        return
    except OSError:  # not a regular file, which has nothing to lose, or not readable
        return
    try:
        found = os.read(descriptor, len(begins))
    finally:
        os.close(descriptor)
    if begins.startswith(found):
        return
    for number in range(1, _MOST_ASIDE):
        aside = f"{name}.aside" if number == 1 else f"{name}.{number}.aside"
        try:
            os.stat(aside, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            return
    raise OSError(errno.EEXIST, f"{name} is not coordd's, and no name is left to keep it under", name)
