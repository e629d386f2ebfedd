"""Run a real coordd for tests: the real process on a real directory, asked through its real socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from waiting import PATIENCE, NotYet, eventually


class RpcFailed(NotYet):
    """Raised when the daemon answers with an error object."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error


def utc_now() -> str:
    """Return the time as agents write it, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Project:
    """A workspace, and agents that leave traces in it."""

    def __init__(self, root: Path, *, coordination: bool = True) -> None:
        self.root = root
        self.claude = root / ".claude"
        self.coordination = self.claude / "coordination"
        self.agents = self.coordination / "agents"
        if coordination:
            self.agents.mkdir(parents=True)
        else:
            root.mkdir(parents=True, exist_ok=True)

    def beat(self, agent: str, content: str | None = None) -> None:
        """Write one heartbeat, by rename."""
        temporary = self.agents / f".{agent}.new"
        temporary.write_text(utc_now() if content is None else content)
        temporary.rename(self.agents / f"{agent}.heartbeat")

    def register(self, agent: str, **fields: object) -> None:
        """Write an ``.active`` file."""
        (self.agents / f"{agent}.active").write_text(json.dumps({"id": agent, **fields}))

    def git(self, *arguments: str) -> None:
        """Run git, as somebody, in the workspace."""
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        subprocess.run(command, cwd=self.root, check=True, capture_output=True, timeout=PATIENCE)

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of a kind, oldest first; every line must be whole."""
        return read_records(self.claude / "metrics", kind)


def owners_file(tmp_path: Path, project: Project, **sections: Mapping[str, object]) -> Path:
    """Write the user's own configuration, as :func:`watching` has it, with a table for this project."""
    path = tmp_path / "home" / ".config" / "coordd" / "coordd.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for section, keys in sections.items():
        lines.append(f"[project.{json.dumps(str(project.root))}.{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
    path.write_text("\n".join([*lines, ""]))
    return path


@contextlib.contextmanager
def beating(project: Project, *agents: str) -> Iterator[None]:
    """Keep agents alive however long the test waits, such as for coordctl on a loaded machine."""
    ending = threading.Event()

    def beat() -> None:
        while not ending.wait(0.2):
            for agent in agents:
                project.beat(agent, f"{time.time():.3f}")

    for agent in agents:
        project.beat(agent, f"{time.time():.3f}")
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def read_records(metrics: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records in a metrics directory; a line that is not JSON fails the test."""

    def order(path: Path) -> tuple[str, int]:
        date, _, number = path.name.removeprefix(f"{kind}_").removesuffix(".jsonl").partition(".")
        return date, int(number or 1)

    parts = [path for path in metrics.glob(f"{kind}_*.jsonl") if not path.is_symlink()]
    return [
        json.loads(line)
        for path in sorted(parts, key=order)
        for line in path.read_bytes().split(b"\n")
        if line
    ]


def ask(path: Path, method: str, params: object = None, *, timeout: float = PATIENCE) -> Any:
    """Send one request on its own connection; return the result. Raises RpcFailed."""
    request: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params is not None:
        request["params"] = params
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(str(path))
        sock.sendall(json.dumps(request).encode() + b"\n")
        with sock.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise RpcFailed(answer["error"])
    return answer["result"]


class Coordd:
    """A running daemon."""

    def __init__(
        self, process: subprocess.Popen[bytes], sock: Path, log: Path, environ: dict[str, str]
    ) -> None:
        self.process = process
        self.socket = sock
        self.log = log
        self.environ = environ

    @property
    def pid(self) -> int:
        return self.process.pid

    def rpc(self, method: str, params: object = None, *, timeout: float = PATIENCE) -> Any:
        return ask(self.socket, method, params, timeout=timeout)

    def agent(self, agent_id: str, workspace: str | None = None) -> dict[str, Any]:
        params = {"agent_id": agent_id} | ({"workspace": workspace} if workspace else {})
        answer: dict[str, Any] = self.rpc("agents.get", params)
        return answer

    def statuses(self) -> dict[str, str]:
        return {one["agent_id"]: one["status"] for one in self.rpc("agents.list")["agents"]}

    def ctl(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real coordctl."""
        return coordctl("--socket", str(self.socket), *arguments, environ=self.environ, cwd=cwd)

    def logged(self) -> str:
        return self.log.read_text()

    def imported(self) -> set[str]:
        """Return the modules imported so far, of a daemon with PYTHONPROFILEIMPORTTIME=1 (python(1))."""
        lines = (line for line in self.logged().splitlines() if line.startswith("import time:"))
        return {line.rpartition("|")[2].strip() for line in lines}

    def mapped(self, *parts: str) -> list[str]:
        """Return the lines of its memory map that hold one of these: libraries that are loaded."""
        lines = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return [line for line in lines if any(part in line for part in parts)]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def coordctl(
    *arguments: str, environ: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coordd.cli", *arguments],
        capture_output=True,
        text=True,
        env=dict(environ),
        cwd=cwd,
        timeout=PATIENCE,
        check=False,
    )


def environment(home: Path, **extra: str) -> dict[str, str]:
    """Return an environment of the test's own, so that nothing of the user's is read or written.

    Agents that are known by their processes alone are not looked for unless ``extra`` says so: those of other
    tests would be found.
    """
    theirs = ("COORDD_", "XDG_", "CLAUDE", "CODEX_", "COPILOT_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(theirs) and k != "REDIS_URL"}
    home.mkdir(parents=True, exist_ok=True)
    return {**kept, "HOME": str(home), "COORDD_PROCESSES_ENABLED": "false", **extra}


@contextlib.contextmanager
def running(
    arguments: Sequence[str],
    *,
    sock: Path,
    home: Path,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    wait: bool = True,
    **extra: str,
) -> Iterator[Coordd]:
    """Run ``coordd run ARGUMENTS`` until it answers; stop it at the end, whatever happened."""
    environ = environment(home, **extra)
    home.mkdir(parents=True, exist_ok=True)
    log = home / f"coordd-{time.monotonic_ns()}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "coordd", "run", *arguments],
            stdout=stderr,
            stderr=stderr,
            env=environ,
            cwd=cwd,
        )
    daemon = Coordd(process, sock, log, environ)

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"coordd ended with {process.returncode}:\n{log.read_text()}")
        return bool(daemon.rpc("ping"))

    try:
        if wait:
            eventually(answers, what="coordd answers")
        yield daemon
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        # What is unexpected is logged with a traceback; no test's daemon may have one.
        assert "Traceback" not in log.read_text(errors="replace"), log.read_text(errors="replace")


@contextlib.contextmanager
def watching(
    project: Project,
    tmp_path: Path,
    *arguments: str,
    sock: Path | None = None,
    prefix: Sequence[str] = (),
    **extra: str,
) -> Iterator[Coordd]:
    """Run coordd on one project, in the project layout unless ``arguments`` name more."""
    with running(
        ["--workspace", str(project.root), *arguments],
        sock=sock or project.claude / "run" / "coordd.sock",
        home=tmp_path / "home",
        prefix=prefix,
        **extra,
    ) as daemon:
        yield daemon
