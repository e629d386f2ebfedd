"""Run the real Copilot CLI: a home of its own, a model from a script, no network but its own loopback.

The program is that of ``.ci/copilot``; a test that needs it fails where it is missing. What it talks to is
``copilot_stub.py``, and both are kept apart from the world as ``claude_code.py`` says. ``COPILOT_OFFLINE``
has it talk to nobody but the model that it is given.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copilot_stub
from claude_code import MARK, TOP, Model, Terminal, kill_those_with, model
from claude_scene import Agent, Watched, users_coordd
from live import Coordd
from waiting import NotYet, eventually

MODEL = "stub-model"
ALLOWED = "--allow-all-tools"


def program() -> str:
    """Return the path of the script. Raises AssertionError, which says how to install it."""
    script = TOP / ".ci" / "copilot"
    found = subprocess.run([script, "--where"], check=True, capture_output=True, text=True).stdout.strip()
    assert os.path.isfile(found), f"no Copilot at {found}: run {script}"
    return found


class Copilot:
    """Copilot as one user has it: a home, and a model. What it starts ends with :meth:`close`.

    It works in directories below ``trusted`` without asking whether it may. ``config`` is where it keeps what
    it knows, in place of ``~/.copilot``.
    """

    def __init__(self, home: Path, answering: Model, *, trusted: Path, config: Path | None = None) -> None:
        self.home = home
        self.model = answering
        self.config = config or home / ".copilot"
        self.script = program()
        self._started: list[subprocess.Popen[str]] = []
        self._terminals: list[Terminal] = []
        self.config.mkdir(parents=True)
        (self.config / "config.json").write_text(json.dumps({"trustedFolders": [str(trusted)]}))
        self.environ = {  # little of this process's own, and nobody to talk to but the model
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "COPILOT_OFFLINE": "true",
            "COPILOT_AUTO_UPDATE": "false",
            "COPILOT_PROVIDER_BASE_URL": f"http://127.0.0.1:{answering.port}/v1",
            "COPILOT_MODEL": MODEL,
            MARK: str(home),
        }
        if config is not None:
            self.environ["COPILOT_HOME"] = str(config)

    def printing(self, project: Path, prompt: str, *options: str) -> Running:
        """Run ``copilot -p`` in a project."""
        process = subprocess.Popen(
            [*self.model.prefix, "node", self.script, "-p", prompt, *options],
            cwd=project,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return Running(process)

    def interactive(self, project: Path, *options: str, **environ: str) -> Terminal:
        """Run ``copilot`` in a terminal of its own, until it is ready for a prompt."""
        terminal = Terminal(
            self.home / f"tmux-{len(self._terminals)}",
            ["env", *self.model.prefix, "node", self.script, *options],
            cwd=project,
            environ={**self.environ, **environ},
        )
        self._terminals.append(terminal)
        terminal.shows("/ commands", MODEL)
        return terminal

    def folder(self, session_id: str) -> Path:
        """Return the folder of a session."""
        return self.config / "session-state" / session_id

    def events(self, session_id: str) -> list[dict[str, Any]]:
        """Return the whole lines of a session's events."""
        lines = (self.folder(session_id) / "events.jsonl").read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def close(self) -> None:
        """End all that was started, and what that started."""
        for terminal in self._terminals:
            terminal.close()
        for process in self._started:
            process.kill()
        kill_those_with(f"{MARK}={self.home}")
        for process in self._started:
            process.communicate()


class Running:
    """One ``copilot -p``: node's process, and the program's below it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        """The pid of the program itself, once it runs."""
        return eventually(lambda: program_below(self.process.pid), what="Copilot runs") or 0

    def kill(self) -> None:
        """End the program as kill -9 does."""
        os.kill(self.pid, signal.SIGKILL)


def program_below(pid: int) -> int | None:
    """Return the pid of Copilot itself: of this process, or of one below it."""
    with contextlib.suppress(OSError):
        if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "copilot":
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next((found for child in children if (found := program_below(int(child)))), None)
    return None


class WatchedCopilot(Watched):
    """What coordd says of a Copilot and its projects."""

    def __init__(self, directory: Path, copilot: Copilot, daemon: Coordd) -> None:
        self.directory = directory
        self.copilot = copilot
        self.daemon = daemon

    def of_session(self, project: Path) -> Agent:
        """Wait until a project has one agent; return it."""

        def found() -> Agent:
            agents = self.agents(project)
            if len(agents) != 1:
                raise NotYet(f"{len(agents)} agents")
            return agents[0]

        return eventually(found)


@contextlib.contextmanager
def copilot(directory: Path, config: Path | None = None) -> Iterator[Copilot]:
    """Run a model, and give a Copilot that trusts what lies in this directory; end all of it."""
    with model(directory / "model", copilot_stub) as answering:
        one = Copilot(directory / "home", answering, trusted=directory, config=config)
        try:
            yield one
        finally:
            one.close()


@contextlib.contextmanager
def watched_copilot(directory: Path) -> Iterator[WatchedCopilot]:
    """Run all of it: coordd first, in a home in which Copilot was never started."""
    with copilot(directory) as one, users_coordd(one.home) as daemon:
        yield WatchedCopilot(directory, one, daemon)
