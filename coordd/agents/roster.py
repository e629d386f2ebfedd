"""List the agents that are shown, ordered and counted by status, and those whose last record is outdated.

Pure state. The order is (workspace, id). A key is on the roster from :meth:`Roster.enter` to
:meth:`Roster.leave`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from coordd.agents.reducer import Key
from coordd.model import AgentCounts, Status

SourceKey = tuple[str, str]
"""(path of the source, id of an agent or task): a key that can be ordered, with "" for Redis."""


class Roster:
    """Hold the keys that are shown, each with its status."""

    def __init__(self) -> None:
        self._order: list[SourceKey] = []
        self._status: dict[Key, Status] = {}
        self._counts: dict[Status, int] = {"active": 0, "inactive": 0, "unknown": 0}
        self._outdated: set[Key] = set()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: Key) -> bool:
        return key in self._status

    def status(self, key: Key) -> Status | None:
        """Return the status given to the last :meth:`enter`, None where the key is not shown."""
        return self._status.get(key)

    def counts(self) -> AgentCounts:
        """Return the number of agents with each status."""
        return AgentCounts(**self._counts)

    def enter(self, key: Key, status: Status) -> bool:
        """Show the key with this status; return whether the status is new to it."""
        before = self._status.get(key)
        if before == status:
            return False
        if before is None:
            insort(self._order, source_key(key))
        else:
            self._counts[before] -= 1
        self._counts[status] += 1
        self._status[key] = status
        return True

    def leave(self, key: Key) -> None:
        """Remove the key; one that is not shown changes nothing."""
        self._outdated.discard(key)
        status = self._status.pop(key, None)
        if status is not None:
            self._counts[status] -= 1
            del self._order[bisect_left(self._order, source_key(key))]

    def set_outdated(self, key: Key, outdated: bool) -> None:
        """Note whether the status in the key's last record differs from the one shown."""
        (self._outdated.add if outdated else self._outdated.discard)(key)

    @property
    def has_outdated(self) -> bool:
        """Whether any last record is outdated."""
        return bool(self._outdated)

    def take_outdated(self) -> list[Key]:
        """Return the keys with an outdated record, in order, and forget that they are."""
        outdated, self._outdated = self._outdated, set()
        return sorted(outdated, key=source_key)

    def keys(self, *, workspace: str | None = None, after: Key | None = None) -> Iterator[Key]:
        """Yield all keys, or those of one workspace ("" is Redis), in order, starting after a key."""
        start = 0
        if after is not None:
            position = source_key(after)
            start = bisect_left(self._order, position)
            start += start < len(self._order) and self._order[start] == position
        elif workspace is not None:
            start = bisect_left(self._order, (workspace, ""))
        for index in range(start, len(self._order)):
            name, agent_id = self._order[index]
            if workspace is None or name == workspace:
                yield (name or None, agent_id)
            elif name > workspace:
                return


def source_key(key: Key) -> SourceKey:
    """Return the key in the form that can be ordered."""
    return (key[0] or "", key[1])
