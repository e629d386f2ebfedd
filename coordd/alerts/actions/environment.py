"""Decide what of this process's environment its children get.

All of it, for programs need PATH, HOME, the session bus, the display, the language, and what their user has
set; but not the variables that hold secrets of rules, and not what a service manager says to this process
alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_OF_THIS_PROCESS = frozenset(
    {
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "FDSTORE",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "CREDENTIALS_DIRECTORY",
    }
)


def for_children(environ: Mapping[str, str], secret: Collection[str]) -> dict[str, str]:
    """Return the environment of children; ``secret`` names the variables in which rules have secrets."""
    return {
        name: value for name, value in environ.items() if name not in _OF_THIS_PROCESS and name not in secret
    }
