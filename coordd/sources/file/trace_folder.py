"""Read one folder of trace files, opening again only the files that changed.

The parsed value of each file is kept with the file's state (stat) at reading. A file is read again if its
mtime, ctime, size or inode differ, or if it was read so soon after its last change that another change could
have left all four the same. The caller says which names to read and how to parse them; what they mean
together is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from coordd.sources.bounds import Budget, Quota
from coordd.sources.file.trace_file import Entry, FileKind
from coordd.util.fields import Malformed
from coordd.util.untrusted_folder import explain_unreadable_trace, irregular, read_regular

T = TypeVar("T")

MAX_ENTRIES = 100_000
MAX_MALFORMED = 1000
"""Unusable names that are kept with their problem; more are only counted."""
KEEPALIVE_EVERY = 100
"""Files looked at between two calls of ``keepalive``."""
RACY_SECONDS = 2.0  # the coarsest timestamps in use, those of FAT


class TraceFolder(Generic[T]):
    """Keep the trace files of one folder.

    Args:
        path: for messages only; the folder is always reached by a descriptor.
        kind_of: returns how to read the file of a name, None if the name is not a trace's; raises Malformed
            for a trace's name that cannot be used.
        max_entries: directory entries beyond this are not looked at.
        files: budget of files, shared with other folders; None: no such bound.
        quota: decides which values are kept.
        keepalive: called now and then during a scan, to show that it goes on and does not hang.
    """

    def __init__(
        self,
        *,
        path: str,
        kind_of: Callable[[str], FileKind[T] | None],
        max_entries: int = MAX_ENTRIES,
        files: Budget | None = None,
        quota: Quota[T] | None = None,
        keepalive: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._kind_of = kind_of
        self._max_entries = max_entries
        self._files = files or Budget(max_entries)
        self._quota: Quota[T] = quota or Quota()
        self._keepalive = keepalive
        self._left_out = 0
        self.entries: dict[str, Entry[T]] = {}
        self.bad_names: dict[str, str] = {}
        self.bad_unnamed = 0
        self.truncated = False

    @property
    def over_limit(self) -> str | None:
        """Why not all of the folder is known, in words, because there is too much; None if all is."""
        if self.truncated:
            return f"more than {self._max_entries} entries; the rest is not read"
        if self._left_out:
            return f"{self._left_out} files more than there is room for; they are not read"
        return None

    def scan(self, fd: int, now: float) -> set[str]:
        """Look at every file; return the names whose meaning changed, vanished ones included.

        If files were left out for lack of budget and others have vanished, a second look lets them in.

        Args:
            fd: descriptor of the folder.
            now: wall clock, epoch seconds.

        Raises:
            OSError: the folder cannot be listed; nothing is changed.
        """
        changed, gone = self._look(fd, now)
        return changed | self._look(fd, now)[0] if gone and self._left_out else changed

    def _look(self, fd: int, now: float) -> tuple[set[str], bool]:
        """Look at every file once; return the names whose meaning changed, and whether any has vanished."""
        known = self.entries
        fresh: dict[str, Entry[T]] = {}
        changed: set[str] = set()
        racy_from = int((now - RACY_SECONDS) * 1e9)
        count = 0
        listing = os.scandir(fd)
        self.bad_names, self.bad_unnamed = {}, 0
        self._left_out = 0
        with listing, self._rolled_back(fresh):
            for count, item in enumerate(listing, 1):
                if count > self._max_entries:
                    break
                if count % KEEPALIVE_EVERY == 0:
                    self._keepalive()
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
                if entry is None or not entry.settled or not entry.matches(state):
                    new = self._load_within_bounds(fd, name, kind, (state, racy_from), entry)
                    if new is None:
                        continue
                    kept = new.or_earlier(entry)
                    if kept is not entry:
                        changed.add(name)
                    entry = kept
                fresh[name] = entry
        gone = known.keys() - fresh.keys()
        for name in gone:
            self._forget(known[name])
        changed |= gone
        self.entries = fresh
        self.truncated = count > self._max_entries
        return changed, bool(gone)

    def refresh(self, fd: int, name: str, *, force: bool = False) -> bool:
        """Look at one file; return whether its meaning changed.

        The file was probably written just now, so the next scan reads it again.

        Args:
            fd: descriptor of the folder.
            name: a name that ``kind_of`` knows.
            force: read it even where its state has not changed.
        """
        old = self.entries.get(name)
        try:
            if old is None and not os.access(name, os.F_OK, dir_fd=fd, follow_symlinks=False):
                return False  # most agents only have a heartbeat; an exception would cost twice as much
            state = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if old is None and len(self.entries) >= self._max_entries:
                return False
            if old is not None and not force and old.settled and old.matches(state):
                return False
            kind = old.kind if old is not None else self._kind_of(name)
            new = None if kind is None else self._load_within_bounds(fd, name, kind, (state, 0), old)
        except (FileNotFoundError, ValueError):  # ValueError: a NUL in a listed id, which no file name holds
            new = None
        except OSError as error:
            if old is None:
                return False
            new = old.refused(explain_unreadable_trace(error, self._at(name)))
            self._release(old)
        if new is None:
            if old is not None:
                del self.entries[name]
                self._forget(old)
            return old is not None
        kept = self.entries[name] = new.or_earlier(old)
        return kept is not old

    def clear(self) -> set[str]:
        """Forget all files, since the folder does not exist; return the names that were known."""
        known = set(self.entries)
        for entry in self.entries.values():
            self._forget(entry)
        self.entries = {}
        self.bad_names, self.bad_unnamed = {}, 0
        self._left_out = 0
        self.truncated = False
        return known

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield name and reason of each file that could not be fully used; the folder's name is empty."""
        if self.over_limit is not None:
            yield "", self.over_limit
        yield from self.bad_names.items()
        for name, entry in self.entries.items():
            if entry.problem is not None:
                yield name, entry.problem

    @contextmanager
    def _rolled_back(self, fresh: dict[str, Entry[T]]) -> Iterator[None]:
        """Give back what a scan has charged if it does not come to its end."""
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

    def _load_within_bounds(
        self, fd: int, name: str, kind: FileKind[T], seen: tuple[os.stat_result, int], old: Entry[T] | None
    ) -> Entry[T] | None:
        """Load a file within the bounds; None if it has vanished or does not fit.

        The budget of its previous value is given back first, so that a rewritten file fits where it did
        before.
        """
        if old is None and not self._files.take(1):
            self._left_out += 1
            return None
        try:
            new = self._load(fd, name, kind, *seen)
        except BaseException:
            if old is None:
                self._files.give(1)
            raise
        self._release(old)
        if new is not None and new.value is not None:
            new.value = self._quota.admit(new.value)
            if new.value is None:
                self._left_out += 1
                new = None
        if new is None and old is None:
            self._files.give(1)
        return new

    def _release(self, entry: Entry[T] | None) -> None:
        """Give back the budget of a file's value."""
        if entry is not None and entry.value is not None and not entry.released:
            entry.released = True
            self._quota.release(entry.value)

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
        except OSError as error:  # not settled: what fails now may work next time
            return Entry(
                kind, state, None, explain_unreadable_trace(error, self._at(name)), counts=True, settled=False
            )
        value: T | None
        try:
            value, problem = kind.parse(name, content, state)
        except Malformed as error:
            value, problem = None, str(error)
        settled = max(state.st_mtime_ns, state.st_ctime_ns) < racy_from
        return Entry(kind, state, value, problem, counts=True, settled=settled)

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"


def list_names(fd: int, max_entries: int) -> tuple[list[str], dict[str, str], bool]:
    """Return a folder's regular files, all else with its kind, and whether there were too many entries."""
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
