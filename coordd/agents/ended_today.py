"""Count the agents that ended in order today, by the local day of this machine.

They leave the list after a while (agents.forget_ended_after); their records stay. The snapshot keeps who they
are over a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordd.agents.key import AgentKey

MOST = 10_000
"""The number of agents that are counted."""


class EndedToday:
    """Hold who ended when; an agent that ended twice counts once.

    Args:
        day: returns the local midnights before and after a time, in epoch seconds.
    """

    def __init__(self, *, day: Callable[[float], tuple[float, float]]) -> None:
        self._day = day
        self._ended: dict[AgentKey, float] = {}
        self._midnight = 0.0
        self._next = 0.0

    def note(self, key: AgentKey, wall: float) -> None:
        """Note that an agent ended at a time in epoch seconds."""
        if len(self._ended) < MOST:
            self._ended[key] = max(wall, self._ended.get(key, wall))

    def alive(self, key: AgentKey) -> None:
        """Note that an agent lives: it has not ended."""
        self._ended.pop(key, None)

    def drop(self, fits: Callable[[AgentKey], bool]) -> None:
        """Know nothing of these any more."""
        self._ended = {key: at for key, at in self._ended.items() if not fits(key)}

    def restore(self, ended: Iterable[tuple[AgentKey, float]]) -> None:
        """Note what the records tell, unless something is known already."""
        for key, wall in ended:
            if key not in self._ended:
                self.note(key, wall)

    def listed(self, wall: float) -> list[tuple[str, str, float]]:
        """Return (workspace, id, when) of each that :meth:`count` counts, for the snapshot."""
        self.count(wall)
        return [(key.workspace, key.agent_id, at) for key, at in self._ended.items()]

    def count(self, wall: float) -> int:
        """Return how many ended since midnight, at a time in epoch seconds."""
        if not self._midnight <= wall < self._next:
            self._midnight, self._next = self._day(wall)
            self._ended = {key: at for key, at in self._ended.items() if at >= self._midnight}
        return len(self._ended)
