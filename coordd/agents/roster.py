"""List the agents that are shown, in order, counted by status and activity; note whose record is outdated.

Pure state. The order is (workspace, id). A key is on the roster from :meth:`Roster.enter` to
:meth:`Roster.leave`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Set

from coordd.agents.key import AgentKey
from coordd.model import ACTIVITIES, Activity, AgentCounts, Status


class Roster:
    """Hold the keys that are shown, each with its status and, while it is active, its activity."""

    def __init__(self) -> None:
        self._order: list[AgentKey] = []
        self._status: dict[AgentKey, Status] = {}
        self._counts: dict[Status, int] = {"active": 0, "inactive": 0, "unknown": 0}
        self._inactive: set[AgentKey] = set()
        self._activity: dict[AgentKey, Activity] = {}
        self._doing: dict[Activity, set[AgentKey]] = {activity: set() for activity in ACTIVITIES}
        self._outdated: set[AgentKey] = set()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: AgentKey) -> bool:
        return key in self._status

    def status(self, key: AgentKey) -> Status | None:
        """Return the status given to the last :meth:`enter`, None where the key is not shown."""
        return self._status.get(key)

    def counts(self) -> AgentCounts:
        """Return the number of agents with each status."""
        return AgentCounts(**self._counts)

    @property
    def inactive(self) -> Set[AgentKey]:
        """The keys of the agents that are inactive."""
        return self._inactive

    def activity(self, key: AgentKey) -> Activity | None:
        """Return the activity given to the last :meth:`enter`."""
        return self._activity.get(key)

    def with_activity(self) -> list[AgentKey]:
        """Return the keys of all agents that have an activity."""
        return list(self._activity)

    def activity_counts(self) -> dict[Activity, int]:
        """Return the number of agents with each activity."""
        return {activity: len(keys) for activity, keys in self._doing.items()}

    def doing(self, activity: Activity) -> Set[AgentKey]:
        """Return the keys of the agents with this activity."""
        return self._doing[activity]

    def enter(self, key: AgentKey, status: Status, activity: Activity | None = None) -> bool:
        """Show the key with this status and activity; return whether either is new to it."""
        return self._enter_status(key, status) | self._enter_activity(key, activity)

    def _enter_activity(self, key: AgentKey, activity: Activity | None) -> bool:
        before = self._activity.get(key)
        if before == activity:
            return False
        if before is not None:
            self._doing[before].discard(key)
            del self._activity[key]
        if activity is not None:
            self._doing[activity].add(key)
            self._activity[key] = activity
        return True

    def _enter_status(self, key: AgentKey, status: Status) -> bool:
        before = self._status.get(key)
        if before == status:
            return False
        if before is None:
            insort(self._order, key)
        else:
            self._counts[before] -= 1
        self._counts[status] += 1
        self._status[key] = status
        (self._inactive.add if status == "inactive" else self._inactive.discard)(key)
        return True

    def leave(self, key: AgentKey) -> None:
        """Remove the key; one that is not shown changes nothing."""
        self._outdated.discard(key)
        self._enter_activity(key, None)
        status = self._status.pop(key, None)
        if status is not None:
            self._counts[status] -= 1
            self._inactive.discard(key)
            del self._order[bisect_left(self._order, key)]

    def set_outdated(self, key: AgentKey, outdated: bool) -> None:
        """Note whether status or activity in the key's last record differ from those shown."""
        (self._outdated.add if outdated else self._outdated.discard)(key)

    @property
    def has_outdated(self) -> bool:
        """Whether any last record is outdated."""
        return bool(self._outdated)

    def take_outdated(self) -> list[AgentKey]:
        """Return the keys with an outdated record, in order, and forget that they are."""
        outdated, self._outdated = self._outdated, set()
        return sorted(outdated)

    def keys(self, *, workspace: str | None = None, after: AgentKey | None = None) -> Iterator[AgentKey]:
        """Yield all keys, or those of one workspace, in order, starting after a key."""
        start = 0
        if after is not None:
            start = bisect_right(self._order, after)
        elif workspace is not None:
            start = bisect_left(self._order, AgentKey(workspace, ""))
        for index in range(start, len(self._order)):
            key = self._order[index]
            if workspace is None or key.workspace == workspace:
                yield key
            elif key.workspace > workspace:
                return
