"""Check that nobody but its owner can write a configuration that holds commands, nor replace it.

Whoever can write the file has its commands run as this user, and whoever can write one of the folders above
it can put another file in its place. So of the file, of each folder up to ``/``, and on each link that leads
there::

    owner          this user or root
    write bits     the owner's alone; a folder that all may write to counts as its owner's with the sticky
                   bit, as /tmp has it: nobody can take away there what is another's
    a project      no folder with a ``.claude`` or a ``.git`` in it, but the home directory: a clone
                   brings what is in it

Blocking: looks at the file system. Between the look and the reading nothing changes that matters: whoever
could change it is this user or root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from coordd.util.shell import shell_word

_MAX_LINKS = 40


def trouble_with(path: str, *, uid: int, home: str | None) -> str | None:
    """Return why a configuration cannot be trusted, and what to do; None if it can be.

    Args:
        path: its absolute path.
        uid: who has to own it, beside root.
        home: this user's home directory, which may hold anything.

    Raises:
        OSError: it, or a folder above it, cannot be looked at.
    """
    for one, state in _way(path):
        trouble = _trouble(one, state, uid, last=one == path or stat.S_ISREG(state.st_mode))
        if trouble is not None:
            return trouble
    return _in_project(os.path.dirname(os.path.realpath(path)), home)


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each folder and link on the way to a path, and what it ends in, from ``/`` on."""
    waiting = [part for part in reversed(path.split("/")) if part]
    at = "/"
    yield at, os.stat(at)
    links = 0
    while waiting:
        name = waiting.pop()
        if name == ".":
            continue
        if name == "..":
            at = os.path.dirname(at)
            continue
        one = os.path.join(at, name)
        state = os.lstat(one)
        yield one, state
        if not stat.S_ISLNK(state.st_mode):
            at = one
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(40, "too many links on the way", path)
        target = os.readlink(one)
        at = "/" if target.startswith("/") else at
        waiting.extend(part for part in reversed(target.split("/")) if part)


def _trouble(path: str, state: os.stat_result, uid: int, *, last: bool) -> str | None:
    link = stat.S_ISLNK(state.st_mode)
    if state.st_uid not in (0, uid):
        what = "a link of" if link else "owned by"
        return f"{path} is {what} uid {state.st_uid}: what it says would be done as uid {uid}"
    if link:  # the mode of a link means nothing; who may replace it is said by its folder
        return None
    writable = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not writable or (stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX and not last):
        return None
    whom = "everybody" if state.st_mode & stat.S_IWOTH else "its group"
    return f"{path} can be written by {whom}, who could put commands there: chmod go-w {shell_word(path)}"


def _in_project(folder: str, home: str | None) -> str | None:
    home = None if home is None else os.path.realpath(home)
    while folder not in ("/", home):
        for name in (".claude", ".git"):
            inside = os.path.join(folder, name)
            if os.path.basename(folder) == name or os.path.lexists(inside):
                return (
                    f"it lies in a project, {folder}, whose files a clone can bring: "
                    "rules belong into your own coordd.toml"
                )
        folder = os.path.dirname(folder)
    return None
