"""Find running programs of Claude Code of the own user, and the homes that they name.

Of a process's environment one variable alone is looked at, and only where the process is the own user's.
"""

from __future__ import annotations

import os

from coordd.host.process_facts import ProbeFailed, ProcessFacts
from coordd.host.processes import glance, pids
from coordd.sources.claude_code.processes import is_named_so

_MAX_ENVIRON = 1024 * 1024
_VARIABLE = b"CLAUDE_CONFIG_DIR="


def running_programs() -> list[int]:
    """Return the pids of the own user's running programs of Claude Code."""
    return [seen.process.pid for seen in map(_glance, pids()) if seen is not None and is_program(seen)]


def is_program(seen: ProcessFacts) -> bool:
    """Return whether a process is a program of Claude Code of the own user."""
    return seen.uid == os.geteuid() and is_named_so(seen)


def home_of(pid: int) -> str | None:
    """Return the home that a process names, None where it names none.

    It waits for the process, which may hang: an environment is read from its memory.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            content = file.read(_MAX_ENVIRON)
    except OSError:
        return None
    for one in content.split(b"\0"):
        if one.startswith(_VARIABLE):
            path = os.fsdecode(one.removeprefix(_VARIABLE))
            return path if path.startswith("/") else None
    return None


def _glance(pid: int) -> ProcessFacts | None:
    try:
        return glance(pid)
    except ProbeFailed:
        return None
