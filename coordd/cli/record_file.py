"""Open a record file that another process writes, rotates and removes."""

from __future__ import annotations

from coordd.errors import CannotTell
from coordd.util.regular_files import open_if_regular
from coordd.util.text import escape


def open_regular(path: str) -> int | None:
    """Return a descriptor to read from; None if there is no regular file.

    Raises:
        CannotTell: the file exists and may not be read.
    """
    try:
        return open_if_regular(path)
    except PermissionError as error:
        raise CannotTell(f"{escape(path)}: {error.strerror}") from error
    except OSError:
        return None
