"""Find the tasks that Redis and a workspace both have, so that each counts once.

The rule: such a task is shown in its workspace, not in Redis. Pure state: it reads the tasks of the sources
(work.py) and does not change them.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.tasks.work import SourceTasks


class Duplicates:
    """Compare the tasks of all sources, with Redis under "".

    ``claims`` has the tasks that are claimed in Redis and in one workspace by the same holder (or by an
    unnamed one in Redis); the board keeps it up to date.
    """

    def __init__(self, source_tasks: Mapping[str, SourceTasks]) -> None:
        self.claims: set[str] = set()
        self._source_tasks = source_tasks
        self._version = -1
        self._available: dict[str, list[str]] = {}

    def is_shared(self, task: str) -> bool:
        """Return whether Redis and exactly one workspace have a claim of this task by the same holder."""
        redis = self._source_tasks.get("")
        held = redis.claims.get(task) if redis else None
        if held is None:
            return False
        others = [
            source.claims[task]
            for path, source in self._source_tasks.items()
            if path and task in source.claims
        ]
        return len(others) == 1 and held.claim.agent_id in (None, others[0].claim.agent_id)

    def is_shown(self, task: str) -> bool:
        """Return whether a workspace with a claim of this task can be read now."""
        return any(
            source.knows_claims
            for path, source in self._source_tasks.items()
            if path and task in source.claims
        )

    def available(self, path: str, version: int) -> list[str]:
        """Return the available tasks of one source that are to be counted and shown.

        A task that Redis and a workspace both offer is left out of Redis's; a task that the other side claims
        is left out as well.

        Args:
            path: the source.
            version: a number that grows whenever the tasks of any source may have changed.
        """
        source = self._source_tasks[path]
        redis = self._source_tasks.get("")
        if redis is None or len(self._source_tasks) == 1 or not (redis.available or redis.claims):
            return source.available
        if version != self._version:
            self._version = version
            self._available.clear()
        if path not in self._available:
            self._available[path] = self._less(source, redis)
        return self._available[path]

    def _less(self, source: SourceTasks, redis: SourceTasks) -> list[str]:
        if source is not redis:
            claimed = redis.claims if redis.knows_claims else {}
            return [task for task in source.available if task not in claimed] if claimed else source.available
        known: set[str] = set()
        for path, other in self._source_tasks.items():
            if path:
                known.update(other.available if other.knows_available else ())
                known.update(other.claims if other.knows_claims else ())
        return [task for task in source.available if task not in known] if known else source.available
