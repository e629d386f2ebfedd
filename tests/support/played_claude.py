"""Play sessions of Claude Code without it: write the files that it writes, as it writes them.

A session is a record in ``sessions/<pid>.json`` and a transcript in ``projects/*/<id>.jsonl``. The words are
those that Claude Code 2.1.197 was seen to write; every text in them is the same few letters. The processes
are real ones that do nothing (:class:`Processes`), or whatever else has a pid and a start.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from coordd.host.process_facts import Process
from coordd.host.processes import glance
from coordd.util.timestamps import format_utc

VERSION, MODEL = "2.1.197", "claude-opus-4-8"
Written = Literal["created", "changed", "removed"]
Status = Literal["idle", "busy", "waiting", "shell"]


def _nothing(_path: str, _how: Written) -> None:
    """Tell nobody."""


class PlayedSession:
    """One session of one process; each method writes what Claude Code writes at that moment.

    Args:
        home: the home of Claude Code, with ``sessions`` and ``projects`` in it.
        process: whose session it is.
        session_id: its id.
        cwd: where it works.
        prints: whether it is ``claude -p``, which gives itself no status.
        wall: the time in epoch seconds.
        wrote: is told of each file that was written, and how.
        name: what its user called it.
    """

    def __init__(
        self,
        home: str,
        process: Process,
        session_id: str,
        cwd: str,
        *,
        prints: bool = False,
        wall: Callable[[], float] = time.time,
        wrote: Callable[[str, Written], None] = _nothing,
        name: str | None = None,
    ) -> None:
        self._name = name
        self.process = process
        self.session_id = session_id
        self.cwd = cwd
        self.record = f"{home}/sessions/{process.pid}.json"
        self._folder = f"{home}/projects/{re.sub(r'[^A-Za-z0-9]', '-', cwd)}"
        self._prints = prints
        self._wall = wall
        self._wrote = wrote
        self._numbers = 0
        self._began = self._millis()

    @property
    def transcript(self) -> str:
        """The path of its transcript, which is there from the first line on."""
        return f"{self._folder}/{self.session_id}.jsonl"

    # Its record.

    def begin(self) -> None:
        """Write the record for the first time."""
        self.status("idle", new=True)

    def status(self, status: Status, waiting_for: str | None = None, *, new: bool = False) -> None:
        """Write the record, in place; of a session that prints nothing changes but the times."""
        millis = self._millis()
        one: dict[str, Any] = {
            "pid": self.process.pid,
            "sessionId": self.session_id,
            "cwd": self.cwd,
            "startedAt": self._began,
            "procStart": str(self.process.start),
            "version": VERSION,
            "peerProtocol": 1,
            "kind": "interactive",
            "entrypoint": "sdk-cli" if self._prints else "cli",
            "name": "work-12" if self._name is None else self._name,
            "nameSource": "derived" if self._name is None else "user",
        }
        if not self._prints:
            waits = {} if waiting_for is None else {"waitingFor": waiting_for}
            one |= {"status": status, **waits, "updatedAt": millis, "statusUpdatedAt": millis}
        elif not new:
            return
        self._write(self.record, json.dumps(one), os.O_TRUNC)

    def clear(self, session_id: str) -> None:
        """Go on as another session, as ``/clear`` does."""
        self.session_id = session_id
        self.status("idle")
        self._line("user", message={"role": "user", "content": "<command-name>/clear</command-name>"})

    def remove_record(self) -> None:
        """Take the record away, which is the last thing that a session does in order."""
        os.unlink(self.record)
        self._wrote(self.record, "removed")

    # Its transcript.

    def prompt(self) -> None:
        """Let the user say something: a turn begins."""
        self.status("busy")
        self._line("user", message={"role": "user", "content": "x"})

    def say(self) -> None:
        """Let the model say something in the middle of a turn."""
        self._answer({"type": "text", "text": "x"}, stop=None)

    def finish(self, then: Status = "idle") -> None:
        """Let the model end the turn."""
        self._answer({"type": "text", "text": "x"}, stop="end_turn")
        self._line("system", subtype="turn_duration", durationMs=8509)
        self.status(then)

    def call(self, tool: str = "Bash") -> str:
        """Let the model begin a call; return its id."""
        self._numbers += 1
        name = f"toolu_{self.process.pid}_{self._numbers}"
        self._answer({"type": "tool_use", "id": name, "name": tool, "input": {}}, stop="tool_use")
        return name

    def result(self, call: str, **told: Any) -> None:
        """Let a call end; ``told`` is what the tool tells its program."""
        block = {"type": "tool_result", "tool_use_id": call, "content": "x", "is_error": False}
        self._line("user", message={"role": "user", "content": [block]}, toolUseResult=told)

    def refused(self, status: int = 429) -> None:
        """Let the provider refuse a request, which is tried again."""
        error = {"status": status}
        self._line("system", subtype="api_error", error=error, retryInMs=616, retryAttempt=1, maxRetries=10)

    def notified(self, task: str) -> None:
        """Let the session hear that work in the background is over: a turn begins."""
        self.status("busy")
        text = f"<task-notification>\n<task-id>{task}</task-id>\n<status>completed</status>\n"
        self._line("user", message={"role": "user", "content": text}, origin={"kind": "task-notification"})

    def _answer(self, block: dict[str, Any], *, stop: str | None) -> None:
        self._numbers += 1
        usage = {"input_tokens": 12, "cache_creation_input_tokens": 1000, "output_tokens": 30}
        message = {
            "id": f"msg_{self.process.pid}_{self._numbers}",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "stop_reason": stop,
            "content": [block],
            "usage": {**usage, "cache_read_input_tokens": 5000},
        }
        self._line("assistant", message=message)

    def _line(self, kind: str, **more: Any) -> None:
        common = {"isSidechain": False, "type": kind, "sessionId": self.session_id, "cwd": self.cwd}
        line = {**common, "timestamp": format_utc(self._wall()), **more}
        if not os.path.isdir(self._folder):
            os.mkdir(self._folder)
            self._wrote(self._folder, "created")
        self._write(self.transcript, json.dumps(line) + "\n", os.O_APPEND)

    def _write(self, path: str, text: str, how: int) -> None:
        new = not os.path.exists(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        os.write(descriptor, text.encode())
        os.close(descriptor)
        self._wrote(path, "created" if new else "changed")

    def _millis(self) -> int:
        return int(self._wall() * 1000)


def home(path: Path) -> str:
    """Make a home with nothing in it; return its path."""
    (path / "sessions").mkdir(parents=True, mode=0o700)
    (path / "projects").mkdir()
    return str(path)


_FORKS = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who is killed is gone at once, and no zombie
pids = []
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        os.close(0)
        while True:
            signal.pause()
    pids.append(pid)
print(*pids, flush=True)
sys.stdin.read()
for pid in pids:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Processes:
    """Real processes that only wait, forked by one."""

    def __init__(self, pids: list[int]) -> None:
        found = [glance(pid) for pid in pids]
        self.all: list[Process] = [seen.process for seen in found if seen is not None]
        assert len(self.all) == len(pids)

    @staticmethod
    def kill(process: Process) -> None:
        """End one as kill -9 does."""
        os.kill(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def processes(count: int) -> Iterator[Processes]:
    """Have so many processes, each about a megabyte of its own, until the end of the block."""
    parent = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FORKS, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin and parent.stdout
    with parent:
        try:
            yield Processes([int(pid) for pid in parent.stdout.readline().split()])
        finally:
            parent.stdin.close()  # it ends its children, then itself
