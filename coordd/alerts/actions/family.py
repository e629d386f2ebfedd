"""Kill a process and what it has started, so far as the system tells who that is.

The process is the leader of its session and not reaped, so its id is its own. On Linux the descendants are
found by /proc, also in other groups and sessions, and stopped before they are killed: what is stopped forks
no more.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_ROUNDS = 5


def kill_family(leader: int, *, everyone: bool) -> None:
    """Kill the process group of ``leader``; with ``everyone`` also its session and its descendants."""
    if everyone:
        stopped: set[int] = set()
        for _ in range(_ROUNDS):
            found = _descendants(leader, stopped)
            for pid in found:
                _signal(pid, signal.SIGSTOP)
            if not found:
                break
            stopped |= found
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
    with suppress(OSError):  # nobody is left in it, or (macOS) only what has ended
        os.killpg(leader, signal.SIGKILL)


def _descendants(leader: int, known: set[int]) -> set[int]:
    """Return the leader, its session and all that descend from them, less those already known."""
    parents: dict[int, int] = {}
    family = {leader} | known
    try:
        names = os.listdir("/proc")
    except OSError:
        return set()
    for name in names:
        if name.isdecimal() and (ids := _parent_and_session(int(name))) is not None:
            parents[int(name)] = ids[0]
            if ids[1] == leader:
                family.add(int(name))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family and pid not in family}
        family |= more
        grown = bool(more)
    return {pid for pid in family - known if pid in parents}


def _parent_and_session(pid: int) -> tuple[int, int] | None:
    """Return the parent and the session of a process, by stat of proc(5); None if it has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read(1024).rpartition(b")")[2].split()
        return int(fields[1]), int(fields[3])
    except (OSError, IndexError, ValueError):
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.kill(pid, number)
