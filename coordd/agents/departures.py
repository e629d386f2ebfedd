"""Who has left Redis, and who has only fallen silent there.

Pure values that change. A heartbeat in Redis takes itself away: that alone is silence, and its agent stays
until it is forgotten; to leave the registry is to leave. A Redis that may have lost its data says nothing of
anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from coordd.agents.reducer import KnownAgent
from coordd.agents.traces import AgentTraces

MAX_SILENT = 20_000
"""Agents of which nothing is left in Redis, and that are shown until they are forgotten."""

Found = dict[str, AgentTraces | None]
"""Agents' traces by id, None for one that has left."""


class Departures:
    """Remembers who was in the registry; ``known`` gives an agent as Redis last showed it.

    ``full``: so many are silent that whoever joins them has left: names that live for a second cost nothing
    to make, and are not to be remembered for a day.
    """

    def __init__(self, *, known: Callable[[str], KnownAgent | None], max_silent: int = MAX_SILENT) -> None:
        self.full = False
        self._known = known
        self._max_silent = max_silent
        self._silent: set[str] = set()
        self._registered: set[str] = set()
        self._run_id: str | None = None
        self._restarted = False

    def connected(self, run_id: str | None) -> None:
        """There is a new connection, to the server's run of this id; None where it does not tell."""
        self._restarted = None not in (self._run_id, run_id) and run_id != self._run_id
        self._run_id = run_id or self._run_id

    def of_all(self, traces: Mapping[str, AgentTraces], others: Collection[str], *, first: bool) -> Found:
        """What a full reading says of every agent, even that nothing is there.

        Args:
            others: the agents known; those that the reading has may be among them.
            first: nothing was read since the last loss; then a server that was started again, or comes back
                without any registry, may have lost its data.
        """
        wiped = first and (self._restarted or not any(one.registration for one in traces.values()))
        if wiped:
            self._registered.clear()
        found: Found = {agent_id: self._taken(agent_id, one) for agent_id, one in traces.items()}
        for agent_id in others:
            if agent_id not in found:
                found[agent_id] = self._missing(agent_id, wiped=wiped)
        self._registered.intersection_update(found)
        self._silent.intersection_update(agent_id for agent_id in others if found[agent_id] is not None)
        self.full = len(self._silent) >= self._max_silent
        return found

    def of_some(self, traces: Mapping[str, AgentTraces | None]) -> Found:
        """What a partial reading says of these agents."""
        return {
            agent_id: self._missing(agent_id, wiped=False) if one is None else self._taken(agent_id, one)
            for agent_id, one in traces.items()
        }

    def _taken(self, agent_id: str, traces: AgentTraces) -> AgentTraces:
        self._silent.discard(agent_id)
        if traces.registration is not None:
            self._registered.add(agent_id)
        return traces

    def _missing(self, agent_id: str, *, wiped: bool) -> AgentTraces | None:
        """None for one that has left; blank traces for one that is only silent."""
        old = self._known(agent_id)
        registered = agent_id in self._registered or (old is not None and old.restored_status is not None)
        if old is None or (registered and not wiped):
            self._registered.discard(agent_id)
            self._silent.discard(agent_id)
            return None
        if agent_id not in self._silent and len(self._silent) >= self._max_silent:
            self.full = True
            return None
        self._silent.add(agent_id)
        blank = AgentTraces(agent_id)
        return old.traces if old.traces == blank else blank
