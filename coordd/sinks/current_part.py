"""Hold the part of a series that lines are written to: open it, notice when it is gone, and point to it.

A :class:`CurrentPart` says in the manifest what proves its file coordd's before the file has it (how it
begins, the first row of a table), and afterwards who else wrote to it and at what size it was closed. It
notices when somebody removed, replaced or added to the file, and keeps the symlink. What is written, and
when the next part begins, record_file.py decides.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from coordd.records.manifest import announcement, remark, row_announcement
from coordd.records.names import Part, RecordSeries, part_name
from coordd.sinks.appending import RecordFileListener
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.ledger import Ledger
from coordd.sinks.opening import choose_part, demand_own, prepare_part
from coordd.util.regular_files import explain
from coordd.util.timestamps import utc_date


class CurrentPart:
    """The part that is open, or was last, and the symlink to it.

    Not thread-safe: one thread owns it, but for :meth:`unless_open`. ``descriptor`` is None while no part is
    open; ``name``, ``part`` and ``size`` are then those of the last one. ``opened`` counts the parts opened
    so far; ``trouble`` says what is wrong with the symlink. ``met``: somebody else wrote to the part, and the
    manifest does not say so yet. ``vanished`` is the path of a part that was gone, until another one is open.
    ``is_replacement``: the part is, or the next one will be, begun because an fsync failed.

    Args:
        held: the directory and its manifest.
        series: what the parts are called and begin with.
        ledger: syncs and closes what is opened here.
        owner: the object that asks the ledger for what a failed fsync left in doubt.
        listener: hears of a torn tail, and of a part that is back.
    """

    def __init__(
        self,
        *,
        held: HeldFolder,
        series: RecordSeries,
        ledger: Ledger,
        owner: object,
        listener: RecordFileListener,
    ) -> None:
        self.descriptor: int | None = None
        self.part: Part | None = None
        self.name = ""
        self.size = 0
        self.opened = 0
        self.trouble: str | None = None
        self.met = False
        self.vanished: str | None = None
        self.is_replacement = False
        self._held = held
        self._series = series
        self._ledger = ledger
        self._owner = owner
        self._listener = listener
        self._header = series.header
        self._folder: Folder | None = None  # that the part was opened in
        self._identity = (0, 0)
        self._announced: bytes | None = None
        self._choosing = threading.Lock()  # held while a part is chosen and opened

    @property
    def path(self) -> str | None:
        """Return the path of the part; None before the first one."""
        return os.path.join(self._held.path, self.name) if self.name else None

    def unless_open(self, name: str, act: Callable[[], None]) -> bool:
        """Call ``act`` unless ``name`` is the open part; no part is opened meanwhile. For any thread.

        Returns:
            Whether it was called.
        """
        with self._choosing:
            if self.descriptor is not None and name == self.name:
                return False
            act()
            return True

    def open(self, now: float, *, max_part_bytes: int) -> None:
        """Open the last part for the UTC day of ``now``, or a new one, and point the symlink at it.

        Args:
            now: epoch seconds.
            max_part_bytes: a part of that size or more is not opened again.

        Raises:
            OSError: none is open.
        """
        with self._choosing:
            self._choose_and_open(self._held.folder(), now, max_part_bytes)

    def is_in(self, folder: Folder) -> bool:
        """Return whether the name still leads to the open file in the held directory; learn its size.

        Args:
            folder: the directory as it is now.

        Raises:
            OSError: it cannot be told.
        """
        if folder is not self._folder:
            return False
        try:
            there = os.stat(self.name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if (there.st_dev, there.st_ino) != self._identity:
            return False
        self.met = self.met or there.st_size > self.size
        self.size = there.st_size
        return True

    def is_over(self, now: float, *, max_part_bytes: int) -> bool:
        """Return whether the part gets no more lines: its UTC day has passed, or it is full."""
        return self.part is None or self.part.date != utc_date(now) or self.size >= max_part_bytes

    def ends_in_newline(self) -> bool:
        """Return whether the last byte of the open part is a newline.

        Raises:
            OSError: it cannot be read.
        """
        return self.descriptor is None or os.pread(self.descriptor, 1, max(0, self.size - 1)) == b"\n"

    def empty(self) -> bool:
        """Empty the open part; return whether that worked."""
        if self.descriptor is None:
            return False
        try:
            os.ftruncate(self.descriptor, 0)
        except OSError:
            return False
        self.size = 0
        self._ledger.renew(self.descriptor)
        return True

    def restore(self) -> None:
        """Write the manifest again if somebody removed it.

        Raises:
            OSError: with ``filename``.
        """
        if self._folder is not None:
            self._held.restore(self._folder)

    def point(self) -> bool:
        """Point the symlink at the part; a failure is a warning, and keeps no record waiting.

        Returns:
            Whether it was changed.
        """
        if self._folder is None:
            return False
        try:
            changed = self._folder.point(self._series, self.name)
        except OSError as error:
            self.trouble = explain(error)
            return False
        self.trouble = None
        return changed

    def announce(self, line: bytes) -> None:
        """Say in the manifest how the part begins, before its first line is written.

        Raises:
            OSError: the manifest cannot be written.
        """
        if self.size or self._folder is None or line == self._announced or self.part is None:
            return
        if line != self._header:  # the header was announced when the part was opened
            self._held.announce(self._folder, announcement(self.name, line))
        self._announced = line

    def announce_row(self, line: bytes) -> None:
        """Say in the manifest how the first row of a table reads, before it is written.

        Raises:
            OSError: the manifest cannot be written.
        """
        if self._header is None or self._folder is None or self.size != len(self._header) + 1:
            return
        self._held.announce(self._folder, row_announcement(self.name, line))

    def say_shared(self) -> None:
        """Say in the manifest that the part has lines of others.

        Rows of a table tell nothing of who wrote them, so a table is mixed from now on; of other records
        housekeeping looks at each.

        Raises:
            OSError: the manifest cannot be read or written.
        """
        if self._folder is None:
            return
        claims = self._held.claims(self._folder)
        mixed = {"mixed": True} if self._header is not None else {}
        if self.name not in (claims.mixed if mixed else claims.met):
            self._held.announce(self._folder, remark(self.name, met=True, **mixed))
        self.met = False

    def say_size(self) -> None:
        """Say in the manifest at what size a table is closed: what is added later is somebody else's.

        Raises:
            OSError: the manifest cannot be written.
        """
        if self._header is not None and self._folder is not None and self.descriptor is not None:
            self._held.announce(self._folder, remark(self.name, size=self.size))

    def close(self) -> None:
        """Have the open part closed after its last fsync."""
        if self.descriptor is not None:
            self._ledger.retire(self.descriptor)
            self.descriptor = None
        self.is_replacement = False

    def close_for_good(self) -> None:
        """Close the part, which gets no more lines, and say at what size."""
        with contextlib.suppress(OSError):  # without it, housekeeping looks at the rows
            self.say_size()
        self.close()

    def let_go(self) -> None:
        """Close the part that is gone from its path; the listener hears when another one is open."""
        self.vanished, self.met = self.path, False
        self.close()

    def supersede(self) -> None:
        """Leave the open part to who took its descriptor: an fsync failed, and the next part is a new one."""
        self.met = False
        self.descriptor, self.is_replacement = None, True

    def _choose_and_open(self, folder: Folder, now: float, max_part_bytes: int) -> None:
        part = choose_part(
            folder,
            self._held.claims(folder),
            self._series,
            date=utc_date(now),
            max_bytes=0 if self.is_replacement else max_part_bytes,  # after a failed fsync, a new one
        )
        name = part_name(self._series.name, part, self._series.extension)
        damage = prepare_part(self._held, folder, name, header=self._header or b"")
        if damage is not None:
            self._listener.damaged(damage)
        descriptor, _ = folder.open(name, os.O_RDWR | os.O_APPEND, mode=self._held.file_mode)
        there = os.fstat(descriptor)
        self._ledger.opened(descriptor, folder.path_of(name), owner=self._owner, size=there.st_size)
        try:
            demand_own(self._held, folder, descriptor, name)
            self._ledger.entered(folder)  # always: an earlier attempt may have made the file, then failed
        except BaseException:
            self._ledger.retire(descriptor)
            raise
        self.descriptor, self.part, self.name, self._folder = descriptor, part, name, folder
        self.opened += 1
        self._identity, self.size = (there.st_dev, there.st_ino), there.st_size
        self._announced, self.met = None, False
        self.point()
        if self.vanished is not None:
            self._listener.recreated(self.vanished)
            self.vanished = None
