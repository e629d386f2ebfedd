"""Tell which processes are Codex's. What they hold open is told in held.py.

Nothing here waits for a process.
"""

from __future__ import annotations

import os
import re

from coordd.host.process_facts import ProcessFacts

KIND = "codex"
"""The name of this kind of source and agent, as records have it."""
_NAMES = re.compile(r"codex(\.exe|-(x86_64|aarch64).{0,20})?", re.ASCII)
BUNDLED = ".app/Contents/"
"""What the path of a program in an application's bundle has in it."""


def is_named_so(seen: ProcessFacts) -> bool:
    """Return whether a process has a name that Codex gives itself."""
    return seen.name is not None and _NAMES.fullmatch(seen.name) is not None


def is_bundled(pid: int) -> bool:
    """Return whether a process is part of an application's bundle: another program of that name."""
    try:
        return BUNDLED in os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False


def working_directory(pid: int) -> str | None:
    """Return where a process works, None where that may not be seen."""
    try:
        path = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
    return path if path.startswith("/") else None
