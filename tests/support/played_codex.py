"""Play sessions of Codex: processes of that name hold rollouts open, into which a test writes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coordd.host.process_facts import Process
from coordd.host.processes import glance
from coordd.util.timestamps import format_utc

MODEL = "gpt-5-codex"
VERSION = "0.171.0"

_HOLDS = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode())
held = {}
print("here", flush=True)
for line in sys.stdin:
    what, path = line.rstrip("\\n").split(" ", 1)
    if what == "close":
        os.close(held.pop(path))
    else:
        how = os.O_RDONLY if what == "read" else os.O_RDWR | os.O_APPEND | os.O_CREAT
        held[path] = os.open(path, how, 0o644)
    print("done", flush=True)
"""


class Holder:
    """A process that is named as Codex is, and holds files open; it ends with :meth:`kill`."""

    def __init__(self, name: str = "codex", *, cwd: Path | None = None) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _HOLDS, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        assert self._child.stdout is not None
        self._child.stdout.readline()
        seen = glance(self._child.pid)
        assert seen is not None and seen.name == name
        self.process: Process = seen.process

    def tell(self, what: str, path: Path) -> None:
        """Have it ``open``, ``read`` (open to read) or ``close`` a file."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(f"{what} {path}\n")
        self._child.stdin.flush()
        assert self._child.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End it as kill -9 does; calling it twice is harmless."""
        self._child.kill()
        self._child.communicate()


class CodexHome:
    """A home of Codex with nothing in it; processes work in ``work``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = path / "sessions"
        self.sessions.mkdir(parents=True)
        self.work = path.with_name(f"{path.name}-work")
        self.work.mkdir()
        self._holders: list[Holder] = []
        self._spare: list[Holder] = []

    def holder(self, name: str = "codex") -> Holder:
        """Start a process that holds nothing yet, or take one that was started before."""
        if name == "codex" and self._spare:
            return self._spare.pop()
        self._holders.append(Holder(name, cwd=self.work))
        return self._holders[-1]

    def start(self, count: int) -> None:
        """Start processes beforehand, of which the next sessions take one each."""
        self._spare += [self.holder() for _ in range(count)]

    def day(self, day: str = "2026/11/28") -> Path:
        """Return the folder of a day, made where it is missing."""
        (self.sessions / day).mkdir(parents=True, exist_ok=True)
        return self.sessions / day

    def session(self, session_id: str, *, by: Holder | None = None, **meta: Any) -> PlayedCodex:
        """Begin a session; ``meta`` is what its first line says beside or in place of the usual."""
        one = PlayedCodex(self, session_id, by or self.holder())
        one.holder.tell("open", one.path)
        usual = {"id": session_id, "cwd": str(self.work), "cli_version": VERSION, "source": "exec"}
        one.line("session_meta", **{**usual, "timestamp": format_utc(time.time()), **meta})
        return one

    def close(self) -> None:
        """End all processes."""
        for one in self._holders:
            one.kill()


class PlayedCodex:
    """One session: its rollout, and the process that holds it open."""

    def __init__(self, home: CodexHome, session_id: str, holder: Holder, day: str = "2026/11/28") -> None:
        self.session_id = session_id
        self.holder = holder
        self.path = home.day(day) / f"rollout-2026-11-28T00-44-18-{session_id}.jsonl"
        self._calls = 0
        self._used = 0

    @property
    def process(self) -> Process:
        return self.holder.process

    def write_by_descriptor(self) -> None:
        """Append from now on to what the process has open, wherever that lies by now."""
        state = self.path.stat()
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            opened = link.stat()
            if (opened.st_dev, opened.st_ino) == (state.st_dev, state.st_ino):
                self.path = link
                return
        raise AssertionError(f"process {self.process.pid} does not hold {self.path}")

    def append(self, text: str) -> None:
        """Append to the rollout."""
        with self.path.open("a") as file:
            file.write(text)

    def line(self, kind: str, at: float | None = None, **payload: Any) -> None:
        """Append a line."""
        one = {"timestamp": format_utc(at or time.time()), "type": kind, "payload": payload}
        self.append(json.dumps(one) + "\n")

    def event(self, kind: str, at: float | None = None, **more: Any) -> None:
        """Append an event."""
        self.line("event_msg", at, type=kind, **more)

    def prompt(self, at: float | None = None) -> None:
        """Let the user say something: a turn begins."""
        self.event("task_started", at, turn_id="t", model_context_window=258400)
        self.line("turn_context", at, turn_id="t", cwd="", model=MODEL)

    def finish(self, **more: Any) -> None:
        """Let the model end the turn."""
        self.event("task_complete", turn_id="t", last_agent_message="x", **more)

    def call(self, tool: str = "exec_command") -> str:
        """Let the model begin a call; return its id."""
        self._calls += 1
        name = f"call_{self._calls}"
        self.line("response_item", type="function_call", call_id=name, name=tool, arguments="{}")
        return name

    def result(self, call: str, output: str = "x") -> None:
        """Let a call end."""
        self.line("response_item", type="function_call_output", call_id=call, output=output)

    def used(self, **limits: Any) -> None:
        """Tell of a request's tokens, and of the account: ``primary``, ``secondary``, ``limit_id``."""
        self._used += 1
        one = {"input_tokens": 1200, "cached_input_tokens": 500, "cache_write_input_tokens": 100}
        one |= {"output_tokens": 30, "total_tokens": 1230}
        total = {name: value * self._used for name, value in one.items()}
        told = {"limit_id": "codex", **limits} if limits else None
        info = {"total_token_usage": total, "last_token_usage": one}
        self.event("token_count", info=info, rate_limits=told)

    def exit(self) -> None:
        """End in order."""
        self.finish()
        self.holder.kill()


@contextlib.contextmanager
def codex_home(path: Path) -> Iterator[CodexHome]:
    """Make a home, and end its processes at the end of the block."""
    home = CodexHome(path)
    try:
        yield home
    finally:
        home.close()
