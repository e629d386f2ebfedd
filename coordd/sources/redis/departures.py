"""Tell the agents that have left Redis from those that have only fallen silent there.

The rule: a heartbeat key expires by itself, so its absence alone is silence, and the agent stays known until
it is forgotten; an agent whose entry in the registry is removed has left. After a Redis may have lost its
data, absence proves nothing. Pure state: it reads no Redis and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.agents.observation import Observation
from coordd.agents.traces import AgentTraces

MAX_SILENT = 20_000
"""The number of silent agents, without any key left in Redis, that stay known at most."""

Found = dict[str, AgentTraces | None]
"""Agents' traces by id; None for an agent that has left."""


class Departures:
    """Decide which agents have left Redis, from the registry as it was and as it is.

    ``full`` is true while ``max_silent`` agents are silent: an agent that falls silent then counts as having
    left, because short-lived names cost their writer nothing and must not be remembered for a day.

    Args:
        known: what Redis is known to tell of each agent; it follows every change.
        max_silent: the number of silent agents to keep.
    """

    def __init__(self, *, known: Mapping[str, Observation], max_silent: int = MAX_SILENT) -> None:
        self.full = False
        self._known = known
        self._max_silent = max_silent
        self._silent: set[str] = set()
        self._registered: set[str] = set()
        self._run_id: str | None = None
        self._restarted = False

    def connected(self, run_id: str | None) -> None:
        """Note a new connection to the server process ``run_id``; None where the server does not tell."""
        self._restarted = None not in (self._run_id, run_id) and run_id != self._run_id
        self._run_id = run_id or self._run_id

    def of_all(self, traces: Mapping[str, AgentTraces], *, first: bool) -> Found:
        """Return what a full reading proves of every agent, also of those that it did not find.

        Args:
            traces: the agents found.
            first: whether this is the first reading since the connection was lost. A server that was
                restarted, or that has no registry now, may then have lost its data.
        """
        wiped = first and (self._restarted or not any(one.registration for one in traces.values()))
        if wiped:
            self._registered.clear()
        found: Found = {agent_id: self._taken(agent_id, one) for agent_id, one in traces.items()}
        others = list(self._known)
        for agent_id in others:
            if agent_id not in found:
                found[agent_id] = self._missing(agent_id, wiped=wiped)
        self._registered.intersection_update(found)
        self._silent.intersection_update(agent_id for agent_id in others if found[agent_id] is not None)
        self.full = len(self._silent) >= self._max_silent
        return found

    def of_some(self, traces: Mapping[str, AgentTraces | None]) -> Found:
        """Return what a partial reading proves of these agents."""
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
        """Return what to report of an agent without a key: None if it left, else traces without content."""
        old = self._known.get(agent_id)
        recorded = old.restored.status if old is not None and old.restored is not None else None
        registered = agent_id in self._registered or recorded is not None
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
