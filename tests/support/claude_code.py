"""Run the real Claude Code: a home of its own, a model from a script, no network but its own loopback.

The program is that of ``.ci/claude-code``; a test that needs it fails where it is missing. What it talks to
is ``model_stub.py``. As root, both are in a network namespace of their own, so that nothing can leave the
machine; otherwise the program is only told to talk to nobody else. It needs Linux: /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import model_stub
from model_stub import Answer
from waiting import PATIENCE, eventually

TOP = Path(__file__).parents[2]
KEY = "sk-ant-no-such-key-but-long-enough"
MARK = "STARTED_BY_A_TEST_IN"
"""Is in the environment of all that a test starts, with the home."""
COLUMNS, LINES = 150, 50


def program() -> str:
    """Return the path of the program. Raises AssertionError, which says how to install it."""
    script = TOP / ".ci" / "claude-code"
    found = subprocess.run([script, "--where"], check=True, capture_output=True, text=True).stdout.strip()
    assert os.access(found, os.X_OK), f"no Claude Code at {found}: run {script}"
    return found


class Model:
    """The model that answers, as a process of its own."""

    def __init__(self, directory: Path, process: subprocess.Popen[str], port: int) -> None:
        self.directory = directory
        self.port = port
        self._process = process
        self._script: dict[str, list[Answer]] = {}

    @property
    def prefix(self) -> list[str]:
        """What to run a command with, for it to reach this model and nothing else."""
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"] if os.getuid() == 0 else []

    def answers(self, keyword: str, *answers: Answer) -> None:
        """Set what is answered to prompts with a keyword, from the next request on."""
        self._script[keyword] = list(answers)
        new = self.directory / "script.new"
        new.write_text(json.dumps(self._script))
        new.rename(self.directory / "script.json")

    def go_on(self, name: str) -> None:
        """Let the answers go that are held by this name."""
        (self.directory / name).touch()

    def asked(self, keyword: str, number: int = 0) -> bool:
        """Return whether a request came that this answer is for."""
        with contextlib.suppress(FileNotFoundError):
            return f"{keyword} {number}" in (self.directory / "asked").read_text().splitlines()
        return False


@contextlib.contextmanager
def model(directory: Path, stub: ModuleType = model_stub) -> Iterator[Model]:
    """Run a model without a script, which speaks as ``stub`` does."""
    directory.mkdir(parents=True)
    (directory / "script.json").write_text("{}")
    serve = [sys.executable, str(stub.__file__), str(directory)]
    if os.getuid() == 0:
        serve = ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec {shlex.join(serve)}"]
    process = subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    with process:
        try:
            yield Model(directory, process, int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.kill()


class Gate:
    """What commands wait for: ``waiting`` is a command that ends, and prints ``says``, once the gate is open.

    No fifo: Claude Code itself reads a file that a command names, and would be who waits.
    """

    def __init__(self, path: Path, says: str = "through") -> None:
        self._path = path
        quoted = shlex.quote(str(path))
        self.waiting = f"until [ -e {quoted} ]; do sleep 0.05; done; echo {shlex.quote(says)}"

    def open(self) -> None:
        """Let every command go that waits, or will."""
        self._path.touch()


class ClaudeCode:
    """Claude Code as one user has it: a home, and a model. What it starts ends with :meth:`close`.

    It works in directories below ``trusted`` without asking whether it may. ``program_prefix`` is what
    :meth:`printing` runs the program with. ``config`` is where it keeps what
    it knows, in place of ``~/.claude``.
    """

    def __init__(self, home: Path, answering: Model, *, trusted: Path, config: Path | None = None) -> None:
        self.home = home
        self.model = answering
        self.config = config or home / ".claude"
        self.program = program()
        self.program_prefix: list[str] = []
        self._started: list[subprocess.Popen[str]] = []
        self._terminals: list[Terminal] = []
        home.mkdir(parents=True, exist_ok=True)
        settings = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(trusted): {"hasTrustDialogAccepted": True}},
        }
        if config is not None:
            config.mkdir()
        (config or home).joinpath(".claude.json").write_text(json.dumps(settings))
        self.environ = {  # little of this process's own, and nobody to talk to but the model
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{answering.port}",
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
            MARK: str(home),
        }
        if config is not None:
            self.environ["CLAUDE_CONFIG_DIR"] = str(config)

    def printing(self, project: Path, prompt: str, *options: str) -> subprocess.Popen[str]:
        """Run ``claude -p`` in a project."""
        process = subprocess.Popen(
            [*self.model.prefix, *self.program_prefix, self.program, "-p", prompt, *options],
            cwd=project,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def interactive(self, project: Path, *options: str, **environ: str) -> Terminal:
        """Run ``claude`` in a terminal of its own, until it is ready for a prompt."""
        terminal = Terminal(
            self.home / f"tmux-{len(self._terminals)}",
            ["env", *self.model.prefix, self.program, *options],  # tmux gives a single word to a shell
            cwd=project,
            environ={**self.environ, **environ},
        )
        self._terminals.append(terminal)
        eventually(lambda: self.record(terminal.pid)["status"] == "idle", what="it is ready for a prompt")
        terminal.shows("\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}")  # its prompt
        return terminal

    def record(self, pid: int) -> dict[str, Any]:
        """Return what it says of one of its processes, as it lies there. Raises OSError or ValueError."""
        found: dict[str, Any] = json.loads((self.config / "sessions" / f"{pid}.json").read_bytes())
        return found

    def has_record(self, pid: int) -> bool:
        """Return whether it says anything of a process."""
        return (self.config / "sessions" / f"{pid}.json").exists()

    def transcript(self, session_id: str) -> list[dict[str, Any]]:
        """Return the whole lines of a session's transcript; it is empty until the first prompt."""
        found = list((self.config / "projects").glob(f"*/{session_id}.jsonl"))
        lines = found[0].read_bytes().splitlines(keepends=True) if found else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def clear(self, terminal: Terminal) -> str:
        """Say ``/clear``; return the id of the session as which the process goes on."""
        before = self.record(terminal.pid)["sessionId"]
        terminal.say("/clear")

        def cleared() -> str | None:
            after: str = self.record(terminal.pid)["sessionId"]
            # only then it listens again: what is typed before it wrote that down gets lost
            written = any(line.get("subtype") == "local_command" for line in self.transcript(after))
            return after if after != before and written else None

        return eventually(cleared) or ""

    def close(self) -> None:
        """End all that was started, and what that started."""
        for terminal in self._terminals:
            terminal.close()
        for process in self._started:
            process.kill()
        kill_those_with(f"{MARK}={self.home}")
        for process in self._started:
            process.communicate()


def kill_those_with(variable: str) -> None:
    """Kill every process that has this in its environment, whatever became of its parent."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


class Terminal:
    """A program in a terminal of its own: a tmux server that nobody else uses."""

    def __init__(self, path: Path, command: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(path), "-f", "/dev/null"]
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        wanted = {**environ, "TERM": "xterm-256color"}
        subprocess.run(
            [*self._tmux, "new-session", "-d", *size, "-c", str(cwd), "--", *command],
            env=wanted,
            check=True,
            timeout=PATIENCE,
        )
        pid, tty, server = self._ask("display-message", "-p", "#{pane_pid} #{pane_tty} #{pid}").split()
        self.pid = int(pid)
        self.tty = tty.removeprefix("/dev/")
        self.server = int(server)

    def _ask(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout

    def screen(self) -> str:
        """Return what can be seen."""
        return self._ask("capture-pane", "-p")

    def shows(self, *texts: str) -> None:
        """Wait until all of these can be seen, white space aside."""

        def seen() -> bool:
            screen = _plain(self.screen())
            missing = [text for text in texts if _plain(text) not in screen]
            assert not missing, f"{missing} not on the screen:\n{self.screen()}"
            return True

        eventually(seen)

    def keys(self, *names: str) -> None:
        """Press keys: ``Enter``, ``Escape``, ``C-c``, or a character."""
        self._ask("send-keys", *names)

    def say(self, text: str) -> None:
        """Type a prompt or a command, and send it off once it can be seen."""
        self.keys("C-u")  # Esc puts the prompt back that was interrupted
        self._ask("send-keys", "-l", "--", text)
        self.shows(text[-60:])
        self.keys("Enter")

    def hang_up(self) -> None:
        """Close the terminal as a window manager does: its programs get a SIGHUP."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._ask("kill-server")

    def close(self) -> None:
        """Kill the program, and then the terminal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.hang_up()


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text)
