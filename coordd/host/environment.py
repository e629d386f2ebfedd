"""Read a few variables of the environment of a process of the own user, and nothing else of it.

It waits for the process, which may hang: an environment is read from its memory. It belongs in a worker.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from coordd.host.proc_files import parse_stat
from coordd.host.process_facts import Process

PROC = "/proc"
_MOST = 1024 * 1024
_LONGEST = 256
"""Bytes of a value; a longer one counts as none."""


def variables_of(process: Process, names: Collection[str], *, proc: str = PROC) -> dict[str, str]:
    """Return the values of these variables as the process was started with them.

    Those are left out that it does not have, or that are no short ASCII; all of them where it has ended, is
    another user's, or there is no procfs.
    """
    try:
        folder = os.open(f"{proc}/{process.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return {}
    found: dict[str, str] = {}
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            return {}
        if parse_stat(_read(folder, "stat", 16384)).start != process.start:
            return {}
        wanted = {name.encode(): name for name in names}
        for one in _read(folder, "environ", _MOST).split(b"\0"):
            name, _, value = one.partition(b"=")
            if name in wanted and len(value) <= _LONGEST and value.isascii():
                found.setdefault(wanted[name], value.decode("ascii"))
    except (OSError, ValueError):
        return {}
    finally:
        os.close(folder)
    return found


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
