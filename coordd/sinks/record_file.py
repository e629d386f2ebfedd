"""Write one series of record files: only at the end, in whole lines, so that ``tail -F`` can follow.

A :class:`RecordFile` rotates, and goes on in another part when somebody removed or replaced the one that it
writes to (current_part.py notices). Only files that coordd made are written to (opening.py): a name that
somebody else's file has is passed over for the next one. Others may write into a file of coordd's, which has
a name that they are used to: coordd then goes on in the next part, and says in the manifest that the file is
shared.

A line that did not fit (a full disk) is never cut off again, because tail would then start over::

    a line is         what happens to it next
    torn              its rest is written first, when space returns
    torn, and the     it is written whole, as the first line of the new file
    file was lost, or
    others wrote
    behind it
    whole             it waits for an fsync (ledger.py); if that fails, start_over() gives it back

This module knows lines, not what they say. The caller writes again what was not taken, and syncs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from coordd.records.names import RecordSeries
from coordd.sinks.appending import Appended, RecordFileListener, Rewrite, TornLine, write_all
from coordd.sinks.current_part import CurrentPart
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.ledger import Ledger

MAX_PART_BYTES = 256 * 1024 * 1024


class RecordFile:
    """Write ``<directory>/<series>_<date>[.<number>].<extension>`` and the symlink to the current part.

    Not thread-safe: one thread owns it, but for :meth:`unless_open`. Nothing is touched before the first
    call. ``written`` counts the records so far; ``unproven`` the files with its names that are not coordd's,
    as of the last housekeeping.

    Args:
        folder: the directory, which has the rights of the files; several may share it.
        series: what the files are called and begin with.
        ledger: syncs and closes what this file opens.
        listener: hears of what was re-created or damaged.
        max_part_bytes: a part of that size or more gets no more lines.
        write: os.write, for tests.
    """

    def __init__(
        self,
        *,
        folder: HeldFolder,
        series: RecordSeries,
        ledger: Ledger,
        listener: RecordFileListener,
        max_part_bytes: int = MAX_PART_BYTES,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.folder = folder
        self.series = series
        self.link = os.path.join(folder.path, series.link)
        self.written = 0
        self.unproven = 0
        self.max_part_bytes = max_part_bytes
        self._ledger = ledger
        self._listener = listener
        self._write = write
        self._current = CurrentPart(held=folder, series=series, ledger=ledger, owner=self, listener=listener)
        self._torn: TornLine | None = None
        self._unwritten: bytes | None = None
        self._superseded: list[int] = []

    @property
    def directory(self) -> str:
        """Return the path of the directory with the files."""
        return self.folder.path

    @property
    def opened(self) -> int:
        """Return the number of parts opened so far."""
        return self._current.opened

    @property
    def trouble(self) -> str | None:
        """Return what is wrong with the symlink; None where nothing is."""
        return self._current.trouble

    @property
    def torn(self) -> bool:
        """Return whether the last line taken is not whole on disk yet."""
        return self._torn is not None or self._unwritten is not None

    @property
    def name(self) -> str | None:
        """Return the name of the current part; None before the first one."""
        return self._current.name or None

    @property
    def path(self) -> str | None:
        """Return the path of the current part; None before the first one."""
        return self._current.path

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
            raise ValueError(f"{self.series.name}: a record holds a newline")
        try:
            self.roll(now)
            if not lines:
                return Appended(0)
            self._current.announce(lines[0])
            self._current.announce_row(lines[0])
        except OSError as failure:
            return Appended(0, failure)
        done, error = self._write_all(data)
        whole = len(lines) if done == len(data) else data.count(b"\n", 0, done)
        begin = data.rfind(b"\n", 0, done) + 1
        self._account(lines[:whole], end=self._current.size - (done - begin))
        if begin == done:
            return Appended(whole, error)
        self._torn = TornLine(lines[whole] + b"\n", done - begin, self._current.size)
        return Appended(whole + 1, error)

    def roll(self, now: float) -> None:
        """Open the part for ``now`` if it is not open yet, finish a torn line, and write the header.

        Raises:
            OSError: it could not be done, and lines must wait.
        """
        if self._current.descriptor is not None and not self._in_place():
            self._let_go()
        if self._current.met:
            self._share()
        if self._current.descriptor is None:
            self._current.open(now, max_part_bytes=self.max_part_bytes)
        if self._torn is not None:
            self._finish_torn()
        if self._current.is_over(now, max_part_bytes=self.max_part_bytes):
            self._current.close_for_good()
            self._current.open(now, max_part_bytes=self.max_part_bytes)
        if self._current.size == 0 and self.series.header is not None:
            self._write_line(self.series.header + b"\n", is_record=False)
        if self._unwritten is not None:
            line = self._unwritten
            self._current.announce_row(line[:-1])
            self._unwritten = None
            self._write_line(line, is_record=True)

    def begin_next(self, now: float) -> None:
        """Go on in another part, so that nothing is written to the present one any more.

        Raises:
            OSError: as :meth:`roll`; the present part may still be the current one.
        """
        self.roll(now)
        if self._current.size > 0:
            self._current.close_for_good()
            self._current.open(now, max_part_bytes=0)

    def check(self, now: float) -> bool:
        """Do what :meth:`roll` does, and put the symlink right where somebody changed it.

        Returns:
            Whether something had been removed or changed, and is back.

        Raises:
            OSError: as :meth:`roll`.
        """
        before = self._current.vanished is not None or (
            self._current.descriptor is not None and not self._in_place()
        )
        self.roll(now)
        self._current.restore()
        had_trouble = self.trouble is not None
        changed = self._current.point()
        if changed and not had_trouble and not before:
            self._listener.recreated(self.link)
        return before or (changed and not had_trouble)

    def unless_open(self, name: str, act: Callable[[], None]) -> bool:
        """Call ``act`` unless ``name`` is the current part; no part is opened meanwhile. For any thread.

        Returns:
            Whether it was called.
        """
        return self._current.unless_open(name, act)

    def start_over(self) -> Rewrite | None:
        """Take back the lines that a failed fsync made doubtful, and begin a new part.

        A part that was itself begun for this reason, and of which nothing came to disk, is emptied and used
        again: a disk that stays full gets no more files.

        Returns:
            What to write again before anything else; None where no fsync has failed.
        """
        unsynced = self._ledger.unsynced(self)
        if not unsynced:
            return None
        lines: list[bytes] = []
        for one in unsynced:
            lines += one.lines
            if one.descriptor != self._current.descriptor:
                self._superseded.append(one.descriptor)
                continue
            self._start_torn_over()
            if self._current.met or one.size != self._current.size:
                self._ledger.shared(one.descriptor)
                with contextlib.suppress(OSError):  # housekeeping looks at the lines too
                    self._current.say_shared()
            elif self._current.is_replacement and one.safe == 0 and self._current.empty():
                continue
            self._superseded.append(one.descriptor)
            self._current.supersede()
        unwritten, self._unwritten = self._unwritten, None
        if unwritten is not None:
            lines.append(unwritten[:-1])
        forgotten = sum(one.forgotten for one in unsynced)
        self.written -= sum(len(one.lines) + one.forgotten for one in unsynced)
        return Rewrite(lines, forgotten)

    def written_again(self) -> None:
        """Record that all lines from :meth:`start_over` are written: the old ones are cut off once synced."""
        for descriptor in self._superseded:
            self._ledger.retire(descriptor, cut=True)
        self._superseded = []

    def close(self) -> bool:
        """Let go of the current part; return whether a torn line stays torn in it."""
        torn, self._torn, self._unwritten = self.torn, None, None
        with contextlib.suppress(OSError):  # the directory is gone, or the disk is full
            if self._current.descriptor is not None and self._in_place() and self._current.met:
                self._current.say_shared()
            self._current.say_size()
        self._current.close()
        for descriptor in self._superseded:
            self._ledger.retire(descriptor)
        self._superseded = []
        return torn

    def _in_place(self) -> bool:
        """Return whether the name still leads to the open file in the held directory; learn its size.

        Raises:
            OSError: the directory was replaced by something that may not be used in its place.
        """
        try:
            folder = self.folder.folder()
        except OSError:
            self._let_go()
            raise
        return self._current.is_in(folder)

    def _share(self) -> None:
        """Say that somebody else writes to the current part, and leave them the plain name of the day.

        A record torn in it is written whole later, for what they wrote stands behind its beginning. A part
        with a number is gone on with: others reach it by the symlink, and would reach each next one too.

        Raises:
            OSError: the manifest cannot be written.
        """
        self._current.say_shared()
        if self._current.descriptor is not None:
            self._ledger.shared(self._current.descriptor)
        self._start_torn_over()
        if self._current.part is not None and self._current.part.number == 1:
            self._current.close()
        elif not self._current.ends_in_newline():
            self._write_line(b"\n", is_record=False)

    def _let_go(self) -> None:
        """Close the part that is gone from its path; a record torn in it is written whole in the next one."""
        self._current.let_go()
        self._start_torn_over()

    def _start_torn_over(self) -> None:
        """Have a torn record written whole, before the next line."""
        torn, self._torn = self._torn, None
        if torn is not None and torn.is_record:
            self._unwritten = torn.line

    def _finish_torn(self) -> None:
        torn = self._torn
        if torn is None:
            return
        if self._current.size < torn.end:  # somebody emptied the file
            self._start_torn_over()
            return
        done, error = self._write_all(torn.line[torn.done :])
        torn.done += done
        torn.end = self._current.size
        if error is not None:
            raise error
        self._torn = None
        self._account([torn.line[:-1]] if torn.is_record else [], end=self._current.size)

    def _write_line(self, line: bytes, *, is_record: bool) -> None:
        try:
            self._current.announce(line[:-1])
        except OSError:
            self._unwritten = line if is_record else self._unwritten
            raise
        done, error = self._write_all(line)
        if error is None:
            self._account([line[:-1]] if is_record else [], end=self._current.size)
            return
        if done:
            self._torn = TornLine(line, done, self._current.size, is_record)
        elif is_record:
            self._unwritten = line
        raise error

    def _write_all(self, data: bytes) -> tuple[int, OSError | None]:
        """Write as much as the disk takes; return the number of bytes and the error that stopped it."""
        if self._current.descriptor is None:
            raise RuntimeError("no part is open")
        done, error = write_all(self._current.descriptor, data, write=self._write, path=self.path)
        self._current.size += done
        return done, error

    def _account(self, records: Sequence[bytes], *, end: int) -> None:
        if self._current.descriptor is not None:
            self.written += len(records)
            self._ledger.wrote(self._current.descriptor, records, end=end)
