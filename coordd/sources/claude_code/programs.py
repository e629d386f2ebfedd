"""Find running programs of Claude Code of the own user, and the homes that they name.

Of a process's environment one variable alone is looked at, and only where the process is the own user's.
"""

from __future__ import annotations

import os

from coordd.host.process_facts import ProbeFailed
from coordd.host.processes import glance
from coordd.sources.claude_code.processes import is_named_so

_MAX_ENVIRON = 1024 * 1024
_VARIABLE = b"CLAUDE_CONFIG_DIR="


class Programs:
    """Remember which processes there were, to tell whether a Claude Code has started since.

    A pid that was used again between two looks is taken for the process before; the rescan looks at all.
    """

    def __init__(self) -> None:
        self._known: frozenset[int] = frozenset()

    def started(self) -> bool:
        """Return whether a program of Claude Code of the own user runs that did not at the last call."""
        pids = frozenset(_pids())
        new, self._known = pids - self._known, pids
        return any(_is_program(pid) for pid in new)


def running_programs() -> list[int]:
    """Return the pids of the own user's running programs of Claude Code."""
    return [pid for pid in _pids() if _is_program(pid)]


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


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:  # no Linux
        return []


def _is_program(pid: int) -> bool:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return False
        seen = glance(pid)
    except (OSError, ProbeFailed):
        return False
    return seen is not None and is_named_so(seen)
