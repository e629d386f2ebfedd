"""Tell which processes are Codex's, and which rollouts each of them holds open: that is whose session it is.

Codex opens the rollout of a session with its first prompt, for writing, and keeps it open; its background
server holds those of several. Who only reads one, or has a file of another user open, is nobody. The script
that node runs holds none, so that it is no agent beside its child.

Nothing here waits for a process; where the system does not show what one has open, nobody can tell.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from coordd.host.process_facts import ProcessFacts

MAX_OPEN = 4096
"""Files that one process has open which are looked at."""

KIND = "codex"
"""The name of this kind of source and agent, as records have it."""
_NAMES = re.compile(r"codex(\.exe|-(x86_64|aarch64).{0,20})?", re.ASCII)
_ROLLOUT = re.compile(
    r"[0-9]{4}/[0-9]{2}/[0-9]{2}/rollout-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}"
    r"-([0-9A-Za-z][0-9A-Za-z._-]{0,127})\.jsonl",
    re.ASCII,
)
_BUNDLED = ".app/Contents/"


class Held(NamedTuple):
    """A rollout that a process holds open: its path, the id of its session, and the descriptor it has there.

    The descriptor is -1 where the system does not tell it.
    """

    path: str
    session_id: str
    descriptor: int


def is_named_so(seen: ProcessFacts) -> bool:
    """Return whether a process has a name that Codex gives itself."""
    return seen.name is not None and _NAMES.fullmatch(seen.name) is not None


def is_bundled(pid: int) -> bool:
    """Return whether a process is part of an application's bundle: another program of that name."""
    try:
        return _BUNDLED in os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False


def session_id_of(path: str, home: str) -> str | None:
    """Return the id of the session whose rollout lies at this path, None where it is none of this home's."""
    prefix = f"{home}/sessions/"
    found = _ROLLOUT.fullmatch(path, len(prefix)) if path.startswith(prefix) else None
    return found[1] if found is not None else None


def held_by(seen: ProcessFacts, home: str) -> list[Held] | None:
    """Return the rollouts of a home that a process holds open; None where that cannot be told."""
    if sys.platform == "darwin":
        return _held_on_mac(seen, home)
    pid = seen.process.pid
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            names = [entry.name for entry in islice(entries, MAX_OPEN)]
    except FileNotFoundError:
        return []
    except OSError:
        return None
    return list(_rollouts(names, seen, home))


def still_holds(pid: int, held: Held) -> bool:
    """Return whether a process holds a rollout still, by the descriptor that it had."""
    if held.descriptor < 0:
        return False
    try:
        return os.readlink(f"/proc/{pid}/fd/{held.descriptor}") == held.path
    except OSError:
        return False


def working_directory(pid: int) -> str | None:
    """Return where a process works, None where that may not be seen."""
    try:
        path = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
    return path if path.startswith("/") else None


def _rollouts(names: list[str], seen: ProcessFacts, home: str) -> Iterator[Held]:
    for name in names:
        link = f"/proc/{seen.process.pid}/fd/{name}"
        try:
            path = os.readlink(link)
            session_id = session_id_of(path, home)
            if session_id is None or not os.lstat(link).st_mode & stat.S_IWUSR:
                continue
            there, opened = os.lstat(path), os.stat(link)
        except (OSError, ValueError):
            continue
        same = (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)  # else it is of a container
        if same and stat.S_ISREG(there.st_mode) and seen.uid in (None, there.st_uid):
            yield Held(path, session_id, int(name))


def _held_on_mac(seen: ProcessFacts, home: str) -> list[Held] | None:
    import psutil  # slow to import, and loaded there in any case

    try:
        process = psutil.Process(seen.process.pid)
        if _BUNDLED in process.exe():
            return []
        paths = [one.path for one in islice(process.open_files(), MAX_OPEN)]
    except psutil.NoSuchProcess:
        return []
    except (psutil.Error, OSError):
        return None
    found = [(path, session_id_of(path, home)) for path in paths]
    return [Held(path, session_id, -1) for path, session_id in found if session_id is not None]
