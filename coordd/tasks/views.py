"""Tasks and claims as clients are shown them: lists in order, and what is wrong in words.

Reads the board; what it returns is plain values. Orphaned claims come first, then expired ones, then held
ones, then available tasks; within each by workspace and task.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator

from coordd.agents.reducer import Key
from coordd.agents.roster import Place
from coordd.agents.store import AgentStore
from coordd.model import TaskState, TaskView
from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.work import SourceTasks
from coordd.util.text import age, escape
from coordd.util.timestamps import format_utc

ORDER: tuple[TaskState, ...] = ("orphaned", "expired", "held", "available")
_RANK = {state: rank for rank, state in enumerate(ORDER)}
_AVAILABLE = _RANK["available"]

Position = tuple[int, str, str]
"""Where a task stands in the list: rank of its state, workspace ("": none), task."""

NAMED = 5
"""So many orphaned claims, and stalled agents, are named in ``problems``; the rest is counted."""


class TaskList:
    """The tasks of a board, in order."""

    def __init__(self, *, board: Board, store: AgentStore) -> None:
        self._board = board
        self._store = store
        self._claims: list[Position] = []
        self._version = -1

    def shown(
        self,
        now: Moment,
        *,
        state: TaskState | None = None,
        workspace: str | None = None,
        after: Position | None = None,
    ) -> Iterator[tuple[Position, TaskView]]:
        """Tasks with their positions, beginning after one; workspaces that cannot be read have none here."""
        self._board.settle(now)
        claims = self._in_order()
        start = 0 if after is None else bisect_right(claims, after)
        for position in claims[start:]:
            rank, path, task = position
            if (state is None or ORDER[rank] == state) and workspace in (None, path):
                yield position, self._view(path, task, ORDER[rank])
        if state not in (None, "available"):
            return
        for path, room in sorted(self._board.rooms.items()):
            if not room.knows_available or workspace not in (None, path):
                continue
            available = self._board.available(path)
            start = 0
            if after is not None and after[:2] >= (_AVAILABLE, path):
                start = bisect_right(available, after[2]) if after[:2] == (_AVAILABLE, path) else -1
            for task in available[start:] if start >= 0 else ():
                yield (_AVAILABLE, path, task), self._view(path, task, "available")

    def version(self, now: Moment) -> int:
        """Another number whenever anything that is shown can be another."""
        self._board.settle(now)
        return self._board.version

    def unknown(self) -> list[str | None]:
        """The workspaces whose claims or tasks cannot be told, sorted; None among them stands for Redis."""
        rooms = self._board.rooms
        return [
            path or None
            for path in sorted(self._store.workspaces)
            if (room := rooms.get(path)) is None or not (room.knows_claims and room.knows_available)
        ]

    def claims_of(self, key: Key, now: Moment) -> list[TaskView] | None:
        """An agent's claims, None where they are unknown."""
        self._board.settle(now)
        place = (key[0] or "", key[1])
        if not self._board.hands.knows_claims(place):
            return None
        return [
            self._view(path, task, self._board.rooms[path].claims[task].state)
            for path, hand in self._board.hands.of(place)
            for task in sorted(hand.claims)
            if not self._board.is_double(path, task)
        ]

    def is_stalled(self, key: Key, now: Moment) -> bool | None:
        """Whether the agent is stalled, None where that cannot be told."""
        self._board.settle(now)
        place = (key[0] or "", key[1])
        return place in self._board.hands.stalled if self._board.hands.knows(place) else None

    def stall_evidence(self, key: Key, now: Moment) -> tuple[str, float] | None:
        """The tasks that an agent holds, in words, and the seconds since its last progress."""
        self._board.settle(now)
        place = (key[0] or "", key[1])
        held = self._board.hands.holdings(place)
        if not held or not self._board.hands.knows(place):
            return None
        return _some(held), self._board.hands.idle(place, now)

    def problems(self, now: Moment) -> list[str]:
        """A line for all orphaned claims, and one for each of the first stalled agents."""
        self._board.settle(now)
        found = []
        orphans = [place for place in self._board.orphans if self._board.rooms[place[0]].knows_claims]
        if orphans:
            named = [self._orphan(place, now) for place in heapq.nsmallest(NAMED, orphans)]
            count = len(orphans)
            more = f"; and {count - NAMED} more" if count > NAMED else ""
            noun = "claim is" if count == 1 else "claims are"
            found.append(f"{count} {noun} orphaned: {'; '.join(named)}{more}")
        stalled = self._board.hands.stalled
        for place in heapq.nsmallest(NAMED, stalled):
            held = _some(self._board.hands.holdings(place))
            idle = age(self._board.hands.idle(place, now))
            found.append(f"agent {escape(place[1])} is stalled: holds {held}, no progress for {idle}")
        if len(stalled) > NAMED:
            found.append(f"{len(stalled) - NAMED} more agents are stalled")
        return found

    def _orphan(self, place: Place, now: Moment) -> str:
        path, task = place
        agent_id = self._board.rooms[path].claims[task].claim.agent_id
        agent = self._store.get(self._store.resolve(path, agent_id)) if agent_id else None
        who = f"{escape(task)} held by {escape(agent_id or '')}"
        if not agent:
            return f"{who} (no trace of it)"
        silence = self._store.look(agent, now.mono).evidence.silence
        return f"{who} (inactive, silent for {age(silence)})"

    def _in_order(self) -> list[Position]:
        board = self._board
        if self._version != board.version:
            self._claims = sorted(
                (_RANK[held.state], path, task)
                for path, room in board.rooms.items()
                if room.knows_claims
                for task, held in room.claims.items()
                if not board.is_double(path, task)
            )
            self._version = board.version
        return self._claims

    def _view(self, path: str, task: str, state: TaskState) -> TaskView:
        room: SourceTasks = self._board.rooms[path]
        held = room.claims.get(task) if state != "available" else None
        claim = held.claim if held else None
        told = room.progress.get(task) if room.knows_progress else None
        double = path != "" and self._board.is_double("", task)
        redis = self._board.rooms[""] if double else None
        if redis and redis.knows_progress and (other := redis.progress.get(task)) is not None:
            told = max((one for one in (told, other) if one), key=lambda one: one.timestamp or 0.0)
        return TaskView(
            task_id=task,
            workspace=path or None,
            state=state,
            agent_id=claim.agent_id if claim else None,
            claimed_at=_moment(claim.claimed_at) if claim else None,
            expires_at=_moment(claim.expires_at) if claim else None,
            description=claim.description if claim else None,
            progress=told.percent if told else None,
            message=told.message if told else None,
            progress_at=_moment(told.timestamp) if told else None,
            holder_status=held.holder if held else None,
            sources=("file", "redis") if double else ("file",) if path else ("redis",),
        )


def _some(tasks: tuple[str, ...]) -> str:
    """The first tasks by name, and how many more."""
    more = f" and {len(tasks) - 3} more" if len(tasks) > 3 else ""
    return ", ".join(escape(task) for task in tasks[:3]) + more


def _moment(epoch: float | None) -> str | None:
    return None if epoch is None else format_utc(epoch)
