"""Find running programs of Claude Code, and the homes that they name."""

from __future__ import annotations

import os

from coordd.host.process_facts import ProcessFacts
from coordd.sources.claude_code.processes import is_named_so
from coordd.sources.sessions.programs import named_home, running


def running_programs(*, everybodys: bool = False) -> list[int]:
    """Return the pids of running programs of Claude Code: the own user's, or everybody's."""
    return running(is_named_so if everybodys else is_program)


def is_program(seen: ProcessFacts) -> bool:
    """Return whether a process is a program of Claude Code of the own user."""
    return seen.uid == os.geteuid() and is_named_so(seen)


def home_of(pid: int) -> str | None:
    """Return the home that a process names, None where it names none; it waits for the process."""
    return named_home(pid, b"CLAUDE_CONFIG_DIR")
