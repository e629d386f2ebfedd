"""Find running programs of Copilot, and the homes that they name.

The program is one binary that names its first thread as Node.js does; older builds are scripts of node.
"""

from __future__ import annotations

import os
import re

from coordd.host.process_facts import ProcessFacts
from coordd.sources.sessions.programs import named_home, running

PROGRAM = "copilot"
_NAMES = re.compile(r"copilot|MainThread|node|nodejs|node-MainThread", re.ASCII)


def running_programs() -> list[int]:
    """Return the pids of the own user's running programs of Copilot."""
    return running(is_program)


def may_be(seen: ProcessFacts) -> bool:
    """Return whether a process has a name that one of Copilot may have."""
    return seen.name is not None and _NAMES.fullmatch(seen.name) is not None


def is_program(seen: ProcessFacts) -> bool:
    """Return whether a process is the program of Copilot, of the own user; it waits for nothing."""
    if seen.uid != os.geteuid() or not may_be(seen):
        return False
    if seen.name == PROGRAM:
        return True
    try:
        path = os.readlink(f"/proc/{seen.process.pid}/exe")
    except OSError:
        return False
    return path.removesuffix(" (deleted)").rpartition("/")[2] == PROGRAM


def home_of(pid: int) -> str | None:
    """Return the home that a process names, None where it names none; it waits for the process."""
    return named_home(pid, b"COPILOT_HOME")
