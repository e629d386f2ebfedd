"""One series of record files that only ever grows at its end, in whole lines, for ``tail -F`` to follow.

A :class:`RecordFile` decides which part is current, rotates, keeps the symlink, and notices when somebody
removed or replaced what it writes to. A line that did not fit (a full disk) is never cut off again, which
would make tail start over: its rest is written first when space returns. This module knows lines, not what
they say; who writes again what it did not take, and who syncs, is not its business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordd.directories import ensure_directory
from coordd.parts import Part, newest_part, part_name
from coordd.sinks.ledger import Ledger
from coordd.sinks.regular import explain, open_regular, point
from coordd.sinks.repair import Damage, repair_file
from coordd.timestamps import utc_date

MAX_PART_BYTES = 256 * 1024 * 1024


class Listener(Protocol):
    """Is told what a record file met; called from the thread that writes."""

    def recreated(self, path: str) -> None:
        """The directory, file or symlink at ``path`` was gone or replaced, and is back."""

    def damaged(self, damage: Damage) -> None:
        """A torn tail was set aside."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of some lines: ``taken`` of them, from the first, are written or will be; the rest are not.

    All but the last of those taken are whole on disk; see :attr:`RecordFile.torn` for the last one.
    """

    taken: int
    error: OSError | None = None


@dataclass(slots=True)
class _Torn:
    """A line (with its newline) that is in the file up to ``done``; ``end`` is the file's size then."""

    line: bytes
    done: int
    end: int
    failures: int
    is_record: bool = True


class RecordFile:
    """The files ``<directory>/<series>_<date>[.<number>].<extension>`` and the symlink to the current one.

    Not thread-safe: one thread owns it, but for :meth:`unless_open`. Nothing is touched before the first
    call. ``opened`` counts the parts opened so far.

    Args:
        directory: made when missing, with ``directory_mode`` and, with ``gitignore``, a ``.gitignore`` of
            ``*``.
        series: ``agent``; ``extension``: ``jsonl``, without its dot; ``link``: name of the symlink.
        ledger: syncs and closes what this file opens.
        listener: hears of what was re-created or damaged.
        header: first line of every part, without newline; None for none.
        max_part_bytes: a part of that size or more gets no more lines.
        mode: permission bits of the files.
        root: a directory above that is somebody else's to make; see ensure_directory.
        write: os.write, for tests.
    """

    def __init__(
        self,
        *,
        directory: str,
        series: str,
        extension: str,
        link: str,
        ledger: Ledger,
        listener: Listener,
        header: bytes | None = None,
        max_part_bytes: int = MAX_PART_BYTES,
        mode: int = 0o640,
        directory_mode: int = 0o700,
        gitignore: bool = False,
        root: str | None = None,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.series = series
        self.extension = extension
        self.link = os.path.join(self.directory, link)
        self.written = 0
        self.trouble: str | None = None
        self._ledger = ledger
        self._listener = listener
        self._header = header
        self.max_part_bytes = max_part_bytes
        self._mode = mode
        self._directory_mode = directory_mode
        self._gitignore = gitignore
        self._root = root
        self._write = write
        self._descriptor: int | None = None
        self._identity = (0, 0)
        self._part: Part | None = None
        self._size = 0
        self._torn: _Torn | None = None
        self._again: bytes | None = None
        self._vanished: str | None = None
        self._choosing = threading.Lock()  # held while a part is chosen and opened
        self.opened = 0

    @property
    def torn(self) -> bool:
        """Whether the last line taken is not whole on disk yet."""
        return self._torn is not None or self._again is not None

    @property
    def path(self) -> str | None:
        """The current part; None before the first one."""
        if self._part is None:
            return None
        return os.path.join(self.directory, part_name(self.series, self._part, self.extension))

    def append(self, lines: Sequence[bytes], now: float) -> Appended:
        """Write whole lines in one write(2), into the part for the UTC day of ``now`` (epoch seconds).

        Args:
            lines: without newlines.
            now: the moment of writing, epoch seconds.

        Raises:
            ValueError: a line holds a newline.
        """
        data = b"".join([line + b"\n" for line in lines])
        if data.count(b"\n") != len(lines):
            raise ValueError(f"{self.series}: a record holds a newline")
        try:
            self.roll(now)
        except OSError as failure:
            return Appended(0, failure)
        if not lines:
            return Appended(0)
        failures = self._ledger.failures
        done, error = self._push(data)
        whole = len(lines) if done == len(data) else data.count(b"\n", 0, done)
        self._account(whole, failures)
        begin = data.rfind(b"\n", 0, done) + 1
        if begin == done:
            return Appended(whole, error)
        line = lines[whole] + b"\n"
        self._torn = _Torn(line, done - begin, self._size, failures)
        return Appended(whole + 1, error)

    def roll(self, now: float) -> None:
        """Have the right part open for writing at ``now``, the rest of a torn line written, a header in it.

        Raises:
            OSError: it could not be done, and lines must wait.
        """
        if self._descriptor is not None and not self._in_place():
            self._let_go()
        if self._descriptor is None:
            self._open(now)
        if self._torn is not None:
            self._finish_torn()
        if self._part is None or self._part.date != utc_date(now) or self._size >= self.max_part_bytes:
            self._close()
            self._open(now)
        if self._size == 0 and self._header is not None:
            self._write_line(self._header + b"\n", is_record=False)
        if self._again is not None:
            line, self._again = self._again, None
            self._write_line(line, is_record=True)

    def check(self, now: float) -> bool:
        """As :meth:`roll`, and the symlink too is put right where somebody changed it.

        Returns:
            Whether something that had been there was gone and is back.

        Raises:
            OSError: as :meth:`roll`.
        """
        before = self._vanished is not None or (self._descriptor is not None and not self._in_place())
        self.roll(now)
        had_trouble = self.trouble is not None
        changed = self._point()
        if changed and not had_trouble and not before:
            self._listener.recreated(self.link)
        return before or (changed and not had_trouble)

    def unless_open(self, path: str, act: Callable[[], None]) -> bool:
        """Do something to a file for as long as this one neither writes to it nor comes to; from any thread.

        Returns:
            Whether it was done; not where ``path`` is the current part.
        """
        with self._choosing:
            if self._descriptor is not None and path == self.path:
                return False
            act()
            return True

    def close(self) -> bool:
        """Let go of the current part; returns whether a torn line stays torn in it."""
        torn, self._torn, self._again = self.torn, None, None
        self._close()
        return torn

    def _in_place(self) -> bool:
        """Whether the path still leads to the open file; learns its size on the way."""
        path = self.path or ""
        try:
            there = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._size = there.st_size
        return (there.st_dev, there.st_ino) == self._identity

    def _let_go(self) -> None:
        """What was open is gone from its path: a record torn in there is written anew, whole, elsewhere."""
        self._vanished = self.path
        self._close()
        self._start_torn_over()

    def _start_torn_over(self) -> None:
        torn, self._torn = self._torn, None
        if torn is not None and torn.is_record:
            self._again = torn.line

    def _inside(self) -> str | None:
        """The directory that is not coordd's to make, if this one lies below it."""
        inside = self._root is not None and self.directory.startswith(self._root + os.sep)
        return self._root if inside else None

    def _open(self, now: float) -> None:
        with self._choosing:
            self._choose_and_open(now)

    def _choose_and_open(self, now: float) -> None:
        date = utc_date(now)
        ensure_directory(
            self.directory, mode=self._directory_mode, gitignore=self._gitignore, root=self._inside()
        )
        names = os.listdir(self.directory)
        part = newest_part(names, series=self.series, date=date, extension=self.extension)
        if part is None:
            part = Part(date, 1)
        elif part.compressed or self._is_full(part):
            part = Part(date, part.number + 1)
        path = os.path.join(self.directory, part_name(self.series, part, self.extension))
        # A tail torn by an earlier process, or copied back by a person, would swallow the next line.
        with contextlib.suppress(FileNotFoundError):
            damage = repair_file(path, mode=self._mode)
            if damage is not None:
                self._listener.damaged(damage)
        descriptor, _ = open_regular(path, os.O_WRONLY | os.O_APPEND, mode=self._mode)
        self._ledger.opened(descriptor, path)
        try:
            # Always, for an attempt before this one may have made the file and then failed.
            self._ledger.entered(self.directory)
        except BaseException:
            self._ledger.retire(descriptor)
            raise
        self._descriptor, self._part = descriptor, part
        self.opened += 1
        there = os.fstat(descriptor)
        self._identity, self._size = (there.st_dev, there.st_ino), there.st_size
        self._point()
        if self._vanished is not None:
            self._listener.recreated(self._vanished)
            self._vanished = None

    def _is_full(self, part: Part) -> bool:
        path = os.path.join(self.directory, part_name(self.series, part, self.extension))
        return os.lstat(path).st_size >= self.max_part_bytes

    def _point(self) -> bool:
        """A symlink that cannot be had is trouble to show, and no reason to keep records waiting."""
        try:
            changed = point(self.link, os.path.basename(self.path or ""))
        except OSError as error:
            self.trouble = explain(error)
            return False
        self.trouble = None
        return changed

    def _close(self) -> None:
        if self._descriptor is not None:
            self._ledger.retire(self._descriptor)
            self._descriptor = None

    def _finish_torn(self) -> None:
        torn = self._torn
        if torn is None:
            return
        if self._size < torn.end:  # somebody emptied the file
            self._start_torn_over()
            return
        rest = torn.line[torn.done :]
        done, error = self._push(rest)
        torn.done += done
        torn.end = self._size
        if error is not None:
            raise error
        self._torn = None
        self._account(1 if torn.is_record else 0, torn.failures)

    def _write_line(self, line: bytes, *, is_record: bool) -> None:
        failures = self._ledger.failures
        done, error = self._push(line)
        if error is None:
            self._account(1 if is_record else 0, failures)
            return
        if done:
            self._torn = _Torn(line, done, self._size, failures, is_record)
        elif is_record:
            self._again = line
        raise error

    def _push(self, data: bytes) -> tuple[int, OSError | None]:
        """Write as much as goes: the number of bytes, and why it is not all where it is not."""
        if self._descriptor is None:
            raise RuntimeError("no part is open")
        done = 0
        while done < len(data):
            try:
                count = self._write(self._descriptor, data[done:] if done else data)
            except OSError as error:
                return done, OSError(error.errno, error.strerror, self.path)
            if count <= 0:
                return done, OSError(errno.EIO, "nothing was written", self.path)
            done += count
            self._size += count
        return done, None

    def _account(self, records: int, failures: int) -> None:
        if self._descriptor is not None:
            self.written += records
            self._ledger.wrote(self._descriptor, records, failures=failures)
