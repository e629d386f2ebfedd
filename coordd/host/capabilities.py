"""Tell which capabilities a process was given on purpose, see capabilities(7).

Root has nearly all of them without anybody's doing; in the *ambient* set is only what whoever started the
process gave to it, such as systemd by ``AmbientCapabilities=``.
"""

from __future__ import annotations

DAC_READ_SEARCH = 2
"""To read every file and to look into every directory, linux/capability.h."""
SYS_PTRACE = 19
"""To look into the processes of others, linux/capability.h."""


def reads_everything(*, status: str = "/proc/self/status") -> bool:
    """Return whether this process was given the right to read every file and to look into processes."""
    try:
        with open(status, encoding="ascii", errors="replace") as file:
            given = next((line.split()[1] for line in file if line.startswith("CapAmb:")), "0")
        held = int(given, 16)
    except (OSError, ValueError, IndexError):
        return False
    return bool(held >> DAC_READ_SEARCH & 1 and held >> SYS_PTRACE & 1)
