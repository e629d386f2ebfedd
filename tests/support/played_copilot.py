"""Play sessions of Copilot: processes of that name lock folders, in which a test writes down what happens."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from played_codex import Holder

from coordd.host.process_facts import Process
from coordd.util.timestamps import format_utc

MODEL = "gpt-5.4"
VERSION = "1.0.102"


class CopilotHome:
    """A home of Copilot with nothing in it; processes work in ``work``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = path / "session-state"
        self.locks = self.sessions / ".session-operation-locks"
        self.locks.mkdir(parents=True)
        self.work = path.with_name(f"{path.name}-work")
        self.work.mkdir()
        self._holders: list[Holder] = []
        self._spare: list[Holder] = []

    def holder(self, name: str = "copilot") -> Holder:
        """Start a process that works on nothing yet, or take one that was started before."""
        if name == "copilot" and self._spare:
            return self._spare.pop()
        self._holders.append(Holder(name, cwd=self.work))
        return self._holders[-1]

    def start(self, count: int) -> None:
        """Start processes beforehand, of which the next sessions take one each."""
        self._spare += [self.holder() for _ in range(count)]

    def session(self, session_id: str, *, by: Holder | None = None, **start: Any) -> PlayedCopilot:
        """Begin a session; ``start`` is what its first line says beside or in place of the usual."""
        one = PlayedCopilot(self, session_id, by or self.holder())
        one.lock()
        one.begin(**start)
        return one

    def close(self) -> None:
        """End all processes."""
        for one in self._holders:
            one.kill()


class PlayedCopilot:
    """One session: its folder, and the process that works on it."""

    def __init__(self, home: CopilotHome, session_id: str, holder: Holder) -> None:
        self.session_id = session_id
        self.holder = holder
        self.folder = home.sessions / session_id
        self.folder.mkdir(exist_ok=True)
        self.path = self.folder / "events.jsonl"
        self.lock_path = self.folder / f"inuse.{holder.process.pid}.lock"
        self.hold_path = self.lock_path.with_suffix(".hold")
        self._home = home
        self._calls = 0

    @property
    def process(self) -> Process:
        return self.holder.process

    def lock(self, *, holds: bool = True) -> None:
        """Let the process take the session; without ``holds`` as older builds do."""
        with (self._home.locks / f"{self.session_id}.lock").open("w"):
            self.lock_path.write_text(str(self.process.pid))
            if holds:
                self.holder.tell("open", self.hold_path)

    def unlock(self) -> None:
        """Let the process leave the session, in order."""
        self.holder.tell("close", self.hold_path)
        self.hold_path.unlink()
        self.lock_path.unlink()

    def append(self, text: str) -> None:
        """Append to the events."""
        with self.path.open("a") as file:
            file.write(text)

    def event(self, kind: str, at: float | None = None, agent: str | None = None, **data: Any) -> None:
        """Append an event."""
        one: dict[str, Any] = {"type": kind, "data": data, "timestamp": format_utc(at or time.time())}
        self.append(json.dumps({**one, **({"agentId": agent} if agent else {})}) + "\n")

    def begin(self, **start: Any) -> None:
        """Write the first line."""
        usual = {"copilotVersion": VERSION, "startTime": format_utc(time.time()), "selectedModel": MODEL}
        context = {"cwd": str(self._home.work)}
        self.event("session.start", **{**usual, "sessionId": self.session_id, "context": context, **start})

    def prompt(self, at: float | None = None) -> None:
        """Let the user say something: a turn begins."""
        self.event("user.message", at, content="x")
        self.event("assistant.turn_start", at, turnId="0")

    def finish(self) -> None:
        """Let the model end the turn."""
        self.event("assistant.message", content="x", model=MODEL, toolRequests=[])
        self.event("assistant.turn_end", turnId="0")

    def call(self, tool: str = "bash", agent: str | None = None) -> str:
        """Let the model begin a call; return its id."""
        self._calls += 1
        name = f"call_{self._calls}"
        self.event("tool.execution_start", agent=agent, toolCallId=name, toolName=tool, arguments={})
        return name

    def result(self, call: str, **more: Any) -> None:
        """Let a call end."""
        self.event("tool.execution_complete", toolCallId=call, success=True, **more)

    def used(self, **usage: Any) -> None:
        """Tell of a request's tokens."""
        usual = {"inputTokens": 1200, "outputTokens": 30, "cacheReadTokens": 500, "cacheWriteTokens": 100}
        self.event("session.usage_record", usage={**usual, **usage})

    def exit(self) -> None:
        """End in order."""
        self.event("session.shutdown", shutdownType="routine")
        self.unlock()
        self.holder.kill()


@contextlib.contextmanager
def copilot_home(path: Path) -> Iterator[CopilotHome]:
    """Make a home, and end its processes at the end of the block."""
    home = CopilotHome(path)
    try:
        yield home
    finally:
        home.close()
