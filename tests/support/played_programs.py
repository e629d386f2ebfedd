"""Play coding agents that leave nothing but a process: programs that only wait, by the names of real ones."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from coordd.host.process_facts import Process
from coordd.host.processes import glance

_WAITS = "import signal; signal.pause()"


class Programs:
    """Programs below a directory; each process that is started ends with the block.

    Args:
        directory: where the programs lie.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._started: list[subprocess.Popen[bytes]] = []

    def native(self, name: str, *words: str, cwd: Path, prefix: tuple[str, ...] = ()) -> Process:
        """Start a program that is called so."""
        path = self._directory / name
        if not path.exists():
            path.symlink_to("/bin/sleep")
        return self._start([*prefix, str(path), *words, "10000"], cwd)

    def script(self, name: str, *words: str, cwd: Path) -> Process:
        """Start a script that is called so, by an interpreter."""
        return self._start([sys.executable, str(self.script_of(name, _WAITS)), *words], cwd)

    def wrapped(self, name: str, program: str, *, cwd: Path) -> Process:
        """Start a script that is called so, and that starts a program and waits for it; return the script."""
        native = self._directory / program
        if not native.exists():
            native.symlink_to("/bin/sleep")
        script = self.script_of(name, f"import subprocess; subprocess.call([{str(native)!r}, '10000'])")
        return self._start([sys.executable, str(script)], cwd)

    def end(self, process: Process) -> None:
        """End one as kill -9 does."""
        os.kill(process.pid, signal.SIGKILL)
        for one in self._started:
            if one.pid == process.pid:
                one.wait()

    def close(self) -> None:
        """End all of them, with what they have started."""
        for one in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()

    def script_of(self, name: str, code: str) -> Path:
        """Write a script that is called so, and start nothing."""
        path = self._directory / "scripts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
        return path

    def _start(self, command: list[str], cwd: Path) -> Process:
        child = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0
        )
        self._started.append(child)
        seen = glance(child.pid)
        assert seen is not None
        return seen.process


@contextlib.contextmanager
def programs(directory: Path) -> Iterator[Programs]:
    """Have programs below a directory until the end of the block."""
    played = Programs(directory)
    try:
        yield played
    finally:
        played.close()
