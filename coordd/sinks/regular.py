"""Opening and linking record files without falling for what may stand in their place.

A FIFO, a device, a link to somebody's secrets under the name of a record file is an error in words, and is
never followed, waited for, written to or replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: str, flags: int, *, mode: int | None = None) -> tuple[int, bool]:
    """Open a regular file, and where ``mode`` is given make one that is missing, with exactly that mode.

    Returns:
        The descriptor, and whether the file was made.

    Raises:
        OSError: with ``filename``; what stands there is no regular file, or as open(2) tells.
    """
    if mode is not None:
        with contextlib.suppress(FileExistsError):
            made = os.open(path, flags | os.O_CREAT | os.O_EXCL | _SAFE, mode)
            try:
                os.fchmod(made, mode)
            except BaseException:
                os.close(made)
                raise
            return made, True
    try:
        descriptor = os.open(path, flags | _SAFE)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}:
            raise _surprise(path, "a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _surprise(path, "a regular file")
    return descriptor, False


def point(link: str, target: str) -> bool:
    """Make the symlink ``link`` lead to ``target``, a name in the same directory, in one step for any reader.

    Returns:
        Whether it had to be changed.

    Raises:
        OSError: with ``filename``; something that is no symlink stands there, or as symlink(2) and
            rename(2) tell.
    """
    try:
        if os.readlink(link) == target:
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise _surprise(link, "a symlink") from error
        raise
    directory, name = os.path.split(link)
    temporary = os.path.join(directory, f".{name}.tmp")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISLNK(os.lstat(temporary).st_mode):
            raise _surprise(temporary, "a symlink")
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, link)
    return True


def explain(error: OSError) -> str:
    """An OSError in words with the path it is about, without Python's ``[Errno …]``."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _surprise(path: str, expected: str) -> OSError:
    return OSError(errno.EEXIST, f"not {expected}, and coordd does not touch it; move it away", path)
