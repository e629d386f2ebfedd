"""Tell which process works on a session: the one that has locked its folder, if it is that process still.

====================================  ========================================================================
in ``session-state/<id>/``            what it says
====================================  ========================================================================
``inuse.<pid>.lock``                  a process with this pid works on the session, or has been killed; it
                                      takes the file away when it ends in order, or goes on in another session
``inuse.<pid>.hold``                  beside it in newer builds, and held open: whoever else has that pid is
                                      another process, or of a container
(no ``.hold``)                        the pid counts if its process may be one of Copilot, and started before
                                      the lock was written
====================================  ========================================================================

A lock of another user than the process's says nothing. Nothing here waits for a process, but all of it may
wait for a file system.
"""

from __future__ import annotations

import os
import re
import stat
from itertools import islice

from coordd.host.process_facts import ProcessFacts
from coordd.sources.copilot.programs import may_be

KIND = "copilot"
"""The name of this kind of source and agent, as records have it."""
SESSION_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}", re.ASCII)
"""What the folder of a session is called."""
MAX_NAMES = 1000
"""Names in the folder of one session, and files that one process has open, that are looked at."""
LATE = 2.0
"""Seconds by which a process may seem to start after it has locked a folder: clocks are set."""
_LOCK = re.compile(r"inuse\.([1-9][0-9]{0,9})\.lock", re.ASCII)


def lockers(folder: str) -> list[int]:
    """Return the pids that locks in a session's folder name, dead or alive; raises OSError."""
    with os.scandir(folder) as entries:
        found = [_LOCK.fullmatch(one.name) for one in islice(entries, MAX_NAMES)]
    return sorted(int(one[1]) for one in found if one is not None)


def is_locked(folder: str, pid: int) -> bool:
    """Return whether the lock of a process lies in a session's folder."""
    return _state(f"{folder}/inuse.{pid}.lock") is not None


def works_on(seen: ProcessFacts, folder: str) -> bool:
    """Return whether a living process, whose pid a lock names, is the one that works on the session."""
    pid = seen.process.pid
    lock = _state(f"{folder}/inuse.{pid}.lock")
    if lock is None or seen.uid not in (None, lock.st_uid):
        return False
    hold = _state(f"{folder}/inuse.{pid}.hold")
    opened = None if hold is None else _has_open(pid, f"{folder}/inuse.{pid}.hold", hold)
    if opened is not None:
        return opened
    return may_be(seen) and seen.started <= lock.st_mtime + LATE


def working_directory(pid: int) -> str | None:
    """Return where a process works, None where that may not be seen."""
    try:
        path = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
    return path if path.startswith("/") and not path.endswith(" (deleted)") else None


def _state(path: str) -> os.stat_result | None:
    try:
        state = os.lstat(path)
    except (OSError, ValueError):
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def _has_open(pid: int, path: str, state: os.stat_result) -> bool | None:
    """Return whether a process has this very file open; None where that is not shown."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            links = [entry.path for entry in islice(entries, MAX_NAMES)]
    except OSError:
        return None
    for link in links:
        try:
            if os.readlink(link) != path:
                continue
            opened = os.stat(link)
        except OSError:
            continue
        if (opened.st_dev, opened.st_ino) == (state.st_dev, state.st_ino):
            return True
    return False
