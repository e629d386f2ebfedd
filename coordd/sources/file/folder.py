"""One folder of trace files, read again only where it changed.

What a file says is kept with the state the file had when it was read. A file is read again when its mtime,
ctime, size or inode differ, and when it was read so soon after its last change that another change could
have left all four as they were. Knows which names a caller asks for and how to parse them, and not what they
mean together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

from coordd.sources.bounds import Budget, Shelf
from coordd.util.fields import Malformed, Parsed
from coordd.util.untrusted_folder import explain_unreadable, irregular, read_regular

T = TypeVar("T")

MAX_ENTRIES = 100_000
MAX_MALFORMED = 1000
"""Names that could not be used and are kept; more are counted."""
BREATH = 100
"""Files looked at between two signs of going on."""
RACY_SECONDS = 2.0  # the coarsest timestamps in use, those of FAT


@dataclass(frozen=True, slots=True)
class FileKind(Generic[T]):
    """How files of one kind are read: up to ``limit`` bytes, into a value. ``parse`` raises nothing."""

    limit: int
    parse: Callable[[str, bytes, os.stat_result], Parsed[T]]


class Entry(Generic[T]):
    """One file as it was last read.

    ``counts`` is False for what is no readable trace at all (a FIFO, a link, a huge file): it names nobody.
    ``value`` is None where nothing could be made of the file, ``problem`` says why.
    """

    __slots__ = (
        "counts",
        "ctime_ns",
        "ino",
        "kind",
        "mtime_ns",
        "problem",
        "released",
        "settled",
        "size",
        "value",
    )

    def __init__(
        self,
        kind: FileKind[T],
        state: os.stat_result,
        value: T | None,
        problem: str | None,
        *,
        counts: bool,
        settled: bool,
    ) -> None:
        self.kind = kind
        self.mtime_ns = state.st_mtime_ns
        self.ctime_ns = state.st_ctime_ns
        self.ino = state.st_ino
        self.size = state.st_size
        self.value = value
        self.problem = problem
        self.counts = counts
        self.settled = settled
        self.released = False

    def is_of(self, state: os.stat_result) -> bool:
        """Whether the file still has the state it was read in."""
        return (
            self.mtime_ns == state.st_mtime_ns
            and self.ino == state.st_ino
            and self.size == state.st_size
            and self.ctime_ns == state.st_ctime_ns
        )

    def refused(self, problem: str) -> Entry[T]:
        """The same file, which cannot be looked at now."""
        other = copy(self)
        other.value, other.problem, other.settled, other.released = None, problem, False, False
        return other

    def says(self, other: Entry[T] | None) -> bool:
        """Whether both readings mean the same."""
        return (
            other is not None
            and self.value == other.value
            and self.counts == other.counts
            and self.problem == other.problem
        )


class Folder(Generic[T]):
    """The trace files of one folder.

    Args:
        path: for messages only; the folder is always reached by a descriptor.
        kind_of: how to read the file of this name, None for a name that is no trace; Malformed for a name
            that is one, but cannot be used.
        max_entries: directory entries beyond this are not looked at.
        files: so many files are kept, in all folders that share it; None: no such bound.
        shelf: decides which values are kept.
        breathe: is called now and then while a scan goes on: it takes long, and hangs not.
    """

    def __init__(
        self,
        *,
        path: str,
        kind_of: Callable[[str], FileKind[T] | None],
        max_entries: int = MAX_ENTRIES,
        files: Budget | None = None,
        shelf: Shelf[T] | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._kind_of = kind_of
        self._max_entries = max_entries
        self._files = files or Budget(max_entries)
        self._shelf: Shelf[T] = shelf or Shelf()
        self._breathe = breathe
        self._beyond = 0
        self.entries: dict[str, Entry[T]] = {}
        self.bad_names: dict[str, str] = {}
        self.bad_unnamed = 0
        self.overfull = False

    @property
    def crowded(self) -> str | None:
        """In words that not all of it is known, for it is too much; None where it is."""
        if self.overfull:
            return f"more than {self._max_entries} entries; the rest is not read"
        if self._beyond:
            return f"{self._beyond} files more than there is room for; they are not read"
        return None

    def scan(self, fd: int, now: float) -> set[str]:
        """Look at every file; the names whose meaning changed, those that vanished included.

        Where some found no room and others have gone, a second look lets those in.

        Args:
            fd: descriptor of the folder.
            now: wall clock, epoch seconds.

        Raises:
            OSError: the folder cannot be listed; then nothing is changed.
        """
        changed, gone = self._look(fd, now)
        return changed | self._look(fd, now)[0] if gone and self._beyond else changed

    def _look(self, fd: int, now: float) -> tuple[set[str], bool]:
        """One look at every file; the names whose meaning changed, and whether any has gone."""
        known = self.entries
        fresh: dict[str, Entry[T]] = {}
        changed: set[str] = set()
        racy_from = int((now - RACY_SECONDS) * 1e9)
        count = 0
        listing = os.scandir(fd)
        self.bad_names, self.bad_unnamed = {}, 0
        self._beyond = 0
        with listing, self._undone(fresh):
            for count, item in enumerate(listing, 1):
                if count > self._max_entries:
                    break
                if count % BREATH == 0:
                    self._breathe()
                name = item.name
                entry = known.get(name)
                if entry is not None:
                    kind: FileKind[T] | None = entry.kind
                else:
                    try:
                        kind = self._kind_of(name)
                    except Malformed as error:
                        self._note(name, str(error))
                        continue
                if kind is None:
                    continue
                try:
                    state = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry is None or not entry.settled or not entry.is_of(state):
                    new = self._take(fd, name, kind, (state, racy_from), entry)
                    if new is None:
                        continue
                    if not new.says(entry):
                        changed.add(name)
                    entry = new
                fresh[name] = entry
        gone = known.keys() - fresh.keys()
        for name in gone:
            self._forget(known[name])
        changed |= gone
        self.entries = fresh
        self.overfull = count > self._max_entries
        return changed, bool(gone)

    def refresh(self, fd: int, name: str, *, force: bool = False) -> bool:
        """Look at one file; whether its meaning changed.

        What is read here was written just now, as a rule, so the next scan reads it again.

        Args:
            fd: descriptor of the folder.
            name: a name that ``kind_of`` knows.
            force: read it even where its state has not changed.
        """
        old = self.entries.get(name)
        try:
            if old is None and not os.access(name, os.F_OK, dir_fd=fd, follow_symlinks=False):
                return False  # most agents have no more than a heartbeat; an exception would cost twice this
            state = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if old is None and len(self.entries) >= self._max_entries:
                return False
            if old is not None and not force and old.settled and old.is_of(state):
                return False
            kind = old.kind if old is not None else self._kind_of(name)
            new = None if kind is None else self._take(fd, name, kind, (state, 0), old)
        except (FileNotFoundError, ValueError):  # ValueError: a NUL, from a list; no file is called so
            new = None
        except OSError as error:
            if old is None:
                return False
            new = old.refused(explain_unreadable(error, self._at(name)))
            self._release(old)
        if new is None:
            if old is not None:
                del self.entries[name]
                self._forget(old)
            return old is not None
        self.entries[name] = new
        return not new.says(old)

    def clear(self) -> set[str]:
        """Forget everything, for the folder is not there; the names that were known."""
        known = set(self.entries)
        for entry in self.entries.values():
            self._forget(entry)
        self.entries = {}
        self.bad_names, self.bad_unnamed = {}, 0
        self._beyond = 0
        self.overfull = False
        return known

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each file, or the folder (empty name), that could not be used as it should, and why."""
        if self.crowded is not None:
            yield "", self.crowded
        yield from self.bad_names.items()
        for name, entry in self.entries.items():
            if entry.problem is not None:
                yield name, entry.problem

    @contextmanager
    def _undone(self, fresh: dict[str, Entry[T]]) -> Iterator[None]:
        """Give back what a scan has booked that does not come to its end."""
        try:
            yield
        except BaseException:
            for name, entry in fresh.items():
                if name not in self.entries:
                    self._forget(entry)
                elif entry is not self.entries[name]:
                    self._release(entry)
            raise

    def _note(self, name: str, problem: str) -> None:
        if len(self.bad_names) < MAX_MALFORMED:
            self.bad_names[name] = problem
        else:
            self.bad_unnamed += 1

    def _take(
        self, fd: int, name: str, kind: FileKind[T], seen: tuple[os.stat_result, int], old: Entry[T] | None
    ) -> Entry[T] | None:
        """Load a file and keep to the bounds; None where it has gone, or there is no room for it.

        What was known of it is given up first: what is rewritten finds the room that it had.
        """
        if old is None and not self._files.take(1):
            self._beyond += 1
            return None
        try:
            new = self._load(fd, name, kind, *seen)
        except BaseException:
            if old is None:
                self._files.give(1)
            raise
        self._release(old)
        if new is not None and new.value is not None:
            new.value = self._shelf.admit(new.value)
            if new.value is None:
                self._beyond += 1
                new = None
        if new is None and old is None:
            self._files.give(1)
        return new

    def _release(self, entry: Entry[T] | None) -> None:
        """Give up the value of a file."""
        if entry is not None and entry.value is not None and not entry.released:
            entry.released = True
            self._shelf.release(entry.value)

    def _forget(self, entry: Entry[T]) -> None:
        self._release(entry)
        self._files.give(1)

    def _load(
        self, fd: int, name: str, kind: FileKind[T], state: os.stat_result, racy_from: int
    ) -> Entry[T] | None:
        problem = irregular(state.st_mode)
        if problem is not None:
            return Entry(kind, state, None, problem, counts=False, settled=True)
        try:
            content, state = read_regular(fd, name, kind.limit)
        except FileNotFoundError:
            return None
        except Malformed as error:
            return Entry(kind, state, None, str(error), counts=False, settled=True)
        except OSError as error:  # never settled: what refuses now may answer next time
            return Entry(
                kind, state, None, explain_unreadable(error, self._at(name)), counts=True, settled=False
            )
        value, problem = kind.parse(name, content, state)
        settled = max(state.st_mtime_ns, state.st_ctime_ns) < racy_from
        return Entry(kind, state, value, problem, counts=True, settled=settled)

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"


def list_names(fd: int, max_entries: int) -> tuple[list[str], dict[str, str], bool]:
    """The regular files of a folder, everything else with its kind, and whether there were too many."""
    names: list[str] = []
    others: dict[str, str] = {}
    with os.scandir(fd) as listing:
        for count, item in enumerate(listing, 1):
            if count > max_entries:
                return names, others, True
            if item.is_file(follow_symlinks=False):
                names.append(item.name)
                continue
            try:
                kind = irregular(item.stat(follow_symlinks=False).st_mode)
            except FileNotFoundError:
                continue
            if kind is not None:
                others[item.name] = kind
    return names, others, False
