"""Tell subscribers of ``task`` which tasks and claims appear, change their state or holder, or are gone.

The rule: while nobody follows the topic the board keeps nothing for it and no timer is set. While somebody
does, what has changed is gathered for a moment and compared with what it was before; a task that is as it was
is not told of. A source that cannot be read changes nothing: what changed meanwhile is told when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Literal

import msgspec

from coordd.control.hub import Hub
from coordd.model import TaskChange, TaskView
from coordd.runtime.clocks import Moment
from coordd.runtime.schedule import Schedule, now
from coordd.tasks.board import Board
from coordd.tasks.moves import Stand
from coordd.tasks.views import TaskList
from coordd.tasks.work import TaskKey
from coordd.util.slices import SLICE
from coordd.util.timestamps import format_utc

GATHER = 0.1
"""Seconds for which changes are gathered."""
_SOON = "tasks.told"
_FIELDS = [one.name for one in fields(TaskView)]


class TaskWatch:
    """Watch the tasks while somebody follows them.

    Args:
        board: has the tasks, and remembers what they were before.
        tasks: shows them.
        hub: takes the notifications, and knows who follows.
        schedule: times the looks.
    """

    def __init__(self, *, board: Board, tasks: TaskList, hub: Hub, schedule: Schedule) -> None:
        self._board = board
        self._tasks = tasks
        self._hub = hub
        self._schedule = schedule
        self._encode = msgspec.json.Encoder().encode
        board.moves.wake = self._soon

    def prepare(self, moment: Moment) -> None:
        """Begin where nobody followed so far: a subscriber comes."""
        if not (self._board.moves.following and self._hub.follows("task")):
            self._board.settle(moment)
            self._board.moves.follow()

    def stop(self) -> None:
        """Watch no more; nobody follows."""
        self._board.moves.stop()
        self._schedule.cancel(_SOON)

    def _soon(self) -> None:
        if self._schedule.waiting(_SOON) is None:
            self._schedule.once(_SOON, GATHER, self._tell)

    async def _tell(self) -> None:
        if not self._hub.follows("task"):
            self.stop()
        moment = now()
        self._board.settle(moment)
        while moved := self._board.moves.take(SLICE):
            changes = list(self._changes(moved, moment))
            self._hub.publish("task", [self._encode(one) for one in changes])
            await asyncio.sleep(0)
            moment = now()

    def _changes(self, moved: Mapping[TaskKey, Stand | None], moment: Moment) -> Iterator[TaskChange]:
        timestamp = format_utc(moment.wall)
        for (path, task), before in moved.items():
            stand = self._board.stand(path, task)
            if stand == before:
                continue
            if stand is not None:
                view = self._tasks.view(path, task, stand[0])
                yield _change(view, timestamp, "appeared" if before is None else "changed")
            elif before is not None:
                yield _change(_last_view(path, task, before), timestamp, "gone")


def _change(view: TaskView, timestamp: str, change: Literal["appeared", "changed", "gone"]) -> TaskChange:
    known = {name: getattr(view, name) for name in _FIELDS}
    return TaskChange(**known, timestamp=timestamp, change=change)


def _last_view(path: str, task: str, stand: Stand) -> TaskView:
    state, agent_id = stand
    return TaskView(
        task_id=task,
        workspace=path or None,
        state=state,
        agent_id=agent_id,
        claimed_at=None,
        expires_at=None,
        description=None,
        progress=None,
        failed=False,
        message=None,
        progress_at=None,
        holder_status=None,
        sources=("file",) if path else ("redis",),
    )
