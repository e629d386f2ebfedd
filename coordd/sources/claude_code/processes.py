"""Tell whether a process is the one that a session record means, and whether it has a session of its own.

A pid is used again, and in a container it means another process: only with its start is it one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from coordd.host.process_facts import ProcessFacts

KIND = "claude-code"
"""The name of this kind of source and agent, as records have it."""
_NAMES = re.compile(r"claude(\.exe)?|[0-9]+\.[0-9]+\.[0-9]+.{0,10}", re.ASCII)
_HELPERS = frozenset({b"--bg-pty-host", b"bg-pty-host", b"--bg-spare"})


def is_named_so(seen: ProcessFacts) -> bool:
    """Return whether a process has a name that Claude Code gives itself: its own, or its version."""
    return seen.name is not None and _NAMES.fullmatch(seen.name) is not None


def is_helper(pid: int) -> bool:
    """Return whether a process of Claude Code only serves others: it has no session of its own."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return serves_others(file.read(4096))
    except OSError:
        return False


def serves_others(command: bytes) -> bool:
    """Return whether a command line is that of a process that serves others, see proc_pid_cmdline(5)."""
    words = command.split(b"\0")[1:]
    return words[:2] == [b"daemon", b"run"] or not _HELPERS.isdisjoint(words)


def fits(written: str, seen: ProcessFacts) -> bool:
    """Return whether a record's ``procStart`` is the start of this process, as its platform writes it."""
    if written.isdecimal():
        return int(written) == seen.process.start
    try:  # ps -o lstart=, in the C locale and UTC
        moment = datetime.strptime(" ".join(written.split()), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(moment.timestamp() - seen.started) < 2
