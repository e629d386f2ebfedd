"""Remember what tasks were before they changed, for those who follow them.

The rule: whoever changes a task says so before, and the first time counts; what it is by then is asked when
it is told. So a task that comes and goes meanwhile is not told of, and work grows with what changes, never
with what is there. While nobody follows nothing is kept. Pure state.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from coordd.model import TaskState
from coordd.tasks.work import TaskKey

Stand = tuple[TaskState, str | None]
"""The state of a task, and who holds it."""


class TaskMoves:
    """Keep the stand before the first change, for each task that has changed since it was last taken.

    ``wake`` is called when there is something to take.

    Args:
        stand: tells how a task stands now; None: there is no such task.
    """

    def __init__(self, stand: Callable[[str, str], Stand | None]) -> None:
        self.wake: Callable[[], None] = _wake_nobody
        self.following = False
        self._stand = stand
        self._before: dict[TaskKey, Stand | None] = {}

    def follow(self) -> None:
        """Keep what changes from now on."""
        self.following = True
        self._before = {}

    def stop(self) -> None:
        """Keep nothing any more."""
        self.following = False
        self._before = {}

    def moves(self, path: str, task: str) -> None:
        """Note that a task is about to change; call this only while :attr:`following`."""
        key = path, task
        if key not in self._before:
            first = not self._before
            self._before[key] = self._stand(path, task)
            if first:
                self.wake()

    def take(self, most: int) -> dict[TaskKey, Stand | None]:
        """Remove and return how some of the tasks stood before they changed, the first ones first."""
        return {key: self._before.pop(key) for key in list(islice(self._before, most))}


def _wake_nobody() -> None:
    """Serve as ``wake`` until somebody follows."""
