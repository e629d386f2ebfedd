"""Play an agent that starts things: a process that runs shell commands as it is told, and can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from waiting import eventually

from coordd.host.process_facts import Process
from coordd.host.processes import glance

_AGENT = """
import os, subprocess, sys
for line in sys.stdin:
    subprocess.Popen(["sh", "-c", line.rstrip()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL)
"""


class Starter:
    """A process that starts shell commands; ``process`` is it.

    Args:
        cwd: where it works, and where what it starts leaves its pids.
        environ: further variables of what it starts.
    """

    def __init__(self, cwd: Path, **environ: str) -> None:
        self._cwd = cwd
        self._child = subprocess.Popen(
            [sys.executable, "-u", "-c", _AGENT],
            cwd=cwd,
            stdin=subprocess.PIPE,
            env={**os.environ, **environ},
            text=True,
        )
        seen = glance(self._child.pid)
        assert seen is not None
        self.process: Process = seen.process
        self._left: list[int] = []

    def start(self, name: str, command: str) -> Process:
        """Have it run a command, which writes a pid into the file ``name``; return that process."""
        file = self._cwd / name
        assert self._child.stdin is not None
        self._child.stdin.write(command + "\n")
        self._child.stdin.flush()
        pid = eventually(lambda: int(file.read_text()) if file.exists() and file.read_text().strip() else 0)
        self._left.append(pid)
        seen = eventually(lambda: glance(pid))
        return seen.process

    def kill(self) -> None:
        """End it as kill -9 does; what it has started goes on."""
        self._child.kill()
        self._child.wait()
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()

    def close(self) -> None:
        """End it, and all that it has started."""
        self.kill()
        for pid in self._left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def parent_of(process: Process) -> int:
    """Return the pid of a living process's parent."""
    seen = glance(process.pid)
    assert seen is not None
    return seen.parent


@contextlib.contextmanager
def starter(cwd: Path, **environ: str) -> Iterator[Starter]:
    """Have such a process until the end of the block."""
    one = Starter(cwd, **environ)
    try:
        yield one
    finally:
        one.close()
