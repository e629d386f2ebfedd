"""Look at the process that a session record names: whether it lives, and whether it is the one that is meant.

A pid is used again, and in a container it means another process: only with its start is it one. What cannot
be looked at says nothing: then OSError is raised, and nothing is concluded.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from coordd.host.process_facts import Process

_NAMES = re.compile(r"claude(\.exe)?|[0-9]+\.[0-9]+\.[0-9]+.{0,10}", re.ASCII)
_HELPERS = frozenset({b"--bg-pty-host", b"bg-pty-host", b"--bg-spare"})
_PTS = range(136, 144)


@dataclass(frozen=True, slots=True)
class Seen:
    """A process that lives; ``started`` is in epoch seconds by the clock now, ``name`` is its comm."""

    process: Process
    name: str
    started: float
    tty: str | None = None


def look(pid: int) -> Seen | None:
    """Return the process that has this pid now; None where none has, or one that has ended (a zombie).

    Raises:
        OSError: it cannot be told.
    """
    if sys.platform != "linux":
        return _look_elsewhere(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(pid, file.read(4096), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))
    except (FileNotFoundError, ProcessLookupError):
        return None


def parse_stat(pid: int, stat: bytes, booted: float) -> Seen | None:
    """Return the process in ``/proc/<pid>/stat``, see proc_pid_stat(5); None for one that has ended.

    Args:
        pid: the process.
        stat: the file's content.
        booted: when this machine was started, in epoch seconds.
    """
    begin, end = stat.find(b"("), stat.rfind(b")")
    fields = stat[end + 2 :].split()
    if begin < 0 or len(fields) < 20 or fields[0] in (b"Z", b"X", b"x"):
        return None
    terminal, start = int(fields[4]), int(fields[19])
    major, minor = (terminal >> 8) & 0xFFF, (terminal & 0xFF) | ((terminal >> 12) & 0xFFF00)
    return Seen(
        process=Process(pid, start),
        name=os.fsdecode(stat[begin + 1 : end]),
        started=booted + start / os.sysconf("SC_CLK_TCK"),
        tty=f"pts/{(major - _PTS.start) * 256 + minor}" if major in _PTS else None,
    )


def is_named_so(seen: Seen) -> bool:
    """Return whether a process has a name that Claude Code gives itself: its own, or its version."""
    return _NAMES.fullmatch(seen.name) is not None


def is_helper(pid: int) -> bool:
    """Return whether a process of Claude Code only serves others: it has no session of its own."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return serves_others(file.read(4096))
    except OSError:
        return False


def serves_others(command: bytes) -> bool:
    """Return whether a command line is that of a process that serves others, see proc_pid_cmdline(5)."""
    words = command.split(b"\0")[1:]
    return words[:2] == [b"daemon", b"run"] or not _HELPERS.isdisjoint(words)


def fits(written: str, seen: Seen) -> bool:
    """Return whether a record's ``procStart`` is the start of this process, as its platform writes it."""
    if written.isdecimal():
        return int(written) == seen.process.start
    try:  # ps -o lstart=, in the C locale and UTC
        moment = datetime.strptime(" ".join(written.split()), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(moment.timestamp() - seen.started) < 2


def _look_elsewhere(pid: int) -> Seen | None:
    import psutil

    try:
        process = psutil.Process(pid)
        created = process.create_time()
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Seen(Process(pid, int(created * 1e6)), process.name(), created)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error as error:
        raise OSError(str(error)) from error
