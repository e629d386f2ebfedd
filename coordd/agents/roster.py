"""Who is shown, in the order (workspace, id), each with its status, counted; and whose record is owed.

Pure values that change. A key is on the roll from its first :meth:`Roster.enter` to :meth:`Roster.leave`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from coordd.agents.reducer import Key
from coordd.model import AgentCounts, Status

Place = tuple[str, str]
"""A key that can be ordered: the workspace, "" for Redis, and the id."""


class Roster:
    """The keys that are shown."""

    def __init__(self) -> None:
        self._order: list[Place] = []
        self._status: dict[Key, Status] = {}
        self._counts: dict[Status, int] = {"active": 0, "inactive": 0, "unknown": 0}
        self._owed: set[Key] = set()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: Key) -> bool:
        return key in self._status

    def status(self, key: Key) -> Status | None:
        """The status that it last entered with, None where it is not shown."""
        return self._status.get(key)

    def counts(self) -> AgentCounts:
        """How many have which status."""
        return AgentCounts(**self._counts)

    def enter(self, key: Key, status: Status) -> bool:
        """Show it with this status; whether that is another one than before."""
        before = self._status.get(key)
        if before == status:
            return False
        if before is None:
            insort(self._order, place_of(key))
        else:
            self._counts[before] -= 1
        self._counts[status] += 1
        self._status[key] = status
        return True

    def leave(self, key: Key) -> None:
        """Show it no more."""
        self._owed.discard(key)
        status = self._status.pop(key, None)
        if status is not None:
            self._counts[status] -= 1
            del self._order[bisect_left(self._order, place_of(key))]

    def owe(self, key: Key, owed: bool) -> None:
        """Whether its last record says something else than what is shown."""
        (self._owed.add if owed else self._owed.discard)(key)

    @property
    def owes(self) -> bool:
        """Whether any record is owed."""
        return bool(self._owed)

    def take_owed(self) -> list[Key]:
        """Those whose record is owed, in order; from then on it is not."""
        owed, self._owed = self._owed, set()
        return sorted(owed, key=place_of)

    def keys(self, *, workspace: str | None = None, after: Key | None = None) -> Iterator[Key]:
        """All, or those of one workspace ("" is Redis), in order, beginning after a key."""
        start = 0
        if after is not None:
            place = place_of(after)
            start = bisect_left(self._order, place)
            start += start < len(self._order) and self._order[start] == place
        elif workspace is not None:
            start = bisect_left(self._order, (workspace, ""))
        for index in range(start, len(self._order)):
            name, agent_id = self._order[index]
            if workspace is None or name == workspace:
                yield (name or None, agent_id)
            elif name > workspace:
                return


def place_of(key: Key) -> Place:
    """The key's place in the order."""
    return (key[0] or "", key[1])
