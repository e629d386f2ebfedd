"""Tell which rollouts a process of Codex holds open: that is whose session it is, wherever they lie by now.

Codex opens the rollout of a session with its first prompt, for writing, and keeps it open; its background
server holds those of several. Who only reads one, or has a file of another user open, is nobody. The script
that node runs holds none, so that it is no agent beside its child. A rollout is the file that a descriptor
leads to, by device and inode:

=============================================  ===============================================================
the descriptor leads to                        it is held
=============================================  ===============================================================
a file that lies in the home, by whatever      yes
path, as that of a bind mount
one that a session of this process was found   yes: it was renamed, moved or removed since, as when its folder
with before                                    moves, or it is compressed
one with the name of a session of this         yes, as above
process that coordd knew in its last run
the file of a container, which only has the    no
same path
another file, by the number of one before      no, even if it has its inode, unless it says that it is of the
                                               same session
=============================================  ===============================================================

Nothing here waits for a process; where the system does not show what one has open, nobody can tell.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from coordd.host.process_facts import ProcessFacts
from coordd.sources.codex.head import session_of
from coordd.sources.codex.processes import BUNDLED
from coordd.util.fields import Malformed
from coordd.util.regular_files import open_regular

MAX_OPEN = 4096
"""Files that one process has open which are looked at."""
_ROLLOUT = re.compile(
    r"(?:(?:.*/)?([0-9]{4}/[0-9]{2}/[0-9]{2}/)|(?:.*/)?)"
    r"(rollout-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}"
    r"-([0-9A-Za-z][0-9A-Za-z._-]{0,127})\.jsonl)",
    re.ASCII | re.DOTALL,
)
_REMOVED = " (deleted)"

Mark = tuple[int, int]
"""Which file one is: its device and inode."""


class Held(NamedTuple):
    """A rollout that a process holds open.

    ``path`` is where it lies, or lay when it was removed; ``link`` is what leads to it through the
    process's descriptor, None where the system has no such thing.
    """

    path: str
    session_id: str
    mark: Mark
    link: str | None


_NONE: Mapping[str, Held | None] = MappingProxyType({})


def held_by(seen: ProcessFacts, home: str, known: Mapping[str, Held | None] = _NONE) -> list[Held] | None:
    """Return the rollouts of a home that a process holds open; None where that cannot be told.

    Args:
        seen: the process.
        home: the home's canonical path.
        known: the sessions of the home that were this process's before, each with its rollout; None: that is
            not known.
    """
    opened = _opened_on_mac(seen) if sys.platform == "darwin" else _opened(seen)
    if opened is None:
        return None
    found: dict[str, Held] = {}
    for one in opened:
        if _lies_in(one, home):
            found[one.session_id] = one
        elif one.session_id in known:
            before = known[one.session_id]
            if before is None or before.mark == one.mark:
                found.setdefault(one.session_id, one)
    for session_id, before in known.items():
        now = held_still(before) if session_id not in found and before is not None else None
        if now is not None:
            found[session_id] = now
    return list(found.values())


def held_still(held: Held) -> Held | None:
    """Return a rollout as its process holds it now, None where it does not: that is, by that descriptor."""
    if held.link is None:
        return None
    try:
        path, state = os.readlink(held.link), os.stat(held.link)
        if (state.st_dev, state.st_ino) != held.mark or not stat.S_ISREG(state.st_mode):
            return None
    except (OSError, ValueError):
        return None
    named = _ROLLOUT.fullmatch(path.removesuffix(_REMOVED))
    if named is None:  # an inode is used again once its file is gone
        now = held._replace(path=path)
        return now if _says(now) == held.session_id else None
    if named[3] != held.session_id:
        return None
    return held if path.endswith(_REMOVED) else held._replace(path=path)


def open_held(held: Held) -> int:
    """Open a rollout to read it: what the descriptor leads to, or once that is closed, what lies at its path.

    Raises:
        Malformed: it is no regular file.
        FileNotFoundError: it is not there any more; what has taken its place is another file.
        OSError: open(2) failed.
    """
    if held.link is not None:
        try:
            return _opened_as(held, held.link, follow=True)
        except (OSError, Malformed):
            pass
    return _opened_as(held, held.path, follow=False)


def _opened_as(held: Held, path: str, *, follow: bool) -> int:
    descriptor = open_regular(path, os.O_RDONLY, refuse=Malformed, follow=follow)
    state = os.fstat(descriptor)
    if (state.st_dev, state.st_ino) == held.mark:
        return descriptor
    os.close(descriptor)
    raise FileNotFoundError(2, "another file has taken its place", path)


def _says(held: Held) -> str | None:
    """Return the session of which a file says that it is."""
    try:
        descriptor = open_held(held)
    except (OSError, Malformed):
        return None
    try:
        return session_of(descriptor)
    except (OSError, Malformed):
        return None
    finally:
        os.close(descriptor)


def _lies_in(one: Held, home: str) -> bool:
    """Return whether a file lies in a home, by its own path or by another one that leads there."""
    found = _ROLLOUT.fullmatch(one.path)
    if found is None or found[1] is None:
        return False
    own = f"{home}/sessions/{found[1]}{found[2]}"
    # A file of a container has a path that leads to nothing here, or to another one.
    return all(_mark_of(path) == one.mark for path in {own, one.path})


def _mark_of(path: str) -> Mark | None:
    try:
        state = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None


def _opened(seen: ProcessFacts) -> list[Held] | None:
    """Return the files of a process that are named as rollouts, and open to be written."""
    pid = seen.process.pid
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            names = [entry.name for entry in islice(entries, MAX_OPEN)]
    except FileNotFoundError:
        return []
    except OSError:
        return None
    return list(_rollouts(names, seen))


def _rollouts(names: list[str], seen: ProcessFacts) -> Iterator[Held]:
    for name in names:
        link = f"/proc/{seen.process.pid}/fd/{name}"
        try:
            path = os.readlink(link).removesuffix(_REMOVED)
            found = _ROLLOUT.fullmatch(path)
            if found is None or not os.lstat(link).st_mode & stat.S_IWUSR:
                continue
            state = os.stat(link)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(state.st_mode) and seen.uid in (None, state.st_uid):
            yield Held(path, found[3], (state.st_dev, state.st_ino), link)


def _opened_on_mac(seen: ProcessFacts) -> list[Held] | None:
    import psutil  # slow to import, and loaded there in any case

    try:
        process = psutil.Process(seen.process.pid)
        if BUNDLED in process.exe():
            return []
        paths = [one.path for one in islice(process.open_files(), MAX_OPEN)]
    except psutil.NoSuchProcess:
        return []
    except (psutil.Error, OSError):
        return None
    found = [(path, _ROLLOUT.fullmatch(path), _mark_of(path)) for path in paths]
    return [Held(path, named[3], mark, None) for path, named, mark in found if named and mark]
