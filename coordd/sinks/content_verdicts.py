"""Remember what the content of record files has shown, so that an unchanged file is read only once.

adopting.py reads the lines and decides; a file counts as unchanged while its inode, size and time of writing
are the same.
"""

from __future__ import annotations

import os

from coordd.records.provenance import first_line
from coordd.sinks.adopting import only_records, written_by_coordd


class ContentVerdicts:
    """Decide by their content, once for each, whether files are coordd's."""

    def __init__(self) -> None:
        self._others: set[tuple[int, ...]] = set()
        self._pure: set[tuple[int, ...]] = set()

    def first_line_if_own(self, descriptor: int, series: str, *, compressed: bool) -> bytes | None:
        """Return the first line of an open file of which every line shows that coordd wrote it.

        Returns:
            None where a line does not show it, or where the first one is not whole.

        Raises:
            OSError: it cannot be read.
        """
        seen = _stamp(descriptor)
        if seen in self._others:
            return None
        if written_by_coordd(descriptor, series, compressed=compressed):
            os.lseek(descriptor, 0, os.SEEK_SET)
            line, whole = first_line(descriptor, compressed=compressed)
            return line if whole else None
        self._others.add(seen)
        return None

    def has_only_records(self, descriptor: int, series: str, *, compressed: bool, damaged: bool) -> bool:
        """Return whether an open file holds no lines of others; see adopting.only_records.

        Raises:
            OSError: it cannot be read.
        """
        seen = _stamp(descriptor)
        if seen in self._pure:
            return True
        if only_records(descriptor, series, compressed=compressed, damaged=damaged):
            self._pure.add(seen)
            return True
        return False


def _stamp(descriptor: int) -> tuple[int, ...]:
    status = os.fstat(descriptor)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
