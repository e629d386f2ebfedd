"""Find the TCP ports on which processes listen, from procfs; only the own user's, and root's for root.

A socket is known by its inode: the table of a process's network namespace says which listen, and its
descriptors which it holds. Neither waits for the process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from coordd.host.process_facts import ProbeFailed, Process
from coordd.host.procfs import start_of

PROC = "/proc"
MOST_DESCRIPTORS = 4096
"""Descriptors of one process that are looked at."""
MOST_BYTES = 16 * 1024 * 1024
"""Bytes of one table that are read."""
_LISTENS = b"0A"
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")


def ports_of(processes: Collection[Process], *, proc: str = PROC) -> dict[Process, tuple[int, ...] | None]:
    """Return the ports on which each process listens, in order; None where that may not be seen."""
    tables: dict[str, dict[int, int]] = {}
    return {process: _ports(process, tables, proc) for process in processes}


def parse_table(content: bytes) -> dict[int, int]:
    """Return the ports that are listened on by the inodes of their sockets, of a ``/proc/<pid>/net/tcp``."""
    found = {}
    for line in content.split(b"\n")[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTENS:
            continue
        try:
            found[int(fields[9])] = int(fields[1].rpartition(b":")[2], 16)
        except ValueError:
            continue
    return found


def _ports(process: Process, tables: dict[str, dict[int, int]], proc: str) -> tuple[int, ...] | None:
    place = f"{proc}/{process.pid}"
    try:
        inodes = list(_sockets(f"{place}/fd"))
        namespace = os.readlink(f"{place}/ns/net")
        if namespace not in tables:
            tables[namespace] = _table(f"{place}/net/tcp") | _table(f"{place}/net/tcp6")
        if start_of(process.pid, proc=proc) != process.start:
            return None
    except (OSError, ProbeFailed):  # it has ended, or may not be looked at
        return None
    listening = tables[namespace]
    return tuple(sorted({listening[inode] for inode in inodes if inode in listening}))


def _sockets(folder: str) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= MOST_DESCRIPTORS:
                return
            try:
                found = _SOCKET.fullmatch(os.readlink(entry.path))
            except FileNotFoundError:
                continue
            if found is not None:
                yield int(found[1])


def _table(path: str) -> dict[int, int]:
    try:
        with open(path, "rb") as file:
            return parse_table(file.read(MOST_BYTES))
    except FileNotFoundError:  # without IPv6
        return {}
