"""List the agents that are shown, ordered and counted by status, and those whose last record is outdated.

Pure state. The order is (workspace, id). A key is on the roster from :meth:`Roster.enter` to
:meth:`Roster.leave`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from coordd.agents.key import AgentKey
from coordd.model import AgentCounts, Status


class Roster:
    """Hold the keys that are shown, each with its status."""

    def __init__(self) -> None:
        self._order: list[AgentKey] = []
        self._status: dict[AgentKey, Status] = {}
        self._counts: dict[Status, int] = {"active": 0, "inactive": 0, "unknown": 0}
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

    def enter(self, key: AgentKey, status: Status) -> bool:
        """Show the key with this status; return whether the status is new to it."""
        before = self._status.get(key)
        if before == status:
            return False
        if before is None:
            insort(self._order, key)
        else:
            self._counts[before] -= 1
        self._counts[status] += 1
        self._status[key] = status
        return True

    def leave(self, key: AgentKey) -> None:
        """Remove the key; one that is not shown changes nothing."""
        self._outdated.discard(key)
        status = self._status.pop(key, None)
        if status is not None:
            self._counts[status] -= 1
            del self._order[bisect_left(self._order, key)]

    def set_outdated(self, key: AgentKey, outdated: bool) -> None:
        """Note whether the status in the key's last record differs from the one shown."""
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
