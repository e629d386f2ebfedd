"""Search the directories that patterns stand for, and watch where another may appear.

==========================  ==========================================================================
part of a pattern           stands for
==========================  ==========================================================================
``*``, ``?``, ``[…]``       names of one directory; those that begin with a dot only if the part does
``**``                      the directory, and those up to MAX_DEPTH levels below it, not through links
anything else               itself
==========================  ==========================================================================

A wildcard passes over ``.git``, ``node_modules`` and ``lost+found``; ``**`` also passes over other file
systems, and nothing in them is watched.

Watched are, up to MAX_WATCHED directories: those in which a wildcard or a name is looked for, and those that
hold a link on the way to a workspace; then, of what was found without ``.claude/coordination``, the last
directory on the way down to it, what changed last first. Beside them as many in which git keeps worktrees
(worktrees.py). A directory is watched before it is listed, so what appears meanwhile is either found or
announced.

What may not be looked into is :class:`Closed`: to a part that names directories of one folder each of them is
what the configuration means, to ``**`` it is merely found.
"""

from __future__ import annotations

import errno
import fnmatch
import heapq
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from coordd.sources.coordination import COORDINATION
from coordd.sources.file.chain import reach
from coordd.sources.file.ground import Ground
from coordd.sources.file.mounts import is_remote, mount_points

MAX_WATCHED = 512
MAX_DEPTH = 6
MAX_LISTED = 20_000
"""Directories that one search lists."""
MAX_CLOSED = 100
"""Directories that may not be looked into which are named for one pattern."""

_MAGIC = frozenset("*?[")
_ANY_DEPTH = "**"


class Await(Protocol):
    """Watch a directory for names that appear in it: these, or directories that match the pattern.

    Return whether it is watched now. A call with neither is for the directory's own removal and move.
    ``any_change``: these names are also told of when they go, or files of that name are rewritten.
    """

    def __call__(
        self,
        path: str,
        names: frozenset[str] = frozenset(),
        pattern: re.Pattern[str] | None = None,
        *,
        any_change: bool = False,
    ) -> bool:
        """See above."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A directory that may not be looked into; ``named``: the pattern of the configuration stands for it."""

    path: str
    error: OSError
    named: bool


@dataclass(slots=True)
class PatternTally:
    """What one pattern stands for: the number of directories, and of those, what may not be looked into.

    ``closed`` holds at most MAX_CLOSED; ``more`` counts the others that are ``named``.
    """

    directories: int = 0
    closed: list[Closed] = field(default_factory=list)
    more: int = 0


def may_be_pattern(path: str) -> bool:
    """Return whether a path holds wildcards; one that is an existing directory, as ``a[1]``, is plain."""
    return not _MAGIC.isdisjoint(path)


def base_of(pattern: str) -> str:
    """Return the directory at which an absolute pattern begins to be one."""
    return _split(pattern)[0]


class Search:
    """One search through all patterns; for a trace thread, since it reads directories.

    ``cut`` is true once MAX_LISTED directories were listed, and the search ends there. ``complete`` is false
    where another workspace may appear that nothing announces.

    Args:
        watch: see :class:`Await`; it may refuse everything.
        keepalive: called before each directory is listed.
        ground: what may be touched.
    """

    def __init__(self, *, watch: Await, keepalive: Callable[[], None], ground: Ground) -> None:
        self.cut = False
        self.complete = True
        self._watch = watch
        self._keepalive = keepalive
        self._ground = ground
        self._mounts = mount_points()
        self._foreign: set[str] = set()
        self._watched: set[str] = set()
        self._listed = 0
        self._without: list[tuple[int, str]] = []
        self._noted: set[str] = set()
        self._real: dict[str, str] = {}
        self._looked_at: tuple[str, os.stat_result] | None = None
        self._tally = PatternTally()
        self._found_only = False

    def matches(self, pattern: str, tally: PatternTally) -> Iterator[tuple[str, bool]]:
        """Yield the directories that an absolute pattern stands for, each once for each way to it.

        Each with whether it holds ``.claude/coordination``; :meth:`late` is to follow for those that do not.

        Args:
            pattern: the pattern.
            tally: is filled in.
        """
        self._tally = tally
        base, parts = _split(pattern)
        self._found_only = _ANY_DEPTH in parts
        if not self._ground.may(base):
            return
        if is_remote(base):
            self.complete = False
        if not reach(base, self.wait) and not os.path.isdir(base):
            return
        directories = iter((base,))
        for part in parts:
            directories = self._step(directories, part)
        for directory in directories:
            if not self._ground.may(directory):
                continue
            holds = self._holds(directory)
            if holds is None:
                continue
            tally.directories += 1
            yield directory, holds

    def passed_over(self, path: str) -> bool:
        """Return whether a path lies in another file system, where nothing is watched."""
        return path in self._foreign

    def real(self, directory: str) -> str:
        """Return the canonical path of a directory; of one that was just listed without a look at it."""
        return self._real.get(directory) or os.path.realpath(directory)

    def note(self, directory: str) -> None:
        """Have a directory without ``.claude/coordination`` watched by :meth:`late`."""
        if directory in self._noted:
            return
        if directory in self._foreign:
            self.complete = False
            return
        try:
            known = self._looked_at
            state = known[1] if known is not None and known[0] == directory else os.stat(directory)
        except (OSError, ValueError):
            return
        if stat.S_ISDIR(state.st_mode):
            self._noted.add(directory)
            if len(self._without) < MAX_WATCHED:
                heapq.heappush(self._without, (state.st_mtime_ns, directory))
            else:
                self.complete = False
                heapq.heappushpop(self._without, (state.st_mtime_ns, directory))

    def late(self) -> Iterator[str]:
        """Watch what was found without ``.claude/coordination``; yield what has it by then."""
        for _, directory in sorted(self._without, reverse=True):
            if not self._ground.may(directory):
                continue
            parent = directory
            for name in COORDINATION.split("/"):
                path = f"{parent}/{name}"
                names = frozenset({name, ".git"} if parent is directory else {name})
                if not os.path.isdir(path) and not (self.wait(parent, names) and os.path.isdir(path)):
                    break
                parent = path
            else:
                yield directory

    def _holds(self, directory: str) -> bool | None:
        """Return whether a directory holds ``.claude/coordination``; None for what is no directory.

        What may not be looked into counts as a directory that does not.
        """
        try:
            if stat.S_ISDIR(os.stat(f"{directory}/{COORDINATION}").st_mode):
                return True
        except (OSError, ValueError) as error:
            self._refused(f"{directory}/{COORDINATION}", error)
        try:
            state = os.stat(directory)
        except (OSError, ValueError):
            return None
        self._looked_at = directory, state
        return False if stat.S_ISDIR(state.st_mode) else None

    def _refused(self, path: str, error: OSError | ValueError) -> None:
        """Note that a path may not be looked into, if that is what the error says."""
        if not isinstance(error, OSError) or error.errno not in (errno.EACCES, errno.EPERM):
            return
        tally, named = self._tally, not self._found_only
        if len(tally.closed) < MAX_CLOSED:
            tally.closed.append(Closed(path, error, named))
        else:
            tally.more += named

    def _step(self, directories: Iterator[str], part: str) -> Iterator[str]:
        for directory in directories:
            if part == _ANY_DEPTH:
                yield from self._below(directory)
            elif _MAGIC.isdisjoint(part):
                if not self._ground.may(directory):
                    continue
                self.wait(directory, frozenset({part}))
                path = os.path.join(directory, part)
                if directory in self._foreign:
                    self._foreign.add(path)
                yield path
            else:
                yield from self._children(directory, _matching(part))

    def _below(self, top: str) -> Iterator[str]:
        waiting = deque([(top, 0)])
        names = _matching("*")
        while waiting:
            directory, depth = waiting.popleft()
            yield directory
            if depth < MAX_DEPTH:
                found = self._children(directory, names, links=False)
                waiting.extend((child, depth + 1) for child in found if child not in self._foreign)

    def _children(self, directory: str, names: re.Pattern[str], *, links: bool = True) -> list[str]:
        """Return the directories in one whose names match, having watched it; none if it cannot be read."""
        self._keepalive()
        if not self._ground.may(directory):
            return []
        self.cut = self.cut or self._listed >= MAX_LISTED
        if self.cut:
            return []
        self._listed += 1
        self.wait(directory, pattern=names)
        real = self.real(directory)
        outside = directory in self._foreign
        paths = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    name = entry.name
                    if not names.match(name) or not self._leads(entry, links):
                        continue
                    path = os.path.join(directory, name)
                    paths.append(path)
                    lies_at = f"{real.rstrip('/')}/{name}"
                    if outside or lies_at in self._mounts:
                        self._foreign.add(path)
                    if not entry.is_symlink():
                        self._real[path] = lies_at
        except OSError as error:
            self._refused(directory, error)
            return []
        return paths

    def _leads(self, entry: os.DirEntry[str], links: bool) -> bool:
        """Return whether an entry is a directory, or a link to one where those count."""
        try:
            if entry.is_symlink() and not (links and self._ground.may(entry.path)):
                return False
            return entry.is_dir()
        except OSError:
            return False

    def wait(
        self,
        path: str,
        names: frozenset[str] = frozenset(),
        pattern: re.Pattern[str] | None = None,
        *,
        any_change: bool = False,
    ) -> bool:
        """Watch a directory as :class:`Await` says, within the bounds."""
        if path in self._foreign or (path not in self._watched and len(self._watched) >= MAX_WATCHED):
            self.complete = False
            return False
        if not self._watch(path, names, pattern, any_change=any_change):
            # one that is not there, or that cannot be searched, leaves nothing to be found
            seen = os.path.isdir(path) and os.access(path, os.R_OK if pattern else os.X_OK)
            self.complete = self.complete and not seen
            return False
        self._watched.add(path)
        return True


def _split(pattern: str) -> tuple[str, list[str]]:
    """Return the directory at which a pattern begins to be one, and the parts below it."""
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
    return "/".join(parts[:first]) or "/", parts[first:]


def _matching(part: str) -> re.Pattern[str]:
    hidden = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(rf"(?!(?:\.git|node_modules|lost\+found)\Z){hidden}{fnmatch.translate(part)}")
