"""Run the real Codex: a home of its own, a model from a script, no network but its own loopback.

The program is that of ``.ci/codex``; a test that needs it fails where it is missing. What it talks to is
``codex_stub.py``, and both are kept apart from the world as ``claude_code.py`` says.
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

import codex_stub
from claude_code import MARK, TOP, Model, Terminal, kill_those_with, model
from claude_scene import Agent, Watched, users_coordd
from live import Coordd
from waiting import NotYet, eventually

MODEL = "gpt-5-codex"
ALLOWED = "--dangerously-bypass-approvals-and-sandbox"
"""Lets it run commands without asking, and without a sandbox that a container may forbid."""


def program() -> str:
    """Return the path of the script. Raises AssertionError, which says how to install it."""
    script = TOP / ".ci" / "codex"
    found = subprocess.run([script, "--where"], check=True, capture_output=True, text=True).stdout.strip()
    assert os.path.isfile(found), f"no Codex at {found}: run {script}"
    return found


class Codex:
    """Codex as one user has it: a home, and a model. What it starts ends with :meth:`close`.

    ``config`` is where it keeps what it knows, in place of ``~/.codex``.
    """

    def __init__(self, home: Path, answering: Model, *, trusted: Path, config: Path | None = None) -> None:
        self.home = home
        self.model = answering
        self.config = config or home / ".codex"
        self.script = program()
        self._trusted = trusted
        self._started: list[subprocess.Popen[str]] = []
        self._terminals: list[Terminal] = []
        self.config.mkdir(parents=True)
        self.trust(trusted)
        self.environ = {  # little of this process's own, and nobody to talk to but the model
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "STUB_KEY": "no-such-key",
            MARK: str(home),
        }
        if config is not None:
            self.environ["CODEX_HOME"] = str(config)

    def trust(self, *directories: Path) -> None:
        """Have it work in these directories without asking whether it may."""
        trusted = "".join(
            f"[projects.{json.dumps(str(one))}]\ntrust_level = 'trusted'\n" for one in directories
        )
        (self.config / "config.toml").write_text(
            f"""
model = "{MODEL}"
model_provider = "stub"
check_for_update_on_startup = false
[model_providers.stub]
name = "stub"
base_url = "http://127.0.0.1:{self.model.port}/v1"
wire_api = "responses"
env_key = "STUB_KEY"
request_max_retries = 0
stream_max_retries = 0
{trusted}"""
        )

    def exec(self, project: Path, prompt: str, *options: str, resume: str | None = None) -> Running:
        """Run ``codex exec`` in a project, or ``codex exec resume``."""
        command = [*self.model.prefix, "node", self.script, "exec"]
        again = ["resume"] if resume is not None else []
        session = [resume] if resume is not None else []
        process = subprocess.Popen(
            [*command, *again, "--skip-git-repo-check", *options, *session, prompt],
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
        """Run ``codex`` in a terminal of its own, until it is ready for a prompt."""
        terminal = Terminal(
            self.home / f"tmux-{len(self._terminals)}",
            ["env", *self.model.prefix, "node", self.script, *options],
            cwd=project,
            environ={**self.environ, **environ},
        )
        self._terminals.append(terminal)
        terminal.shows("Ask Codex to do anything", MODEL)
        return terminal

    def rollout(self, session_id: str) -> Path:
        """Return the rollout of a session. Raises NotYet while there is none."""
        found = list((self.config / "sessions").rglob(f"rollout-*-{session_id}.jsonl"))
        if not found:
            raise NotYet(f"no rollout of {session_id}")
        return found[0]

    def lines(self, session_id: str) -> list[dict[str, Any]]:
        """Return the whole lines of a session's rollout."""
        lines = self.rollout(session_id).read_bytes().splitlines(keepends=True)
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
    """One ``codex exec``: node's process, and the program's below it, which may be the same."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        """The pid of the program itself, once it runs."""
        return eventually(lambda: program_below(self.process.pid), what="Codex runs") or 0

    def kill(self) -> None:
        """End the program as kill -9 does."""
        os.kill(self.pid, signal.SIGKILL)


def program_below(pid: int) -> int | None:
    """Return the pid of Codex itself: of this process, or of one below it."""
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "codex":
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next((found for child in children if (found := program_below(int(child)))), None)
    return None


class WatchedCodex(Watched):
    """What coordd says of a Codex and its projects."""

    def __init__(self, directory: Path, codex: Codex, daemon: Coordd) -> None:
        self.directory = directory
        self.codex = codex
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
def codex(directory: Path, config: Path | None = None) -> Iterator[Codex]:
    """Run a model, and give a Codex that trusts what lies in this directory; end all of it."""
    with model(directory / "model", codex_stub) as answering:
        one = Codex(directory / "home", answering, trusted=directory, config=config)
        try:
            yield one
        finally:
            one.close()


@contextlib.contextmanager
def watched_codex(directory: Path) -> Iterator[WatchedCodex]:
    """Run all of it: coordd first, in a home in which Codex was never started."""
    with codex(directory) as one, users_coordd(one.home) as daemon:
        yield WatchedCodex(directory, one, daemon)
