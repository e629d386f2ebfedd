"""Return tasks and claims as clients are shown them: lists in order, and problems in words.

It reads the board and returns plain values. The order: orphaned claims, expired ones, held ones, then
available tasks; within each by workspace and task.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.model import TaskState, TaskView
from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.work import SourceTasks
from coordd.util.text import escape
from coordd.util.timestamps import format_utc

ORDER: tuple[TaskState, ...] = ("orphaned", "expired", "held", "available")
_RANK = {state: rank for rank, state in enumerate(ORDER)}
_AVAILABLE = _RANK["available"]

TaskPosition = tuple[int, str, str]
"""The position of a task in the list: rank of its state, workspace ("" for Redis), task."""

NAMED = 5
"""The number of orphaned claims that ``problems`` names; the rest is counted."""


class TaskList:
    """List the tasks of a board in order; the sorted claims are kept until the board changes."""

    def __init__(self, *, board: Board, store: AgentStore) -> None:
        self._board = board
        self._store = store
        self._claims: list[TaskPosition] = []
        self._version = -1

    def shown(
        self,
        now: Moment,
        *,
        state: TaskState | None = None,
        workspace: str | None = None,
        after: TaskPosition | None = None,
    ) -> Iterator[tuple[TaskPosition, TaskView]]:
        """Yield tasks with their positions, starting after one; a workspace that cannot be read has none."""
        self._board.settle(now)
        claims = self._in_order()
        start = 0 if after is None else bisect_right(claims, after)
        for position in claims[start:]:
            rank, path, task = position
            if (state is None or ORDER[rank] == state) and workspace in (None, path):
                yield position, self.view(path, task, ORDER[rank])
        if state not in (None, "available"):
            return
        for path, source in sorted(self._board.source_tasks.items()):
            if not source.knows_available or workspace not in (None, path):
                continue
            available = self._board.available(path)
            start = 0
            if after is not None and after[:2] >= (_AVAILABLE, path):
                start = bisect_right(available, after[2]) if after[:2] == (_AVAILABLE, path) else -1
            for task in available[start:] if start >= 0 else ():
                yield (_AVAILABLE, path, task), self.view(path, task, "available")

    def version(self, now: Moment) -> int:
        """Return a number that grows whenever anything that is shown may have changed."""
        self._board.settle(now)
        return self._board.version

    def unknown(self) -> list[str | None]:
        """Return the workspaces whose claims or tasks are unknown, sorted; None stands for Redis."""
        source_tasks = self._board.source_tasks
        return [
            path or None
            for path in sorted(self._store.workspaces)
            if (source := source_tasks.get(path)) is None
            or not (source.knows_claims and source.knows_available)
        ]

    def claims_of(self, key: AgentKey, now: Moment) -> list[TaskView] | None:
        """Return an agent's claims, None where they are unknown."""
        self._board.settle(now)
        if not self._board.holdings.knows_claims(key):
            return None
        return [
            self.view(path, task, self._board.source_tasks[path].claims[task].state)
            for path, holding in self._board.holdings.of(key)
            for task in sorted(holding.claims)
            if not self._board.is_duplicate(path, task)
        ]

    def held_words(self, key: AgentKey) -> str:
        """Return the tasks that an agent holds, in words; "" where it holds none or that is unknown."""
        return _some(self._board.holdings.tasks_of(key))

    def stall_evidence(self, key: AgentKey, now: Moment) -> tuple[str, float] | None:
        """Return the tasks that an agent holds, in words, and the seconds since its last progress.

        None where it holds none, or where that is unknown.
        """
        self._board.settle(now)
        held = self._board.holdings.tasks_of(key)
        if not held or not self._board.holdings.knows(key):
            return None
        return _some(held), self._board.holdings.idle(key, now)

    def _in_order(self) -> list[TaskPosition]:
        board = self._board
        if self._version != board.version:
            self._claims = sorted(
                (_RANK[held.state], path, task)
                for path, source in board.source_tasks.items()
                if source.knows_claims
                for task, held in source.claims.items()
                if not board.is_duplicate(path, task)
            )
            self._version = board.version
        return self._claims

    def view(self, path: str, task: str, state: TaskState) -> TaskView:
        """Return one task or claim of a source, in this state."""
        source: SourceTasks = self._board.source_tasks[path]
        held = source.claims.get(task) if state != "available" else None
        claim = held.claim if held else None
        progress = source.progress.get(task) if source.knows_progress else None
        duplicate = path != "" and self._board.is_duplicate("", task)
        redis = self._board.source_tasks[""] if duplicate else None
        if redis and redis.knows_progress and (other := redis.progress.get(task)) is not None:
            progress = max((one for one in (progress, other) if one), key=lambda one: one.timestamp or 0.0)
        return TaskView(
            task_id=task,
            workspace=path or None,
            state=state,
            agent_id=claim.agent_id if claim else None,
            claimed_at=_moment(claim.claimed_at) if claim else None,
            expires_at=_moment(claim.expires_at) if claim else None,
            description=claim.description if claim else None,
            progress=progress.percent if progress else None,
            failed=progress.failed if progress else False,
            message=progress.message if progress else None,
            progress_at=_moment(progress.timestamp) if progress else None,
            holder_status=held.holder if held else None,
            sources=("file", "redis") if duplicate else ("file",) if path else ("redis",),
            problem=str(claim.problem) if claim and claim.problem is not None else None,
        )


def _some(tasks: tuple[str, ...]) -> str:
    """Return the first tasks by name, and the number of further ones, in words."""
    more = f" and {len(tasks) - 3} more" if len(tasks) > 3 else ""
    return ", ".join(escape(task) for task in tasks[:3]) + more


def _moment(epoch: float | None) -> str | None:
    return None if epoch is None else format_utc(epoch)
