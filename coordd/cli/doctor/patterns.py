"""Check what the patterns of the configuration stand for: directories that may not be looked into.

The daemon tells what it met. Without one, the way that its search takes is gone here, with the rights of its
user; ``**`` merely finds what is below it, and there nothing has to be readable.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from coordd.cli.doctor.access import READ, SEARCH, AccessObstacle, Credentials, grant, in_letters
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.trying import as_user, first_obstacle
from coordd.errors import CannotTell
from coordd.util.shell import shell_word
from coordd.util.text import number, shown
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coordd.cli.doctor.facts import DoctorFacts

MAX_CLOSED = 20
"""Directories of one pattern that are named."""
MAX_DIRECTORIES = 20_000
"""Directories of one pattern that are looked into."""
_PASSED_OVER = ("node_modules", "lost+found", ".git")
_REFUSED = (errno.EACCES, errno.EPERM)


def check_entries(facts: DoctorFacts) -> Iterator[Finding]:
    """Check what the daemon may not look into of what its configuration stands for, or of what it found."""
    if not facts.alive:
        yield from _tried(facts)
        return
    for entry in dicts(facts.status.get("workspace_entries")):
        words = shown(entry.get("entry"))
        for place in dicts(entry.get("unreadable")):
            yield _told(words, place, facts.daemon)
        more = int(number(entry.get("unreadable_more")) or 0)
        if more:
            yield Finding("workspace", "warn", f"{words}: {more} more directories cannot be looked into")


def _tried(facts: DoctorFacts) -> Iterator[Finding]:
    """Try the patterns of the configuration that a daemon would be started with."""
    configured = as_dict(facts.config.values.get("coordination")).get("workspaces")
    for pattern in configured if isinstance(configured, list) else ():
        if isinstance(pattern, str) and glob.has_magic(pattern) and not os.path.isdir(pattern):
            with suppress(CannotTell, OSError):  # then there is nothing to tell before it runs
                yield from check_pattern(os.path.abspath(pattern), facts.daemon)


def check_pattern(pattern: str, user: Credentials) -> list[Finding]:
    """Return a finding for each directory that a pattern names and this user may not look into.

    Raises:
        CannotTell, OSError: it cannot be tried as that user.
    """
    closed = as_user(user, partial(closed_places, pattern))
    return [_closed(pattern, path, user) for path in closed[:MAX_CLOSED]]


def closed_places(pattern: str) -> list[str]:
    """Return the directories that a pattern names and the user of this process may not look into."""
    parts = pattern.strip("/").split("/")
    places = ["/"]
    closed: list[str] = []
    for part in (*parts, ".claude", "coordination"):
        if part == "**":
            return closed
        found: list[str] = []
        for place in places[:MAX_DIRECTORIES]:
            try:
                found += _inside(place, part)
            except OSError as error:
                if error.errno in _REFUSED:
                    closed.append(place)
        places = found
    return closed


def _inside(place: str, part: str) -> Iterable[str]:
    """Return the directories in one that a part of a pattern names; raises OSError."""
    if not glob.has_magic(part):
        path = os.path.join(place, part)
        os.stat(path)
        return [path]
    with os.scandir(place) as entries:
        names = [one.name for one in entries if one.is_dir()]
    return [
        os.path.join(place, name)
        for name in names
        if fnmatch.fnmatchcase(name, part)
        and name not in _PASSED_OVER
        and (part.startswith(".") or not name.startswith("."))
    ]


def _told(entry: str, place: dict[str, Any], user: Credentials) -> Finding:
    path, reason = place.get("path"), shown(place.get("reason"))
    if place.get("named") is not True:
        return Finding("workspace", "ok", f"{entry}: passes over what it may not look into: {reason}")
    finding = _closed(entry, path, user) if isinstance(path, str) else None
    if finding is not None and finding.fix is not None:
        return finding
    look = None if not isinstance(path, str) else f"see whose it is: ls -ld {shell_word(path)}"
    return Finding("workspace", "fail", f"{entry}: cannot be looked into: {reason}", look)


def _closed(pattern: str, path: str, user: Credentials) -> Finding:
    obstacle: AccessObstacle | None = None
    with suppress(CannotTell, OSError):  # to enter it may be enough
        obstacle = first_obstacle(path, user, SEARCH) or first_obstacle(path, user, READ | SEARCH)
    if obstacle is None or obstacle.errno is not None:
        return Finding("workspace", "fail", f"{pattern}: {user.name} may not look into {path}")
    lacks = f"{user.name} lacks {in_letters(obstacle.wanted)} on {obstacle.path}"
    return Finding("workspace", "fail", f"{pattern}: cannot be looked into: {lacks}", grant(obstacle, user))
