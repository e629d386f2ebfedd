"""Keep every observation of every agent, and which of them are of one agent.

The rule: identity.py alone decides which observations are of one agent; this module remembers the answer, so
that a beat costs one lookup, and asks again when an observation comes, goes, or names something else. What a
rule may join is found by the agent's id: a rule that joins different ids has to be looked up here as well.
Pure state: it reads no source.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from coordd.agents.identity import agents_among, is_local
from coordd.agents.key import AgentKey
from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.source import SourceName

_Agents = dict[AgentKey, tuple[ObservationKey, ...]]
"""Agents by key, each with the places of its observations."""


class Observations:
    """Hold the observations by source and id, and the agents that they make.

    An agent that one source alone sees is the usual case: it takes no memory here beyond its observation.
    """

    def __init__(self) -> None:
        self._seen: dict[SourceName, dict[str, Observation]] = {}
        self._ranks: dict[SourceName, int] = {}
        self._alone: dict[SourceName, tuple[SourceName, ...]] = {}
        self._sources_of: dict[str, tuple[SourceName, ...]] = {}
        self._agents: dict[str, _Agents] = {}  # of the ids that several sources see

    def add_source(self, source: SourceName, rank: int = 0) -> None:
        """Begin to hold observations of a source; those of a lower rank come first in an agent."""
        self._seen.setdefault(source, {})
        self._ranks[source] = rank
        self._alone[source] = (source,)

    def drop_source(self, source: SourceName) -> None:
        """Forget a source that has no observations left."""
        if not self._seen.get(source):
            for known in (self._seen, self._ranks, self._alone):
                known.pop(source, None)

    def of_source(self, source: SourceName) -> Mapping[str, Observation]:
        """Return the observations of one source by the agent's id: a view that follows every change."""
        return MappingProxyType(self._seen[source])

    def key_of(self, observation: Observation) -> AgentKey:
        """Return the key of the agent that an observation held here is of."""
        agents = self._agents.get(observation.agent_id)
        own, place = observation.key, observation.place
        if agents is None or place in agents.get(own, ()):
            return own
        return next(key for key, places in agents.items() if place in places)

    def of_agent(self, key: AgentKey) -> tuple[Observation, ...]:
        """Return the observations of an agent, in the order of their sources' ranks; () for no agent."""
        agents = self._agents.get(key.agent_id)
        if agents is None:
            sources = self._sources_of.get(key.agent_id)
            one = self._seen[sources[0]][key.agent_id] if sources else None
            return () if one is None or one.key != key else (one,)
        places = agents.get(key, ())
        return tuple(self._seen[source][agent_id] for source, agent_id in places)

    def put(self, observation: Observation) -> set[AgentKey]:
        """Add or replace an observation; return the keys of the agents that this touches."""
        source, agent_id = observation.place
        seen = self._seen[source]
        old = seen.get(agent_id)
        if old is not None and (old.workspace, old.dormant) == (observation.workspace, observation.dormant):
            seen[agent_id] = observation
            return {self.key_of(observation)}
        before = self._agents_with(agent_id)
        seen[agent_id] = observation
        if old is None:
            self._see(agent_id, (*self._sources_of.get(agent_id, ()), source))
        return {*self._identify(agent_id, before, old, observation), self.key_of(observation)}

    def remove(self, source: SourceName, agent_id: str) -> set[AgentKey]:
        """Remove an observation; return the keys of the agents that this touches."""
        before = self._agents_with(agent_id)
        old = self._seen[source].pop(agent_id, None)
        if old is None:
            return set()
        self._see(agent_id, tuple(one for one in self._sources_of[agent_id] if one != source))
        return self._identify(agent_id, before, old, None)

    def _see(self, agent_id: str, sources: tuple[SourceName, ...]) -> None:
        """Note which sources see an id."""
        if len(sources) > 1:
            self._sources_of[agent_id] = tuple(sorted(sources, key=lambda one: (self._ranks[one], one)))
        elif sources:
            self._sources_of[agent_id] = self._alone[sources[0]]
        else:
            del self._sources_of[agent_id]

    def _agents_with(self, agent_id: str) -> _Agents:
        """Return the agents of which an observation has this id, as they were last identified."""
        agents = self._agents.get(agent_id)
        if agents is not None:
            return agents
        one = [self._seen[source][agent_id] for source in self._sources_of.get(agent_id, ())]
        return {one[0].key: (one[0].place,)} if one else {}

    def _identify(
        self, agent_id: str, before: _Agents, old: Observation | None, new: Observation | None
    ) -> set[AgentKey]:
        """Decide anew which observations with this id are of one agent; return the agents that differ.

        Hundreds of workspaces may have an agent of one name, so where nothing joins them only the agents of
        the observation that was replaced are looked at.
        """
        observations = [self._seen[source][agent_id] for source in self._sources_of.get(agent_id, ())]
        if len(observations) < 2:
            self._agents.pop(agent_id, None)
            after = self._agents_with(agent_id)
        elif is_local(observations) and is_local(one for one in (old, new) if one is not None):
            after = self._agents.setdefault(agent_id, before)
            return {
                key
                for key in {one.key for one in (old, new) if one is not None}
                if _replace(after, key, tuple(one.place for one in observations if one.key == key))
            }
        else:
            agents = agents_among(observations)
            after = {key: tuple(one.place for one in group) for key, group in agents.items()}
            self._agents[agent_id] = after
        return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _replace(agents: _Agents, key: AgentKey, places: tuple[ObservationKey, ...]) -> bool:
    """Give an agent these places, or none; return whether that changes it."""
    before = agents.pop(key, ())
    if places:
        agents[key] = places
    return before != places
