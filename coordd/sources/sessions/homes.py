"""Find the homes of a coding agent that there are: a person may have several. The names are Claude Code's.

============================================================  ================================================
a home                                                        is one
============================================================  ================================================
that the configuration names, or ``$CLAUDE_CONFIG_DIR``       always, even before it is there
``~/.claude``                                                 as soon as it is there
``~/.claude*``                                                with both ``sessions/`` and ``projects/``
that a process of the program names, or has named             as long as it is there
============================================================  ================================================

With ``users`` these are the homes of everybody whose directory lies there, and of the users of running
programs (users.py): of one user only so many that they hide nobody else's.

Codex has ``$CODEX_HOME`` and ``~/.codex`` in their places, Copilot ``$COPILOT_HOME`` and ``~/.copilot``,
and no others beside that: who has several names them. Each place that may be a home is a candidate, and is
looked at by itself: one that hangs hides no other. What is asked here of a file system or of another
process's memory may block, and belongs in a thread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

MAX_HOMES = 64
"""Homes that are read."""
MAX_ENTRIES = 20_000
"""Names in the user's directory that are looked at."""
MAX_OF_ONE = 3
"""Homes beside the usual one, and homes that programs name, of each user where everybody's are looked for."""


@dataclass(frozen=True, slots=True)
class HomesWanted:
    """What is looked for.

    ``configured`` are paths from the configuration, ``environment`` is what the variable of the daemon's own
    environment says that names a home. ``user`` is the user's own directory; None: only what is configured is
    looked for, or with ``users``, the directory in which those of all users lie, everybody's. ``folder`` is
    the name of the usual home there; with ``beside`` others begin like it.
    """

    configured: tuple[str, ...] = ()
    environment: str | None = None
    user: str | None = None
    folder: str = ".claude"
    beside: bool = True
    users: str | None = None

    @property
    def searches(self) -> bool:
        """Whether anything is looked for beside what is configured."""
        return self.user is not None or self.users is not None

    def of(self, user: str) -> HomesWanted:
        """Return what is looked for in the directory of one of the users."""
        return HomesWanted(user=user, folder=self.folder, beside=self.beside)


class Candidate(NamedTuple):
    """A place that may be a home, as an absolute path, and why it may."""

    path: str
    why: Literal["named", "usual", "beside", "running"]


class Beside(NamedTuple):
    """The folders beside the usual home, as ``~/.claude*``; ``cut``: there are more names than are read."""

    paths: tuple[str, ...] = ()
    cut: bool = False


class Awaited(NamedTuple):
    """A folder in which something may appear, and the names that it may have."""

    folder: str
    names: tuple[str, ...]


class Look(NamedTuple):
    """What a look at a candidate tells: its canonical path, and which folder that is.

    ``mark`` is the folder's device and inode, None where there is none. ``is_home`` is whether it is a home
    as it is now, ``awaited`` what would make it one. ``failed`` is whether its file system fails.
    """

    path: str
    mark: tuple[int, int] | None
    is_home: bool
    awaited: Awaited | None = None
    failed: bool = False


class FoundHome(NamedTuple):
    """A home: its canonical path, and whether the configuration or the environment names it."""

    path: str
    named: bool


def named_candidates(wanted: HomesWanted) -> list[Candidate]:
    """Return the candidates that need not be looked for."""
    paths = [*wanted.configured, *([wanted.environment] if wanted.environment else [])]
    paths = [os.path.expanduser(path) for path in paths]
    usual = [usual_home(wanted, wanted.user)] if wanted.user is not None else []
    return [*(Candidate(path, "named") for path in paths if os.path.isabs(path)), *usual]


def usual_home(wanted: HomesWanted, user: str) -> Candidate:
    """Return the candidate for the usual home in a user's directory."""
    return Candidate(os.path.join(user, wanted.folder), "usual")


def in_turns(lists: Iterable[Sequence[str]], most: int) -> list[str]:
    """Return at most so many of each list, the first of all before the second of any: nobody hides others."""
    heads = [one[:most] for one in lists]
    turns = range(max(map(len, heads), default=0))
    return [one[turn] for turn in turns for one in heads if turn < len(one)]


def list_beside(user: str, folder: str = ".claude") -> Beside:
    """Return the folders whose names begin like the usual home's; none is touched, for one may hang."""
    try:
        with os.scandir(user) as entries:
            seen = list(islice(entries, MAX_ENTRIES + 1))
    except OSError:
        return Beside()
    names = [
        one.name
        for one in seen[:MAX_ENTRIES]
        if one.name.startswith(folder) and (one.is_symlink() or one.is_dir(follow_symlinks=False))
    ]
    paths = tuple(os.path.join(user, name) for name in sorted(names) if name != folder)
    return Beside(paths, cut=len(seen) > MAX_ENTRIES)


def look_at(candidate: Candidate) -> Look:
    """Look at one candidate."""
    path = os.path.realpath(candidate.path)
    try:
        state = os.stat(path)
    except OSError as error:
        named, failed = candidate.why == "named", error.errno not in _NOT_THERE
        return Look(path, None, is_home=named, awaited=_awaited(path) if named else None, failed=failed)
    mark = state.st_dev, state.st_ino
    if candidate.why == "named":
        return Look(path, mark, is_home=True)
    if not os.path.isdir(path):
        return Look(path, mark, is_home=False)
    if candidate.why != "beside" or all(os.path.isdir(f"{path}/{one}") for one in _PARTS):
        return Look(path, mark, is_home=True)
    return Look(path, mark, is_home=False, awaited=Awaited(path, _PARTS))


def found_homes(looks: Mapping[Candidate, Look], candidates: Iterable[Candidate]) -> list[FoundHome]:
    """Return the homes among the candidates, each once, by whatever way it is reached.

    Args:
        looks: what looks at candidates have told.
        candidates: in the order in which they count.
    """
    found: list[FoundHome] = []
    seen: set[object] = set()
    for one in candidates:
        look = looks.get(one)
        if look is not None and look.is_home and (look.mark or look.path) not in seen:
            seen.add(look.mark or look.path)
            found.append(FoundHome(look.path, one.why == "named"))
    return found


_PARTS = ("sessions", "projects")
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG)


def _awaited(path: str) -> Awaited:
    """Return the folder in which the first part of a path will appear that is not there yet."""
    below, above = os.path.basename(path), os.path.dirname(path)
    while above != os.path.dirname(above) and not os.path.isdir(above):
        below, above = os.path.basename(above), os.path.dirname(above)
    return Awaited(above, (below,))
