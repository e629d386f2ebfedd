"""Find the directories of a machine's users: those in one folder, and those of the users of running programs.

For a daemon that may read everybody's. All calls may block, on a file server or on the user database, and
belong in a thread.
"""

from __future__ import annotations

import os
import pwd
from itertools import islice
from typing import NamedTuple

from coordd.host.process_facts import ProbeFailed
from coordd.host.processes import glance

MAX_USERS = 256
"""Users whose directories are looked into."""


class Users(NamedTuple):
    """The directories in one folder; ``cut``: there are more than are read."""

    directories: tuple[str, ...] = ()
    cut: bool = False


class Owner(NamedTuple):
    """Whose process one is: the user's number, and directory by the user database, None where it has none."""

    uid: int
    directory: str | None


def list_users(folder: str) -> Users:
    """Return the directories in a folder, by name; none is touched, for one may be on a server that hangs."""
    try:
        with os.scandir(folder) as entries:
            seen = list(islice(entries, MAX_USERS + 1))
    except OSError:
        return Users()
    names = [
        one.name
        for one in seen
        if not one.name.startswith(".")
        and one.name != "lost+found"
        and (one.is_symlink() or one.is_dir(follow_symlinks=False))
    ]
    paths = [os.path.join(folder, name) for name in sorted(names)]
    return Users(tuple(paths[:MAX_USERS]), cut=len(seen) > MAX_USERS)


def owner_of(pid: int) -> Owner | None:
    """Return whose process this is; None where that cannot be told."""
    try:
        seen = glance(pid)
    except ProbeFailed:
        return None
    if seen is None or seen.uid is None:
        return None
    try:
        directory = pwd.getpwuid(seen.uid).pw_dir
    except (KeyError, OSError):
        return Owner(seen.uid, None)
    return Owner(seen.uid, directory if directory.startswith("/") and directory != "/" else None)
