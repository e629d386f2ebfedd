"""Read the last lines of a gzipped part, for a ``tail -n`` that reaches so far back.

A gzipped part never grows. It is read twice, once to count its lines and once to return them, so that memory
stays bounded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coordd.cli.record_file import open_regular
from coordd.records.blocks import UnreadableCount, gunzipped

if TYPE_CHECKING:
    from collections.abc import Iterator


class Archive:
    """One open gzipped part; the counterpart of :class:`~coordd.cli.follow.OpenPart`.

    Args:
        path: of the file, for errors.
        descriptor: open for reading; this object closes it.
        header: the bytes with which a CSV heading begins.
    """

    def __init__(self, path: str, descriptor: int, header: bytes) -> None:
        self.path = path
        self._descriptor = descriptor
        self._header = header
        self._skip = 0

    @classmethod
    def open(cls, path: str, header: bytes) -> Archive | None:
        """Open the archive at ``path``; None if it is gone or not a regular file.

        Raises:
            CannotTell: it exists and may not be read.
        """
        descriptor = open_regular(path)
        return None if descriptor is None else cls(path, descriptor, header)

    def close(self) -> None:
        """Close the file; whoever opened it calls this once."""
        os.close(self._descriptor)

    def heading(self) -> bytes:
        """Return the CSV heading with its line break; empty if there is none."""
        for block in self._blocks():
            if block:
                first = block[: block.find(b"\n") + 1]
                return first if first.startswith(self._header) else b""
        return b""

    def seek_back(self, wanted: int) -> int:
        """Let :meth:`lines` begin with the last ``wanted`` lines; return how many there are."""
        heading = 1 if self.heading() else 0
        total = sum(block.count(b"\n") for block in self._blocks()) - heading
        self._skip = heading + max(0, total - wanted)
        return min(total, wanted)

    def lines(self) -> Iterator[bytes]:
        """Yield blocks of whole lines."""
        skip = self._skip
        for block in self._blocks():
            here = block.count(b"\n")
            if skip < here:
                at = 0
                for _ in range(skip):
                    at = block.find(b"\n", at) + 1
                yield block[at:]
            skip = max(0, skip - here)

    def _blocks(self) -> Iterator[bytes]:
        for buffer, size in gunzipped(self._descriptor, UnreadableCount()):
            yield bytes(buffer[:size])
