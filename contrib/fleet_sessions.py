"""Play sessions of Claude Code and Codex for fleet.py: processes that only sleep, and a session's files.

| fate | what the session does |
|---|---|
| works | prompts, calls and answers by turns, idle in between |
| waits | works, then asks for permission and stays so |
| stalls | is in a turn since an hour, and nothing comes |
| killed | works, then its process is killed |
| mass | as killed, all of one project at the same moment |
| ends | works, then removes its record and exits |

Every text in the files is the same few letters. Linux only: the start of a process is read from /proc.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

FATES = ("waits", "stalls", "killed", "ends")
TOOLS = ("Bash", "Edit", "Read", "Grep", "WebFetch", "Task")
WAITS_FOR = ("permission prompt", "question", "plan approval")
VERSION = "2.1.197"
STALLED_FOR = 3600.0  # seconds since the last sign of one that stalls

HOLDS = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(15, b"codex")
held = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
print(flush=True)
signal.pause()
"""


class Session:
    """A session of Claude Code: a process, its record, its transcript."""

    kind = "claude-code"

    def __init__(
        self, home: str, project: str, name: str, session_id: str, *, wall: Callable[[], float]
    ) -> None:
        self.name, self.project, self.session_id = name, project, session_id
        self.state = "idle"
        self._wall = wall
        self._child = self._start()
        self._calls = 0
        self._open: str | None = None
        self._prepare(home)

    # What differs between kinds.

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "1000000"], cwd=self.project, stdin=subprocess.DEVNULL)

    def _prepare(self, home: str) -> None:
        folder = os.path.join(home, "projects", re.sub(r"[^A-Za-z0-9]", "-", self.project))
        os.makedirs(folder, exist_ok=True)
        os.makedirs(os.path.join(home, "sessions"), mode=0o700, exist_ok=True)
        self._began = int(self._wall() * 1000)
        self._record = os.path.join(home, "sessions", f"{self.pid}.json")
        self._transcript = os.path.join(folder, f"{self.session_id}.jsonl")
        self._status("idle")

    def _status(self, status: str, waiting_for: str | None = None, *, ago: float = 0.0) -> None:
        millis = int((self._wall() - ago) * 1000)
        record = {
            **{"pid": self.pid, "sessionId": self.session_id, "cwd": self.project, "startedAt": self._began},
            **{"procStart": _start_of(self.pid), "version": VERSION, "kind": "interactive"},
            **{"entrypoint": "cli", "name": self.name, "nameSource": "user", "status": status},
            **({} if waiting_for is None else {"waitingFor": waiting_for}),
            **{"updatedAt": millis, "statusUpdatedAt": millis},
        }
        _write(self._record, json.dumps(record), os.O_TRUNC)

    def _line(self, kind: str, *, ago: float = 0.0, **more: object) -> None:
        common = {"isSidechain": False, "type": kind, "sessionId": self.session_id, "cwd": self.project}
        stamp = {"timestamp": _iso(self._wall() - ago)}
        _write(self._transcript, json.dumps({**common, **stamp, **more}) + "\n", os.O_APPEND)

    def prompt(self, *, ago: float = 0.0) -> None:
        """Begin a turn."""
        self._status("busy", ago=ago)
        self._line("user", ago=ago, message={"role": "user", "content": "x"})
        self.state = "turn"

    def call(self, tool: str) -> None:
        """Begin a call of a tool."""
        self._calls += 1
        self._open = f"toolu_{self.pid}_{self._calls}"
        self._answer({"type": "tool_use", "id": self._open, "name": tool, "input": {}}, stop="tool_use")
        self.state = "call"

    def result(self) -> None:
        """End the open call."""
        block = {"type": "tool_result", "tool_use_id": self._open, "content": "x", "is_error": False}
        self._line("user", message={"role": "user", "content": [block]})
        self.state = "turn"

    def finish(self) -> None:
        """End the turn."""
        self._answer({"type": "text", "text": "x"}, stop="end_turn")
        self._line("system", subtype="turn_duration", durationMs=8509)
        self._status("idle")
        self.state = "idle"

    def wait(self, waiting_for: str) -> None:
        """Ask for a human."""
        self._status("waiting", waiting_for)
        self.state = "waiting"

    def stall(self) -> None:
        """Be in a turn since long ago, in which nothing comes."""
        self.prompt(ago=STALLED_FOR)
        self._answer({"type": "text", "text": "x"}, stop=None, ago=STALLED_FOR)
        self.state = "stalled"

    def _answer(self, block: dict[str, object], *, stop: str | None, ago: float = 0.0) -> None:
        self._calls += 1
        usage = {"input_tokens": 12, "output_tokens": 30, "cache_creation_input_tokens": 400}
        message = {
            **{"id": f"msg_{self.pid}_{self._calls}", "type": "message", "role": "assistant"},
            **{"model": "claude-opus-4-8", "stop_reason": stop, "content": [block]},
            "usage": {**usage, "cache_read_input_tokens": 9000 + 700 * self._calls},
        }
        self._line("assistant", ago=ago, message=message)

    # What all have in common.

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    def kill(self) -> None:
        """End the process as kill -9 does."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        self.state = "killed"

    def end(self) -> None:
        """End in order."""
        os.unlink(self._record)
        self._child.terminate()
        self._child.wait()
        self.state = "ended"

    def close(self) -> None:
        """End whatever of it still lives, at the end of the game."""
        if self._child.poll() is None:
            with suppress(FileNotFoundError):
                self.end()


class CodexSession(Session):
    """A session of Codex: a process of that name that holds its rollout open."""

    kind = "codex"

    def __init__(
        self, home: str, project: str, name: str, session_id: str, *, wall: Callable[[], float]
    ) -> None:
        now = datetime.fromtimestamp(wall(), UTC)
        folder = os.path.join(home, "sessions", now.strftime("%Y/%m/%d"))
        os.makedirs(folder, exist_ok=True)
        self._rollout = os.path.join(folder, f"rollout-{now:%Y-%m-%dT%H-%M-%S}-{session_id}.jsonl")
        super().__init__(home, project, name, session_id, wall=wall)

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HOLDS, self._rollout],
            **{"cwd": self.project, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE},
        )
        if child.stdout is not None:
            with child.stdout as said:
                said.readline()  # it holds the file now
        return child

    def _prepare(self, home: str) -> None:  # noqa: ARG002  # the rollout lies in it already
        self._rolled(
            "session_meta", id=self.session_id, cwd=self.project, cli_version="0.171.0", source="cli"
        )

    def _rolled(self, kind: str, *, ago: float = 0.0, **payload: object) -> None:
        line = {"timestamp": _iso(self._wall() - ago), "type": kind, "payload": payload}
        _write(self._rollout, json.dumps(line) + "\n", os.O_APPEND)

    def prompt(self, *, ago: float = 0.0) -> None:
        """Begin a turn."""
        self._rolled("event_msg", ago=ago, type="task_started", turn_id="t", model_context_window=258400)
        self._rolled("turn_context", ago=ago, turn_id="t", cwd="", model="gpt-5-codex")
        self.state = "turn"

    def call(self, tool: str) -> None:
        """Begin a call of a tool."""
        self._calls += 1
        self._open = f"call_{self._calls}"
        name = "exec_command" if tool == "Bash" else "apply_patch"
        self._rolled("response_item", type="function_call", name=name, arguments="{}", call_id=self._open)
        self.state = "call"

    def result(self) -> None:
        """End the open call."""
        self._rolled("response_item", type="function_call_output", call_id=self._open, output="x")
        self.state = "turn"

    def finish(self) -> None:
        """End the turn."""
        self._rolled("event_msg", type="task_complete", turn_id="t", last_agent_message="x")
        self.state = "idle"

    def end(self) -> None:
        """End in order, which is the end of the process after its turn."""
        if self.state != "idle":
            self.finish()
        self._child.terminate()
        self._child.wait()
        self.state = "ended"


class Sessions:
    """The played sessions; ``advance(t)`` plays all that is due up to ``t`` seconds after the start.

    ``fates`` says how many of the sessions of Claude Code have which fate; with ``mass`` all sessions of the
    last project are killed at one moment. Codex neither waits nor stalls here.
    """

    def __init__(
        self,
        home: str,
        projects: Sequence[str],
        *,
        claude: int,
        codex: int,
        fates: dict[str, int],
        mass: bool,
        duration: float,
        pace: float,
        seed: int,
        wall: Callable[[], float],
    ) -> None:
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        self._pace = pace
        self.sessions: list[Session] = []
        numbers = dict.fromkeys(projects, 0)
        for n in range(claude + codex):
            project = os.path.abspath(projects[n % len(projects)])
            os.makedirs(project, exist_ok=True)
            numbers[projects[n % len(projects)]] += 1
            name = f"{os.path.basename(project)}-{numbers[projects[n % len(projects)]]}"
            session_id = str(_uuid(self._random))
            make, folder = (Session, ".claude") if n < claude else (CodexSession, ".codex")
            self.sessions.append(make(os.path.join(home, folder), project, name, session_id, wall=wall))
        last = os.path.abspath(projects[-1])
        doomed = [one for one in self.sessions if mass and one.project == last]
        free = [one for one in self.sessions[:claude] if one not in doomed]
        for fate in FATES:
            for _ in range(min(fates.get(fate, 0), len(free))):
                one = free.pop(0)
                when = self._random.uniform(0.2, 0.5) * duration
                self._at(0.0 if fate == "stalls" else when, self._meets(one, fate))
        self._at(0.6 * duration, lambda _: [one.kill() for one in doomed])
        for one in self.sessions:
            self._at(self._random.uniform(0, pace), self._working(one))

    def advance(self, until: float) -> float | None:
        """Play what is due up to ``until``; return when the next thing is, None if there is none."""
        while self._due and self._due[0][0] <= until:
            due, _, act = heapq.heappop(self._due)
            act(due)
        return self._due[0][0] if self._due else None

    def truth(self) -> dict[str, dict[str, object]]:
        """Return what each session really does, by its id."""
        return {
            one.session_id: {"name": one.name, "project": one.project, "kind": one.kind, "state": one.state}
            for one in self.sessions
        }

    def close(self) -> None:
        """End all sessions that still live, in order."""
        for one in self.sessions:
            one.close()

    def _meets(self, one: Session, fate: str) -> Callable[[float], None]:
        def act(_due: float) -> None:
            if one.state in ("killed", "ended"):
                return
            if fate == "waits":
                one.wait(self._random.choice(WAITS_FOR))
            elif fate == "stalls":
                one.stall()
            elif fate == "killed":
                one.kill()
            else:
                one.end()

        return act

    def _working(self, one: Session) -> Callable[[float], None]:
        def act(due: float) -> None:
            if one.state == "idle":
                if self._random.random() < 0.5:
                    one.prompt()
            elif one.state == "call":
                one.result()
            elif one.state == "turn":
                if self._random.random() < 0.15:
                    one.finish()
                else:
                    one.call(self._random.choice(TOOLS))
            else:
                return
            self._at(due + self._pace * self._random.uniform(0.3, 2.0), act)

        return act

    def _at(self, due: float, act: Callable[[float], object]) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, act))


def _uuid(chance: random.Random) -> str:
    text = f"{chance.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _start_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2].split()[19].decode()


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _write(path: str, text: str, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
