"""Take readings of tasks into the board, and write its events; set the timer for what time alone changes.

It stands between what reads the sources (source.py) and the board, which judges. The rule: events are
gathered for a moment, and many of one kind are summed up, so that a hundred claims in one second do not hide
what matters to a follower of the events.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from coordd.agents.key import AgentKey
from coordd.agents.traces import SourceTraces, WorkChange
from coordd.runtime.schedule import Schedule, now
from coordd.sinks.recorder import Recorder
from coordd.tasks.board import Board
from coordd.tasks.event_buffer import TaskEvent

GATHER = 0.5
"""Seconds for which events are gathered."""
GRID = 0.25
"""Seconds of one step: deadlines within it share one wake-up."""
NAMED = 20
"""The number of events of one kind that are written one by one; the rest share one."""


class TaskIntake:
    """Put readings of tasks into the board, and record the events that follow.

    ``updated`` is called when something may have changed, or was judged.
    """

    def __init__(
        self,
        *,
        board: Board,
        recorder: Recorder,
        schedule: Schedule,
        updated: Callable[[], None] = lambda: None,
    ) -> None:
        self._updated = updated
        self._board = board
        self._recorder = recorder
        self._schedule = schedule
        self._running = False

    def starting(self, active_before: Iterable[AgentKey]) -> None:
        """Report no events for what is found until :meth:`started`; see :meth:`Board.starting`."""
        self._board.starting(active_before)

    def started(self) -> None:
        """Report events from now on: every source was read once."""
        self._board.settle(now())
        self._board.started()
        self._running = True
        self.update()

    def stop(self) -> None:
        """Record what has happened so far, then stop."""
        if self._running:
            self._running = False
            self._record()

    async def take_all(self, path: str, traces: SourceTraces, *, fresh: bool) -> None:
        """Take over a full reading of a source, in steps between which the loop does other work."""
        for _ in self._board.take_in_slices(path, traces, now, fresh=fresh):
            self.update()
            await asyncio.sleep(0)
        self.update()

    def take(self, path: str, change: WorkChange) -> None:
        """Take over a partial reading of a source."""
        if change:
            self._board.take(path, change, now())
            self.update()

    def lost(self, path: str) -> None:
        """Note that a source cannot be read."""
        self._board.lost(path)

    def drop(self, path: str) -> None:
        """Forget a source that is read no longer."""
        self._board.drop(path)

    def update(self) -> None:
        """Judge what has changed, and set the timers for its events and for the next deadline."""
        if not self._running:
            return
        moment = now()
        self._board.settle(moment)
        self._updated()
        if self._board.has_events and self._schedule.waiting("tasks.events") is None:
            self._schedule.once("tasks.events", GATHER, self._record_soon)
        due = self._board.next_deadline()
        if due is None:
            return
        due = max(due, moment.mono)
        waiting = self._schedule.waiting("tasks.deadline")
        if waiting is None or waiting > due + GRID:
            self._schedule.once("tasks.deadline", due - moment.mono + GRID / 2, self._update_soon)

    async def _update_soon(self) -> None:
        self.update()

    async def _record_soon(self) -> None:
        self._record()

    def _record(self) -> None:
        events, missed = self._board.take_events()
        kinds: dict[str, list[TaskEvent]] = defaultdict(list)
        for one in events:
            kinds[one.kind].append(one)
        for kind, several in kinds.items():
            for one in several[:NAMED]:
                detail = {"workspace": one.workspace, "agent_id": one.agent_id}
                self._recorder.event(kind, one.subject, _message(one), detail)
            rest = len(several) - NAMED
            if rest > 0:
                self._recorder.event(kind, "", f"and {rest} more ({kind})", {"count": rest})
        if missed:
            self._recorder.event("tasks.missed", "", f"{missed} more changes of tasks", {"count": missed})


def _message(event: TaskEvent) -> str:
    holder = "nobody known" if event.agent_id is None else event.agent_id
    task = f"task {event.subject} in {event.workspace or 'Redis'}"
    if event.kind == "task.claimed":
        return f"{task} is claimed by {holder}"
    if event.kind == "task.released":
        return f"{task} is no longer claimed by {holder}"
    why = "is inactive" if event.holder else "has left no trace"
    return f"the claim of {task} is orphaned: {holder} {why}"
