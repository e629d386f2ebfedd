"""What happens to tasks, as events; and the timer that notices what time alone has changed.

Between the pipeline, which reads, and the board, which judges. Events are gathered for a moment: a hundred
claims in one second make a handful of lines, for a follower of the events is to see what matters among them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from coordd.agents.reducer import Key
from coordd.agents.traces import WorkChange, WorkspaceTraces
from coordd.runtime.schedule import Schedule, now
from coordd.sinks.recorder import Recorder
from coordd.tasks.board import Board
from coordd.tasks.event_buffer import TaskEvent
from coordd.util.text import age

GATHER = 0.5
"""Seconds for which news is gathered."""
GRID = 0.25
"""Deadlines are gathered into steps of this many seconds."""
NAMED = 20
"""So many of a kind make an event each; the rest share one."""


class TaskIntake:
    """Feeds the board, and records what becomes of it."""

    def __init__(self, *, board: Board, recorder: Recorder, schedule: Schedule) -> None:
        self._board = board
        self._recorder = recorder
        self._schedule = schedule
        self._running = False

    def starting(self, lively: Iterable[Key]) -> None:
        """Until :meth:`started`, what is found was so before; ``lively`` were not inactive last time."""
        self._board.starting(lively)

    def started(self) -> None:
        """Everything was read once: from now on it is news."""
        self._board.settle(now())
        self._board.started()
        self._running = True
        self.look()

    def stop(self) -> None:
        """Record what has happened so far, and no more."""
        if self._running:
            self._running = False
            self._tell()

    async def take_all(self, path: str, traces: WorkspaceTraces, *, fresh: bool) -> None:
        """A full reading of a workspace; the loop turns between some of it and the next."""
        for _ in self._board.take_in_slices(path, traces, now, fresh=fresh):
            self.look()
            await asyncio.sleep(0)
        self.look()

    def take(self, path: str, change: WorkChange) -> None:
        """A partial one."""
        if change:
            self._board.take(path, change, now())
            self.look()

    def lost(self, path: str) -> None:
        """The workspace cannot be read."""
        self._board.lost(path)

    def drop(self, path: str) -> None:
        """The workspace is no longer one of ours."""
        self._board.drop(path)

    def look(self) -> None:
        """See what has changed, and come again when time can change more."""
        if not self._running:
            return
        moment = now()
        self._board.settle(moment)
        if self._board.has_news and self._schedule.waiting("tasks.events") is None:
            self._schedule.once("tasks.events", GATHER, self._tell_soon)
        due = self._board.next_deadline()
        if due is None:
            return
        due = max(due, moment.mono)
        waiting = self._schedule.waiting("tasks.deadline")
        if waiting is None or waiting > due + GRID:
            self._schedule.once("tasks.deadline", due - moment.mono + GRID / 2, self._look_soon)

    async def _look_soon(self) -> None:
        self.look()

    async def _tell_soon(self) -> None:
        self._tell()

    def _tell(self) -> None:
        news, missed = self._board.take_news()
        kinds: dict[str, list[TaskEvent]] = defaultdict(list)
        for one in news:
            kinds[one.kind].append(one)
        for kind, several in kinds.items():
            for one in several[:NAMED]:
                detail = {"workspace": one.workspace, **_detail(one)}
                self._recorder.event(kind, one.subject, _message(one), detail)
            rest = len(several) - NAMED
            if rest > 0:
                self._recorder.event(kind, "", f"and {rest} more ({kind})", {"count": rest})
        if missed:
            self._recorder.event("tasks.missed", "", f"{missed} more changes of tasks", {"count": missed})


def _message(news: TaskEvent) -> str:
    who = "nobody known" if news.agent_id is None else news.agent_id
    if news.kind == "task.claimed":
        return f"task {news.subject} is claimed by {who}"
    if news.kind == "task.released":
        return f"task {news.subject} is claimed by {who} no more"
    if news.kind == "claim.orphaned":
        why = "is inactive" if news.holder else "has left no trace"
        return f"the claim of task {news.subject} is orphaned: {who} {why}"
    held = ", ".join(news.tasks[:NAMED])
    return f"agent {news.subject} is stalled: holds {held}, no progress for {age(news.idle)}"


def _detail(news: TaskEvent) -> dict[str, object]:
    if news.kind == "agent.stalled":
        return {"tasks": list(news.tasks[:NAMED]), "idle": news.idle}
    return {"agent_id": news.agent_id}
