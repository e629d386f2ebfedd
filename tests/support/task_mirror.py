"""Keep a list of tasks by what is told of them alone, as a subscriber of ``task`` does."""

from __future__ import annotations

from collections.abc import Collection

from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.moves import Stand
from coordd.tasks.views import TaskList
from coordd.tasks.work import TaskKey


class TaskMirror:
    """Follow a board from its beginning on."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.stands: dict[TaskKey, Stand] = {}
        board.moves.follow()

    def hear(self, now: Moment) -> None:
        """Take what has changed; what it was before is what was told of it last."""
        self.board.settle(now)
        while moved := self.board.moves.take(2):
            for key, before in moved.items():
                assert self.stands.get(key) == before, key
                stand = self.board.stand(*key)
                if stand is None:
                    self.stands.pop(key, None)
                else:
                    self.stands[key] = stand

    def check(self, tasks: TaskList, now: Moment, unreadable: Collection[str] = ()) -> None:
        """Compare it with the list; of a source that cannot be read nothing is listed."""
        self.hear(now)
        if unreadable:
            return
        listed: dict[TaskKey, Stand] = {}
        for _, view in tasks.shown(now):
            listed.setdefault((view.workspace or "", view.task_id), (view.state, view.agent_id))
        assert self.stands == listed
