"""Open a record file that another process writes, rotates and removes."""

from __future__ import annotations

import os
import stat

from coordd.errors import CannotTell
from coordd.util.text import escape


def open_regular(path: str) -> int | None:
    """Return a descriptor to read from; None if there is no regular file.

    Raises:
        CannotTell: the file exists and may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise CannotTell(f"{escape(path)}: {error.strerror}") from error
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
