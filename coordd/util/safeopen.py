"""Opening record files without falling for what may stand in their place.

A FIFO, a device, a link to somebody's secrets under the name of a record file is an error in words, and is
never followed, waited for, written to or replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat

SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(
    path: str, flags: int, *, mode: int | None = None, folder: int | None = None, shown: str | None = None
) -> tuple[int, bool]:
    """Open a regular file, and where ``mode`` is given make one that is missing, with exactly that mode.

    Args:
        path: of the file; with ``folder`` its name there.
        flags: as open(2) takes them.
        mode: permission bits of a file that has to be made.
        folder: descriptor of the directory it lies in.
        shown: what the file is called in errors; by default ``path``.

    Returns:
        The descriptor, and whether the file was made.

    Raises:
        OSError: with ``filename``; what stands there is no regular file, or as open(2) tells.
    """
    shown = shown or path
    if mode is not None:
        with contextlib.suppress(FileExistsError):
            made = _open(path, flags | os.O_CREAT | os.O_EXCL, mode, folder, shown)
            try:
                os.fchmod(made, mode)
            except BaseException:
                os.close(made)
                raise
            return made, True
    try:
        descriptor = _open(path, flags, 0, folder, shown)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}:
            raise surprise(shown, "a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise surprise(shown, "a regular file")
    return descriptor, False


def explain(error: OSError) -> str:
    """An OSError in words with the path it is about, without Python's ``[Errno …]``."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def surprise(path: str, expected: str) -> OSError:
    """The error for something else that stands under a name of coordd's."""
    quoted = shlex.quote(path)
    reason = f"not {expected}, and coordd does not touch it; move it away: mv {quoted} {quoted}.other"
    return OSError(errno.EEXIST, reason, path)


def _open(path: str, flags: int, mode: int, folder: int | None, shown: str) -> int:
    try:
        return os.open(path, flags | SAFE, mode, dir_fd=folder)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, shown) from None
