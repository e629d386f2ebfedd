"""Stand in for sessions of Claude Code: a process that only sleeps, with the record and transcript of one."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from coordd.host.process_facts import Process
from coordd.host.processes import glance
from coordd.util.timestamps import format_utc


class Home:
    """A home with nothing in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = path / "sessions"
        self.projects = path / "projects"
        self.sessions.mkdir(parents=True, mode=0o700)
        self.projects.mkdir()
        self.work = path.with_name(f"{path.name}-work")
        self.work.mkdir()
        self._started: list[StandIn] = []

    def session(
        self, session_id: str, *, program: tuple[str, ...] = ("sleep", "1000"), **more: Any
    ) -> StandIn:
        """Start a process, and write the record of a session for it; ``more`` are fields of the record."""
        one = StandIn(self, session_id, program)
        self._started.append(one)
        one.write(**more)
        return one

    def close(self) -> None:
        """End all processes."""
        for one in self._started:
            one.kill()


class StandIn:
    """One session; ``record`` and ``transcript`` are its files."""

    def __init__(self, home: Home, session_id: str, program: tuple[str, ...]) -> None:
        self.home = home
        self.session_id = session_id
        self._child = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        seen = glance(self._child.pid)
        assert seen is not None
        self.process: Process = seen.process
        self.record = home.sessions / f"{self.process.pid}.json"
        self.folder = home.projects / "-work"

    @property
    def transcript(self) -> Path:
        return self.folder / f"{self.session_id}.jsonl"

    def write(self, **more: Any) -> None:
        """Write the record, in place as the program does."""
        millis = int(time.time() * 1000)
        one = {
            "pid": self.process.pid,
            "sessionId": self.session_id,
            "cwd": str(self.home.work),
            "startedAt": millis,
            "procStart": str(self.process.start),
            "version": "2.1.197",
            "kind": "interactive",
            "entrypoint": "cli",
            "name": "work-1",
            "status": "idle",
            "updatedAt": millis,
            "statusUpdatedAt": millis,
        } | more
        content = json.dumps({name: value for name, value in one.items() if value is not None})
        self.record.write_text(content)

    def line(self, kind: str, at: float | None = None, **more: Any) -> None:
        """Append a line to the transcript."""
        self.append(json.dumps({"type": kind, "timestamp": format_utc(at or time.time()), **more}) + "\n")

    def append(self, text: str) -> None:
        """Append to the transcript."""
        self.folder.mkdir(exist_ok=True)
        with self.transcript.open("a") as file:
            file.write(text)

    def prompt(self, at: float | None = None) -> None:
        """Append a prompt."""
        self.line("user", at, message={"role": "user", "content": "do it"})

    def call(self, name: str = "t", tool: str = "Bash", at: float | None = None) -> None:
        """Append a call of a tool."""
        block = {"type": "tool_use", "id": name, "name": tool, "input": {}}
        self.answer(block, stop="tool_use", at=at)

    def answer(self, *blocks: Any, stop: str = "end_turn", at: float | None = None) -> None:
        """Append an answer of the model."""
        usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100}
        message = {
            "id": f"msg_{time.monotonic_ns()}",
            "model": "claude-opus-4-8",
            "stop_reason": stop,
            "content": list(blocks),
            "usage": usage,
        }
        self.line("assistant", at, message=message)

    def kill(self) -> None:
        """End the process as kill -9 does; calling it twice is harmless."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()

    def exit(self) -> None:
        """End in order: the record goes before the process."""
        self.record.unlink()
        self.kill()
