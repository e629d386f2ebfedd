"""Keep what works beside a session's turn: shells and subagents, from what its transcript tells of them.

Pure state, bounded. What opens and what ends work:

==========================================  =============================================================
a shell in the background opens              a call's result with ``backgroundTaskId``
a subagent in the background opens           a call's result with ``isAsync`` and ``agentId``
a subagent that the turn waits for opens     a call of the tool Agent (Task, in older builds), and ends
                                             with it (transcript.py)
either ends                                  a task-notification that names it, unless that says that it
                                             runs on; the result of a call that stops it
all subagents end                            the system line ``agents_killed``
==========================================  =============================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from coordd.agents.session import BackgroundWork
from coordd.sources.claude_code.transcript_lines import ToolResult
from coordd.sources.sessions.lines import text_of

MAX_WORK = 256
"""Shells and subagents that are kept for one session; beyond it the oldest is forgotten."""

NOTIFICATION = "<task-notification>"
_TASK = re.compile(r"<task-id>([^<]{1,128})</task-id>")
_STATUS = re.compile(r"<status>([^<]{1,40})</status>")
_RUNS_ON = frozenset({"running", "pending", "in_progress", "started"})
_STOPPING = frozenset({"TaskStop", "KillShell", "KillBash"})


@dataclass(slots=True)
class Background:
    """Work in the background by its id there."""

    _work: dict[str, BackgroundWork]

    def __init__(self) -> None:
        self._work = {}

    @property
    def work(self) -> tuple[BackgroundWork, ...]:
        """What is open, the oldest first."""
        return tuple(self._work.values())

    def result(self, tool: str | None, result: ToolResult, at: float | None) -> None:
        """Take over what the result of a call says; ``tool`` is the call's, where that is known."""
        if (shell := text_of(result.backgroundTaskId)) is not None:
            self._open(shell, BackgroundWork("shell", at))
        elif result.isAsync is True and (agent := text_of(result.agentId)) is not None:
            self._open(agent, BackgroundWork("subagent", at, at))
        elif tool in _STOPPING:
            for one in (result.task_id, result.shell_id):
                self._work.pop(text_of(one) or "", None)

    def notified(self, text: str) -> None:
        """Take over a task-notification: the text begins with :data:`NOTIFICATION`."""
        head = text[:2000]
        task, status = _TASK.search(head), _STATUS.search(head)
        if task is not None and (status is None or status[1] not in _RUNS_ON):
            self._work.pop(task[1], None)

    def subagents_killed(self) -> None:
        """Note that all subagents were ended."""
        self._work = {name: one for name, one in self._work.items() if one.kind != "subagent"}

    def seen(self, agent: str, at: float) -> None:
        """Note that a subagent has shown progress."""
        one = self._work.get(agent)
        if one is not None and one.kind == "subagent" and at > (one.seen or 0.0):
            self._work[agent] = replace(one, seen=at)

    @property
    def subagents(self) -> frozenset[str]:
        """The ids of the subagents that are open."""
        return frozenset(name for name, one in self._work.items() if one.kind == "subagent")

    def _open(self, name: str, work: BackgroundWork) -> None:
        if name not in self._work and len(self._work) >= MAX_WORK:
            del self._work[next(iter(self._work))]
        self._work[name] = work
