"""Read the last lines of a series of record files, then follow it across rotation.

The parts are ``SERIES_2026-11-22.EXT``, ``SERIES_2026-11-22.2.EXT`` and so on, in the order in which they
were begun (records/ages.py): a clock that ran ahead for a while leaves dates in the future. Old parts are
gzipped (archive.py). The directory's listing decides; the symlink to the current part is not used. Only whole
lines are ever returned. Memory is bounded by the block size and the longest
line, whatever the files hold.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from coordd.cli.archive import Archive
from coordd.cli.record_file import open_regular
from coordd.errors import CannotTell
from coordd.records.ages import Age, ages_of
from coordd.records.backwards import blocks_backwards, whole_end
from coordd.records.files import claims_of
from coordd.records.names import Part, parse_part
from coordd.util.text import escape
from coordd.util.timestamps import utc_date

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 64 * 1024
MAX_LINE = 16 * 1024 * 1024
HEADER = b"TIMESTAMP,"
"""The bytes with which a CSV heading begins; it is returned once, not once for each part."""

_Key = tuple[Age, str, int]


class Series:
    """The parts of one kind of record in one directory."""

    def __init__(self, directory: str, name: str, extension: str) -> None:
        self.directory = directory
        self.name = name
        self.extension = extension

    def parts(self) -> list[tuple[_Key, str]]:
        """Return the keys and paths of all plain parts, oldest first.

        Raises:
            CannotTell: the directory exists and cannot be read.
        """
        return self._listed("")

    def archives(self) -> list[tuple[_Key, str]]:
        """Return the keys and paths of all gzipped parts, oldest first.

        Raises:
            CannotTell: as :meth:`parts`.
        """
        return self._listed(".gz")

    def _listed(self, suffix: str) -> list[tuple[_Key, str]]:
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise CannotTell(f"{escape(self.directory)}: {error.strerror or error}") from error
        parts = [(name, part) for name in names if (part := self._part(name)) is not None]
        ages = ages_of(parts, claims_of(self.directory), utc_date(time.time()))
        return sorted(
            ((ages[name], part.date, part.number), os.path.join(self.directory, name))
            for name, part in parts
            if part.compressed == bool(suffix)
        )

    def _part(self, name: str) -> Part | None:
        return parse_part(name, self.name, self.extension)


class OpenPart:
    """One open part, and the ``offset`` up to which it was returned, always the start of a line."""

    def __init__(self, key: _Key, path: str, descriptor: int) -> None:
        self.key = key
        self.path = path
        self.offset = 0
        self._descriptor = descriptor
        self._status = os.fstat(descriptor)

    @classmethod
    def open(cls, key: _Key, path: str) -> OpenPart | None:
        """Open the part at ``path``; None if it is gone or not a regular file.

        Raises:
            CannotTell: it exists and may not be read.
        """
        descriptor = open_regular(path)
        return None if descriptor is None else cls(key, path, descriptor)

    def close(self) -> None:
        """Close the file; whoever opened it calls this once."""
        os.close(self._descriptor)

    def identity(self) -> tuple[int, int]:
        """Return device and inode, which tell this file from another file at the same path."""
        return self._status.st_dev, self._status.st_ino

    def heading(self) -> bytes:
        """Return the CSV heading with its line break; empty if there is none."""
        start = os.pread(self._descriptor, 4096, 0)
        end = start.find(b"\n")
        return start[: end + 1] if start.startswith(HEADER) and end >= 0 else b""

    def lines(self, end: int | None = None) -> Iterator[bytes]:
        """Yield blocks of whole lines from ``offset`` to ``end``, or to the last whole line.

        Raises:
            CannotTell: a line longer than MAX_LINE.
        """
        want = BLOCK
        while end is None or self.offset < end:
            block = os.pread(
                self._descriptor, want if end is None else min(want, end - self.offset), self.offset
            )
            whole = block.rfind(b"\n") + 1
            if whole:
                self.offset += whole
                want = BLOCK
                yield block[:whole]
            elif len(block) < want:
                return
            elif want >= MAX_LINE:
                raise CannotTell(f"{escape(self.path)}: a line of more than {MAX_LINE} bytes.")
            else:
                want *= 4

    def whole_end(self) -> int:
        """Return the offset at which the last whole line ends."""
        return whole_end(self._descriptor)

    def seek_back(self, wanted: int, end: int) -> int:
        """Set ``offset`` to the start of the last ``wanted`` lines before ``end``; return their number."""
        floor = len(self.heading())
        breaks = 0
        for start, block in blocks_backwards(self._descriptor, floor, end):
            here = block.count(b"\n")
            if breaks + here > wanted:
                at = len(block)
                for _ in range(wanted + 1 - breaks):
                    at = block.rfind(b"\n", 0, at)
                self.offset = start + at + 1
                return wanted
            breaks += here
        self.offset = floor
        return breaks


class Follower:
    """Return the last lines of a series, then at each call the lines that were added.

    Every part is checked, not only the newest: after the wall clock was stepped back an older part grows. The
    part that grew last stays open, since its directory may be removed before all of it was returned.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self._part: OpenPart | None = None
        self._given: dict[str, tuple[tuple[int, int], int]] = {}  # path → identity, bytes already returned
        self._heading_given = False

    def close(self) -> None:
        """Close the open part."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def last(self, wanted: int) -> Iterator[bytes]:
        """Yield the last ``wanted`` lines, across as many parts as needed, gzipped ones too."""
        chosen: list[tuple[OpenPart, int] | Archive] = []
        archives = dict(self._series.archives())
        plain = dict(self._series.parts())
        for key in sorted({**archives, **plain}, reverse=True):
            # it may have been compressed after the listing; if both exist, the plain one counts
            part = OpenPart.open(key, plain[key]) if key in plain else None
            if part is not None:
                end = part.whole_end()
                self._given[part.path] = (part.identity(), end)
                if wanted <= 0 and chosen:
                    part.close()
                    continue
                wanted -= part.seek_back(wanted, end)
                chosen.append((part, end))
            elif wanted > 0:
                archive = Archive.open(archives.get(key) or f"{plain[key]}.gz", HEADER)
                if archive is not None:
                    wanted -= archive.seek_back(wanted)
                    chosen.append(archive)
        if chosen:
            first = chosen[0]
            yield from self._heading(first if isinstance(first, Archive) else first[0])
        while chosen:
            self.close()
            one = chosen.pop()
            if isinstance(one, Archive):
                yield from one.lines()
                one.close()
            else:
                self._part, end = one
                yield from self._part.lines(end)

    def added(self) -> Iterator[bytes]:
        """Yield the whole lines that were added since, oldest part first."""
        parts = (
            self._series.parts()
        )  # first, since what is left of the open part was written before the next part was made
        if self._part is not None:
            yield from self._lines(self._part)
        for key, path in parts:
            start = self._unread_from(path)
            part = OpenPart.open(key, path) if start is not None else None
            if part is None or start is None:
                continue
            part.offset = start
            self.close()
            self._part = part
            yield from self._lines(part)

    def _unread_from(self, path: str) -> int | None:
        """Return the byte from which the part at ``path`` has to be read; None if all of it was returned."""
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            return None
        identity, done = self._given.get(path, (None, 0))
        if identity != (status.st_dev, status.st_ino) or status.st_size < done:
            return 0
        if self._part is not None and self._part.path == path:
            return None  # it is open and has just been read; what is left is half a line
        return done if status.st_size > done else None

    def _lines(self, part: OpenPart) -> Iterator[bytes]:
        if part.offset == 0:
            yield from self._heading(part)
            part.offset = len(part.heading())
        for block in part.lines():
            self._given[part.path] = (part.identity(), part.offset)
            yield block
        self._given[part.path] = (part.identity(), part.offset)

    def _heading(self, part: OpenPart | Archive) -> Iterator[bytes]:
        heading = part.heading()
        if heading and not self._heading_given:
            self._heading_given = True
            yield heading
