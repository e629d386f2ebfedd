"""What Redis and the workspaces both say of a task: it counts once, and is shown where the workspace has it.

Pure values that change; reads the rooms (rooms.py) and changes none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.tasks.work import SourceTasks


class Duplicates:
    """Looks at all rooms, Redis's under "". ``claims``: the tasks that Redis and a workspace claim alike."""

    def __init__(self, rooms: Mapping[str, SourceTasks]) -> None:
        self.claims: set[str] = set()
        self._rooms = rooms
        self._version = -1
        self._available: dict[str, list[str]] = {}

    def is_one(self, task: str) -> bool:
        """Whether a claim in Redis and that of exactly one workspace are of this task and of one holder."""
        redis = self._rooms.get("")
        held = redis.claims.get(task) if redis else None
        if held is None:
            return False
        others = [room.claims[task] for path, room in self._rooms.items() if path and task in room.claims]
        return len(others) == 1 and held.claim.agent_id in (None, others[0].claim.agent_id)

    def is_shown(self, task: str) -> bool:
        """Whether the workspace that claims this task as well can be read now."""
        return any(room.knows_claims for path, room in self._rooms.items() if path and task in room.claims)

    def available(self, path: str, version: int) -> list[str]:
        """The available tasks to be counted and shown of one room.

        Of one that Redis and a workspace both offer, Redis's is left out; so is one that either claims.

        Args:
            version: another number whenever anything in the rooms can be another.
        """
        room = self._rooms[path]
        redis = self._rooms.get("")
        if redis is None or len(self._rooms) == 1 or not (redis.available or redis.claims):
            return room.available
        if version != self._version:
            self._version = version
            self._available.clear()
        if path not in self._available:
            self._available[path] = self._less(room, redis)
        return self._available[path]

    def _less(self, room: SourceTasks, redis: SourceTasks) -> list[str]:
        if room is not redis:
            claimed = redis.claims if redis.knows_claims else {}
            return [task for task in room.available if task not in claimed] if claimed else room.available
        known: set[str] = set()
        for path, other in self._rooms.items():
            if path:
                known.update(other.available if other.knows_available else ())
                known.update(other.claims if other.knows_claims else ())
        return [task for task in room.available if task not in known] if known else room.available
