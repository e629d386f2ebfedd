"""Tell running programs of Copilot from others.

The program is one binary that names its first thread as Node.js does; older builds are scripts of node.
"""

from __future__ import annotations

import os
import re

from coordd.host.process_facts import ProcessFacts

PROGRAM = "copilot"
_NAMES = re.compile(r"copilot|MainThread|node|nodejs|node-MainThread", re.ASCII)


def may_be(seen: ProcessFacts) -> bool:
    """Return whether a process has a name that one of Copilot may have."""
    return seen.name is not None and _NAMES.fullmatch(seen.name) is not None


def is_named_so(seen: ProcessFacts) -> bool:
    """Return whether a process is the program of Copilot; it waits for nothing."""
    if not may_be(seen):
        return False
    if seen.name == PROGRAM:
        return True
    try:
        path = os.readlink(f"/proc/{seen.process.pid}/exe")
    except OSError:
        return False
    return path.removesuffix(" (deleted)").rpartition("/")[2] == PROGRAM
