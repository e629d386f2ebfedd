"""Write one series of record files: only at the end, in whole lines, so that ``tail -F`` can follow.

A :class:`RecordFile` decides which part is current, rotates, keeps the symlink, and notices when somebody
removed or replaced what it writes to. Only files that coordd made are written to (records/provenance.py): a
name that somebody else's file has is passed over for the next one. Others may write into a file of coordd's,
which has a name that they are used to: coordd then goes on in the next part, and says in the manifest that
the file is shared.

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
import threading
from collections.abc import Callable, Sequence

from coordd.records.manifest import announcement, remark, row_announcement
from coordd.records.names import Part, part_name
from coordd.sinks.appending import Appended, RecordFileListener, Rewrite, TornLine, write_all
from coordd.sinks.folder import Folder
from coordd.sinks.held import HeldFolder
from coordd.sinks.ledger import Ledger
from coordd.sinks.opening import choose_part, demand_own, prepare_part
from coordd.util.regular_files import explain
from coordd.util.timestamps import utc_date

MAX_PART_BYTES = 256 * 1024 * 1024


class RecordFile:
    """Write ``<directory>/<series>_<date>[.<number>].<extension>`` and the symlink to the current part.

    Not thread-safe: one thread owns it, but for :meth:`unless_open`. Nothing is touched before the first
    call. ``opened`` counts the parts opened so far, ``written`` the records; ``trouble`` says what is wrong
    with the symlink. ``unproven`` counts the files with its names that are not coordd's, as of the last
    housekeeping.

    Args:
        folder: the directory; several files may share it.
        series: ``agent``; ``extension``: ``jsonl``, without its dot; ``link``: name of the symlink.
        ledger: syncs and closes what this file opens.
        listener: hears of what was re-created or damaged.
        header: first line of every part, without newline; None for none.
        max_part_bytes: a part of that size or more gets no more lines.
        mode: permission bits of the files.
        write: os.write, for tests.
    """

    def __init__(
        self,
        *,
        folder: HeldFolder,
        series: str,
        extension: str,
        link: str,
        ledger: Ledger,
        listener: RecordFileListener,
        header: bytes | None = None,
        max_part_bytes: int = MAX_PART_BYTES,
        mode: int = 0o640,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.folder = folder
        self.series = series
        self.extension = extension
        self.link = os.path.join(folder.path, link)
        self.written = 0
        self.trouble: str | None = None
        self.unproven = 0
        self._link = link
        self._ledger = ledger
        self._listener = listener
        self._header = header
        self.max_part_bytes = max_part_bytes
        self._mode = mode
        self._write = write
        self._descriptor: int | None = None
        self._opened_folder: Folder | None = None
        self._identity = (0, 0)
        self._part: Part | None = None
        self._name = ""  # of the part
        self._size = 0
        self._announced: bytes | None = None
        self._met = False  # somebody else wrote to the current part, and the manifest does not say so yet
        self._torn: TornLine | None = None
        self._unwritten: bytes | None = None
        self._vanished: str | None = None
        self._superseded: list[int] = []
        self._is_replacement = False
        self._choosing = threading.Lock()  # held while a part is chosen and opened
        self.opened = 0

    @property
    def directory(self) -> str:
        """Return the path of the directory with the files."""
        return self.folder.path

    @property
    def torn(self) -> bool:
        """Return whether the last line taken is not whole on disk yet."""
        return self._torn is not None or self._unwritten is not None

    @property
    def name(self) -> str | None:
        """Return the name of the current part; None before the first one."""
        return self._name or None

    @property
    def path(self) -> str | None:
        """Return the path of the current part; None before the first one."""
        return os.path.join(self.directory, self._name) if self._name else None

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
            if not lines:
                return Appended(0)
            self._announce(lines[0])
            self._announce_row(lines[0])
        except OSError as failure:
            return Appended(0, failure)
        done, error = self._write_all(data)
        whole = len(lines) if done == len(data) else data.count(b"\n", 0, done)
        begin = data.rfind(b"\n", 0, done) + 1
        self._account(lines[:whole], end=self._size - (done - begin))
        if begin == done:
            return Appended(whole, error)
        self._torn = TornLine(lines[whole] + b"\n", done - begin, self._size)
        return Appended(whole + 1, error)

    def roll(self, now: float) -> None:
        """Open the part for ``now`` if it is not open yet, finish a torn line, and write the header.

        Raises:
            OSError: it could not be done, and lines must wait.
        """
        if self._descriptor is not None and not self._in_place():
            self._let_go()
        if self._met:
            self._share()
        if self._descriptor is None:
            self._open(now)
        if self._torn is not None:
            self._finish_torn()
        if self._part is None or self._part.date != utc_date(now) or self._size >= self.max_part_bytes:
            self._close_for_good()
            self._open(now)
        if self._size == 0 and self._header is not None:
            self._write_line(self._header + b"\n", is_record=False)
        if self._unwritten is not None:
            line = self._unwritten
            self._announce_row(line[:-1])
            self._unwritten = None
            self._write_line(line, is_record=True)

    def check(self, now: float) -> bool:
        """Do what :meth:`roll` does, and put the symlink right where somebody changed it.

        Returns:
            Whether something had been removed or changed, and is back.

        Raises:
            OSError: as :meth:`roll`.
        """
        before = self._vanished is not None or (self._descriptor is not None and not self._in_place())
        self.roll(now)
        if self._opened_folder is not None:
            self.folder.restore(self._opened_folder)
        had_trouble = self.trouble is not None
        changed = self._point()
        if changed and not had_trouble and not before:
            self._listener.recreated(self.link)
        return before or (changed and not had_trouble)

    def unless_open(self, name: str, act: Callable[[], None]) -> bool:
        """Call ``act`` unless ``name`` is the current part; no part is opened meanwhile. For any thread.

        Returns:
            Whether it was called.
        """
        with self._choosing:
            if self._descriptor is not None and name == self.name:
                return False
            act()
            return True

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
            if one.descriptor != self._descriptor:
                self._superseded.append(one.descriptor)
                continue
            self._start_torn_over()
            if self._met or one.size != self._size:
                self._ledger.shared(one.descriptor)
                with contextlib.suppress(OSError):  # housekeeping looks at the lines too
                    self._say_shared()
            elif self._is_replacement and one.safe == 0 and self._emptied():
                continue
            self._met = False
            self._superseded.append(one.descriptor)
            self._descriptor, self._is_replacement = None, True
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
            if self._descriptor is not None and self._in_place() and self._met:
                self._say_shared()
            self._say_size()
        self._close()
        for descriptor in self._superseded:
            self._ledger.retire(descriptor)
        self._superseded = []
        return torn

    def _emptied(self) -> bool:
        """Empty the current part; return whether that worked."""
        descriptor = self._descriptor
        if descriptor is None:
            return False
        try:
            os.ftruncate(descriptor, 0)
        except OSError:
            return False
        self._size = 0
        self._ledger.renew(descriptor)
        return True

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
        if folder is not self._opened_folder:
            return False
        try:
            there = os.stat(self._name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if (there.st_dev, there.st_ino) != self._identity:
            return False
        self._met = self._met or there.st_size > self._size
        self._size = there.st_size
        return True

    def _share(self) -> None:
        """Say that somebody else writes to the current part, and leave them the plain name of the day.

        A record torn in it is written whole later, for what they wrote stands behind its beginning. A part
        with a number is gone on with: others reach it by the symlink, and would reach each next one too.

        Raises:
            OSError: the manifest cannot be written.
        """
        self._say_shared()
        if self._descriptor is not None:
            self._ledger.shared(self._descriptor)
        self._start_torn_over()
        if self._part is not None and self._part.number == 1:
            self._close()
        elif self._descriptor is not None and os.pread(self._descriptor, 1, max(0, self._size - 1)) != b"\n":
            self._write_line(b"\n", is_record=False)

    def _say_shared(self) -> None:
        """Say in the manifest that the current part has lines of others.

        Rows of a table tell nothing of who wrote them, so a table is mixed from now on; of other records
        housekeeping looks at each.
        """
        if self._opened_folder is None:
            return
        claims = self.folder.claims(self._opened_folder)
        mixed = {"mixed": True} if self._header is not None else {}
        if self._name not in (claims.mixed if mixed else claims.met):
            self.folder.announce(self._opened_folder, remark(self._name, met=True, **mixed))
        self._met = False

    def _say_size(self) -> None:
        """Say in the manifest at what size a table is closed: what is added later is somebody else's."""
        if self._header is not None and self._opened_folder is not None and self._descriptor is not None:
            self.folder.announce(self._opened_folder, remark(self._name, size=self._size))

    def _close_for_good(self) -> None:
        with contextlib.suppress(OSError):  # without it, housekeeping looks at the rows
            self._say_size()
        self._close()

    def _let_go(self) -> None:
        """Close the part that is gone from its path; a record torn in it is written whole in the next one."""
        self._vanished, self._met = self.path, False
        self._close()
        self._start_torn_over()

    def _start_torn_over(self) -> None:
        """Have a torn record written whole, before the next line."""
        torn, self._torn = self._torn, None
        if torn is not None and torn.is_record:
            self._unwritten = torn.line

    def _open(self, now: float) -> None:
        with self._choosing:
            self._choose_and_open(self.folder.folder(), now)

    def _choose_and_open(self, folder: Folder, now: float) -> None:
        part = choose_part(
            folder,
            self.folder.claims(folder),
            series=self.series,
            extension=self.extension,
            date=utc_date(now),
            max_bytes=0 if self._is_replacement else self.max_part_bytes,  # after a failed fsync, a new one
        )
        name = part_name(self.series, part, self.extension)
        damage = prepare_part(self.folder, folder, name, header=self._header or b"", mode=self._mode)
        if damage is not None:
            self._listener.damaged(damage)
        descriptor, _ = folder.open(name, os.O_RDWR | os.O_APPEND, mode=self._mode)
        there = os.fstat(descriptor)
        self._ledger.opened(descriptor, folder.path_of(name), owner=self, size=there.st_size)
        try:
            demand_own(self.folder, folder, descriptor, name)
            self._ledger.entered(folder)  # always: an earlier attempt may have made the file, then failed
        except BaseException:
            self._ledger.retire(descriptor)
            raise
        self._descriptor, self._part, self._name, self._opened_folder = descriptor, part, name, folder
        self.opened += 1
        self._identity, self._size = (there.st_dev, there.st_ino), there.st_size
        self._announced, self._met = None, False
        self._point()
        if self._vanished is not None:
            self._listener.recreated(self._vanished)
            self._vanished = None

    def _announce(self, line: bytes) -> None:
        """Say in the manifest how the current part begins, before its first line is written.

        Raises:
            OSError: the manifest cannot be written.
        """
        if self._size or self._opened_folder is None or line == self._announced or self._part is None:
            return
        if line != self._header:  # the header was announced when the part was opened
            self.folder.announce(self._opened_folder, announcement(self._name, line))
        self._announced = line

    def _announce_row(self, line: bytes) -> None:
        """Say in the manifest how the first row of a table reads, before it is written.

        Raises:
            OSError: the manifest cannot be written.
        """
        if self._header is None or self._opened_folder is None or self._size != len(self._header) + 1:
            return
        self.folder.announce(self._opened_folder, row_announcement(self._name, line))

    def _point(self) -> bool:
        """Point the symlink at the current part; a failure is a warning, and keeps no record waiting."""
        if self._opened_folder is None:
            return False
        try:
            changed = self._opened_folder.point(
                self._link, self.name or "", series=self.series, extension=self.extension
            )
        except OSError as error:
            self.trouble = explain(error)
            return False
        self.trouble = None
        return changed

    def _close(self) -> None:
        if self._descriptor is not None:
            self._ledger.retire(self._descriptor)
            self._descriptor = None
        self._is_replacement = False

    def _finish_torn(self) -> None:
        torn = self._torn
        if torn is None:
            return
        if self._size < torn.end:  # somebody emptied the file
            self._start_torn_over()
            return
        done, error = self._write_all(torn.line[torn.done :])
        torn.done += done
        torn.end = self._size
        if error is not None:
            raise error
        self._torn = None
        self._account([torn.line[:-1]] if torn.is_record else [], end=self._size)

    def _write_line(self, line: bytes, *, is_record: bool) -> None:
        try:
            self._announce(line[:-1])
        except OSError:
            self._unwritten = line if is_record else self._unwritten
            raise
        done, error = self._write_all(line)
        if error is None:
            self._account([line[:-1]] if is_record else [], end=self._size)
            return
        if done:
            self._torn = TornLine(line, done, self._size, is_record)
        elif is_record:
            self._unwritten = line
        raise error

    def _write_all(self, data: bytes) -> tuple[int, OSError | None]:
        """Write as much as the disk takes; return the number of bytes and the error that stopped it."""
        if self._descriptor is None:
            raise RuntimeError("no part is open")
        done, error = write_all(self._descriptor, data, write=self._write, path=self.path)
        self._size += done
        return done, error

    def _account(self, records: Sequence[bytes], *, end: int) -> None:
        if self._descriptor is not None:
            self.written += len(records)
            self._ledger.wrote(self._descriptor, records, end=end)
