"""Find the homes of Claude Code that there are: a person may have several.

============================================================  ================================================
a home                                                        is one
============================================================  ================================================
that the configuration names, or ``$CLAUDE_CONFIG_DIR``       always, even before it is there
``~/.claude``                                                 as soon as it is there
``~/.claude*``                                                with both ``sessions/`` and ``projects/``
that a running process of Claude Code names                   as soon as it is there
============================================================  ================================================

Of a process's environment that one variable alone is looked at, and only where the process is the own
user's. All calls may block, and belong in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from coordd.host.process_facts import ProbeFailed
from coordd.host.processes import glance
from coordd.sources.claude_code.processes import is_named_so

MAX_HOMES = 64
"""Homes that are read."""
MAX_ENTRIES = 20_000
"""Names in the user's directory that are looked at."""
_MAX_ENVIRON = 1024 * 1024
_VARIABLE = b"CLAUDE_CONFIG_DIR="


class FoundHome(NamedTuple):
    """A home: its canonical path, and whether the configuration or the environment names it."""

    path: str
    named: bool


@dataclass(frozen=True, slots=True)
class HomesWanted:
    """What is looked for.

    ``configured`` are paths from the configuration, ``environment`` is ``$CLAUDE_CONFIG_DIR`` as the daemon
    has it. ``user`` is the user's own directory; None: only what is configured is looked for.
    """

    configured: tuple[str, ...] = ()
    environment: str | None = None
    user: str | None = None


@dataclass(slots=True)
class Homes:
    """The homes found, and the directories in which another may appear, with the beginnings of its name."""

    found: list[FoundHome] = field(default_factory=list)
    parents: dict[str, set[str]] = field(default_factory=dict)


def find_homes(wanted: HomesWanted, running: Callable[[], Iterable[str]]) -> Homes:
    """Return the homes that there are.

    Args:
        wanted: what is looked for.
        running: returns the homes that running processes name.
    """
    homes = Homes()
    seen: set[tuple[int, int] | str] = set()
    named = [*wanted.configured, *([wanted.environment] if wanted.environment else [])]
    for path in named:
        _add(homes, seen, os.path.expanduser(path), named=True)
    if wanted.user is None:
        return homes
    homes.parents.setdefault(wanted.user, set()).add(".claude")
    usual = os.path.join(wanted.user, ".claude")
    if os.path.isdir(usual):
        _add(homes, seen, usual, named=False)
    for path in _beside(wanted.user):
        if all(os.path.isdir(os.path.join(path, one)) for one in ("sessions", "projects")):
            _add(homes, seen, path, named=False)
        elif path != usual:
            homes.parents.setdefault(path, set()).update(("sessions", "projects"))
    for path in running():
        if os.path.isdir(path):
            _add(homes, seen, path, named=False)
    del homes.found[MAX_HOMES:]
    return homes


class Programs:
    """Remember which processes there were, to tell whether a Claude Code has started since.

    A pid that was used again between two looks is taken for the process before; the rescan looks at all.
    """

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()

    def started(self) -> bool:
        """Return whether a program of Claude Code of the own user runs that did not at the last call."""
        pids = frozenset(_pids())
        new, self._known = pids - self._known, pids
        return any(_is_program(pid) for pid in new)


def running_homes() -> set[str]:
    """Return the homes that running processes of Claude Code name, of the own user."""
    found: set[str] = set()
    for pid in _pids():
        path = _home_of(pid)
        if path is not None:
            found.add(path)
    return found


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:  # no Linux
        return []


def _is_program(pid: int) -> bool:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        seen = glance(pid)
    except (OSError, ProbeFailed):
        return False
    return seen is not None and is_named_so(seen)


def _home_of(pid: int) -> str | None:
    if not _is_program(pid):
        return None
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read(_MAX_ENVIRON)
    except OSError:
        return None
    for one in content.split(b"\0"):
        if one.startswith(_VARIABLE):
            path = os.fsdecode(one.removeprefix(_VARIABLE))
            return path if path.startswith("/") else None
    return None


def _add(homes: Homes, seen: set[tuple[int, int] | str], path: str, *, named: bool) -> None:
    real = os.path.realpath(path)
    try:
        state = os.stat(real)
        mark: tuple[int, int] | str = (state.st_dev, state.st_ino)
    except OSError:
        mark = real
        _await(homes, real)
    if mark not in seen and os.path.isabs(path):
        seen.add(mark)
        homes.found.append(FoundHome(real, named))


def _await(homes: Homes, path: str) -> None:
    """Have the directory watched in which a path that is not there yet will appear."""
    below = os.path.basename(path)
    above = os.path.dirname(path)
    while above != os.path.dirname(above) and not os.path.isdir(above):
        below, above = os.path.basename(above), os.path.dirname(above)
    homes.parents.setdefault(above, set()).add(below)


def _beside(user: str) -> list[str]:
    try:
        with os.scandir(user) as entries:
            names = [one.name for one in islice(entries, MAX_ENTRIES) if one.name.startswith(".claude")]
    except OSError:
        return []
    paths = (os.path.join(user, name) for name in sorted(names))
    return [path for path in paths if os.path.isdir(path)][:MAX_HOMES]
