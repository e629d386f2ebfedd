"""Run a real coordd-alert for tests, with a program that keeps what it is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from live import ask, coordctl, environment
from waiting import PATIENCE, eventually

TELL = """#!/bin/sh
# each message in a file of its own, whole or not at all
message="{folder}/.$$"
cat > "$message"
mv "$message" "{folder}/$(date +%s%N)-$$.json"
{then}
"""


class Told:
    """A program that keeps what it is told in a folder, and that folder."""

    def __init__(self, folder: Path, *, then: str = "exit 0") -> None:
        self.folder = folder / "told"
        self.folder.mkdir(parents=True)
        self.program = folder / "tell"
        self.do(then)

    def do(self, then: str) -> None:
        """Have it do something else after it has kept a message."""
        self.program.write_text(TELL.format(folder=self.folder, then=then))
        self.program.chmod(0o755)

    def messages(self) -> list[dict[str, Any]]:
        """Return what it was told, in order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]

    def entries(self, state: str | None = None) -> list[tuple[str, str]]:
        """Return kind and subject of everything that it was told, or of what stood in one state."""
        return [
            (entry["kind"], entry["subject"])
            for message in self.messages()
            for entry in message["entries"]
            if state in (None, entry["state"])
        ]

    def rule(self, name: str = "r", **keys: object) -> str:
        """Return a rule that tells it, as the configuration has it."""
        values = {"name": name, "exec": [str(self.program), "{title}"], "for": "0s", **keys}
        return "\n".join(
            ["[[alert]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
        )


class Alerts:
    """A running coordd-alert."""

    def __init__(
        self, process: subprocess.Popen[bytes], state: Path, log: Path, environ: dict[str, str]
    ) -> None:
        self.process = process
        self.state = state
        self.log = log
        self.environ = environ

    @property
    def pid(self) -> int:
        return self.process.pid

    def rpc(self, method: str, params: object = None) -> Any:
        return ask(self.state / "alerts.sock", method, params)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rpc("status")
        return found

    def follows(self) -> bool:
        return bool(self.status()["daemon"]["connected"])

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real coordctl alerts."""
        return coordctl("alerts", "--state", str(self.state), *arguments, environ=self.environ)

    def logged(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def config_of(home: Path, text: str) -> Path:
    """Write the user's configuration."""
    path = home / ".config" / "coordd" / "coordd.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def alerting(
    home: Path,
    *arguments: str,
    wait: bool = True,
    follows: bool = True,
    state: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Alerts]:
    """Run ``coordd-alert run`` with arguments until it answers and follows; kill it at the end."""
    known = {**environment(home), **(environ or {})}
    place = state or home / ".local" / "state" / "coordd" / "alerts"
    log = home / f"alert-{time.monotonic_ns()}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "coordd.alerts.main", "run", *arguments],
            stdout=stderr,
            stderr=stderr,
            env=known,
            cwd=home,
        )
    alerts = Alerts(process, place, log, known)

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"coordd-alert ended with {process.returncode}:\n{log.read_text()}")
        return alerts.follows() or not follows

    try:
        if wait:
            eventually(answers, what="coordd-alert follows the daemon")
        yield alerts
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert "Traceback" not in log.read_text(errors="replace"), log.read_text(errors="replace")


def rss_of(pid: int) -> int:
    """Return the resident bytes of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
