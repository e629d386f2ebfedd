"""Find running programs, and the homes that they name.

Of a process's environment one variable alone is looked at, where the kernel lets this process read it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from coordd.host.process_facts import ProbeFailed, ProcessFacts
from coordd.host.processes import glance, pids

_MAX_ENVIRON = 1024 * 1024


def running(is_program: Callable[[ProcessFacts], bool]) -> list[int]:
    """Return the pids of the running programs that these are."""
    return [seen.process.pid for seen in map(_glance, pids()) if seen is not None and is_program(seen)]


def named_home(pid: int, variable: bytes) -> str | None:
    """Return the absolute path in a variable of a process's environment, None where there is none.

    It waits for the process, which may hang: an environment is read from its memory.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read(_MAX_ENVIRON)
    except OSError:
        return None
    for one in content.split(b"\0"):
        if one.startswith(variable + b"="):
            path = os.fsdecode(one[len(variable) + 1 :])
            return path if path.startswith("/") else None
    return None


def _glance(pid: int) -> ProcessFacts | None:
    try:
        return glance(pid)
    except ProbeFailed:
        return None
