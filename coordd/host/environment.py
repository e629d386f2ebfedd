"""Read one variable of the environment of a process of the own user, and nothing else of it.

It waits for the process, which may hang: an environment is read from its memory. It belongs in a worker.
"""

from __future__ import annotations

import os

from coordd.host.proc_files import parse_stat
from coordd.host.process_facts import Process

PROC = "/proc"
_MOST = 1024 * 1024
_LONGEST = 256
"""Bytes of a value; a longer one counts as none."""


def variable_of(process: Process, name: str, *, proc: str = PROC) -> str | None:
    """Return the value of a variable as the process was started with it.

    None: it has none of that name, has ended, is another user's, or there is no procfs.
    """
    try:
        folder = os.open(f"{proc}/{process.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            return None
        if parse_stat(_read(folder, "stat", 16384)).start != process.start:
            return None
        wanted = name.encode() + b"="
        for one in _read(folder, "environ", _MOST).split(b"\0"):
            if one.startswith(wanted):
                value = one.removeprefix(wanted)
                return value.decode("ascii") if len(value) <= _LONGEST else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(folder)
    return None


def _read(folder: int, name: str, most: int) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        blocks, left = [], most
        while left > 0 and (block := os.read(file, left)):
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)
    finally:
        os.close(file)
