"""One series of record files that only ever grows at its end, in whole lines, for ``tail -F`` to follow.

A :class:`RecordFile` decides which part is current, rotates, keeps the symlink, and notices when somebody
removed or replaced what it writes to. Only files that coordd made are written to (manifest.py): a name that
somebody else's file has is passed over for the next one. A line that did not fit (a full disk) is never cut
off again, which would make tail start over: its rest is written first when space returns. This module knows
lines, not what they say; who writes again what it did not take, and who syncs, is not its business.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordd.records.manifest import announcement, proven, proves
from coordd.records.names import MAX_NUMBER, Part, part_name, parts_of
from coordd.sinks.folder import Folder
from coordd.sinks.held import HeldFolder
from coordd.sinks.ledger import Ledger
from coordd.sinks.repair import Damage, repair_file
from coordd.util.regular_files import explain
from coordd.util.timestamps import utc_date

MAX_PART_BYTES = 256 * 1024 * 1024


class RecordFileListener(Protocol):
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
    is_record: bool = True


@dataclass(frozen=True, slots=True)
class Again:
    """What a failed fsync made doubtful: ``lines`` to be written again, ``forgotten`` that are lost."""

    lines: Sequence[bytes]
    forgotten: int


class RecordFile:
    """The files ``<directory>/<series>_<date>[.<number>].<extension>`` and the symlink to the current one.

    Not thread-safe: one thread owns it, but for :meth:`unless_open`. Nothing is touched before the first
    call. ``opened`` counts the parts opened so far; ``unproven`` the files of its names that are not
    coordd's, as housekeeping has last counted them.

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
        self._place: Folder | None = None
        self._identity = (0, 0)
        self._part: Part | None = None
        self._name = ""  # of the part
        self._size = 0
        self._announced: bytes | None = None
        self._torn: _Torn | None = None
        self._again: bytes | None = None
        self._vanished: str | None = None
        self._superseded: list[int] = []
        self._is_replacement = False
        self._choosing = threading.Lock()  # held while a part is chosen and opened
        self.opened = 0

    @property
    def directory(self) -> str:
        """Where the files are."""
        return self.folder.path

    @property
    def torn(self) -> bool:
        """Whether the last line taken is not whole on disk yet."""
        return self._torn is not None or self._again is not None

    @property
    def name(self) -> str | None:
        """The name of the current part; None before the first one."""
        return self._name or None

    @property
    def path(self) -> str | None:
        """The current part; None before the first one."""
        name = self.name
        return None if name is None else os.path.join(self.directory, name)

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
        except OSError as failure:
            return Appended(0, failure)
        done, error = self._push(data)
        whole = len(lines) if done == len(data) else data.count(b"\n", 0, done)
        begin = data.rfind(b"\n", 0, done) + 1
        self._account(lines[:whole], end=self._size - (done - begin))
        if begin == done:
            return Appended(whole, error)
        self._torn = _Torn(lines[whole] + b"\n", done - begin, self._size)
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
        if self._place is not None:
            self.folder.restore(self._place)
        had_trouble = self.trouble is not None
        changed = self._point()
        if changed and not had_trouble and not before:
            self._listener.recreated(self.link)
        return before or (changed and not had_trouble)

    def unless_open(self, name: str, act: Callable[[], None]) -> bool:
        """Do something to a file for as long as this one neither writes to it nor comes to; from any thread.

        Returns:
            Whether it was done; not where ``name`` is the current part.
        """
        with self._choosing:
            if self._descriptor is not None and name == self.name:
                return False
            act()
            return True

    def start_over(self) -> Again | None:
        """Take back what a failed fsync made doubtful, and leave the part it is in for a new one.

        Where nothing of a part that was begun for this reason ever came to disk, it is emptied and used
        again, so that a disk that stays full gets no more files.

        Returns:
            What is to be written again, behind nothing else; None where no fsync has failed.
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
            if self._is_replacement and one.safe == 0 and self._emptied():
                continue
            self._superseded.append(one.descriptor)
            self._descriptor, self._is_replacement = None, True
        again, self._again = self._again, None
        if again is not None:
            lines.append(again[:-1])
        forgotten = sum(one.forgotten for one in unsynced)
        self.written -= sum(len(one.lines) + one.forgotten for one in unsynced)
        return Again(lines, forgotten)

    def written_again(self) -> None:
        """All that :meth:`start_over` gave is written: once it is on disk, nobody needs the old place."""
        for descriptor in self._superseded:
            self._ledger.retire(descriptor, cut=True)
        self._superseded = []

    def close(self) -> bool:
        """Let go of the current part; returns whether a torn line stays torn in it."""
        torn, self._torn, self._again = self.torn, None, None
        self._close()
        for descriptor in self._superseded:
            self._ledger.retire(descriptor)
        self._superseded = []
        return torn

    def _emptied(self) -> bool:
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
        """Whether the name still leads to the open file, in the directory that is held; learns its size.

        Raises:
            OSError: the directory was replaced by something that is not taken for it.
        """
        try:
            place = self.folder.folder()
        except OSError:
            self._let_go()
            raise
        if place is not self._place:
            return False
        try:
            there = os.stat(self._name, dir_fd=place.fd, follow_symlinks=False)
        except FileNotFoundError:
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

    def _open(self, now: float) -> None:
        with self._choosing:
            self._choose_and_open(now)

    def _choose_and_open(self, now: float) -> None:
        folder = self.folder.folder()
        part = self._choose(folder, utc_date(now))
        name = part_name(self.series, part, self.extension)
        # Before the file: one that is there and empty has to be known as coordd's after a kill.
        claims = self.folder.claims(folder)
        if not claims.announces(name):
            self.folder.announce(folder, announcement(name, self._header or b""))
        elif folder.regular(name) is not None:
            # A tail torn by an earlier process, or copied back by a person, would swallow the next line.
            damage = repair_file(folder, name, self.folder, mode=self._mode)
            if damage is not None:
                self._listener.damaged(damage)
        descriptor, _ = folder.open(name, os.O_RDWR | os.O_APPEND, mode=self._mode)
        there = os.fstat(descriptor)
        self._ledger.opened(descriptor, folder.path_of(name), owner=self, size=there.st_size)
        try:
            self._demand_own(folder, descriptor, name)
            # Always, for an attempt before this one may have made the file and then failed.
            self._ledger.entered(folder)
        except BaseException:
            self._ledger.retire(descriptor)
            raise
        self._descriptor, self._part, self._name, self._place = descriptor, part, name, folder
        self.opened += 1
        self._identity, self._size = (there.st_dev, there.st_ino), there.st_size
        self._announced = None
        self._point()
        if self._vanished is not None:
            self._listener.recreated(self._vanished)
            self._vanished = None

    def _demand_own(self, folder: Folder, descriptor: int, name: str) -> None:
        if not proven(self.folder.claims(folder), descriptor, name):
            raise OSError(errno.EAGAIN, "somebody else made it just now", folder.path_of(name))

    def _choose(self, folder: Folder, date: str) -> Part:
        """The highest part of a date that is coordd's, or the one behind it, with a name that nobody has."""
        claims = self.folder.claims(folder)
        taken = parts_of(folder.names(), series=self.series, date=date, extension=self.extension)
        last = 0
        for part in sorted(taken, reverse=True):
            name = part_name(self.series, part, self.extension)
            if not proves(claims, folder.fd, name):
                continue
            if self._may_go_on(folder, part, name, taken):
                return part
            last = part.number
            break
        numbers = {part.number for part in taken}
        number = next(n for n in range(last + 1, MAX_NUMBER + 2) if n not in numbers)
        if number > MAX_NUMBER:
            raise OSError(errno.EEXIST, f"no name is left for a part of {date}", folder.path)
        return Part(date, number)

    def _may_go_on(self, folder: Folder, part: Part, name: str, taken: set[Part]) -> bool:
        if part.compressed or Part(part.date, part.number, compressed=True) in taken or self._is_replacement:
            return False
        status = folder.regular(name)
        return status is not None and status.st_size < self.max_part_bytes

    def _announce(self, line: bytes) -> None:
        """Say in the manifest how the current part begins, before it does.

        Raises:
            OSError: it could not be said.
        """
        if self._size or self._place is None or line == self._announced or self._part is None:
            return
        if line != self._header:  # which was said when the part was opened
            self.folder.announce(self._place, announcement(self._name, line))
        self._announced = line

    def _point(self) -> bool:
        """A symlink that cannot be had is worth a warning, and no reason to keep records waiting."""
        if self._place is None:
            return False
        try:
            changed = self._place.point(
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
        rest = torn.line[torn.done :]
        done, error = self._push(rest)
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
            self._again = line if is_record else self._again
            raise
        done, error = self._push(line)
        if error is None:
            self._account([line[:-1]] if is_record else [], end=self._size)
            return
        if done:
            self._torn = _Torn(line, done, self._size, is_record)
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

    def _account(self, records: Sequence[bytes], *, end: int) -> None:
        if self._descriptor is not None:
            self.written += len(records)
            self._ledger.wrote(self._descriptor, records, end=end)
