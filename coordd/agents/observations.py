"""Keep every observation of every agent, and which of them are of one agent.

The rule: identity.py alone decides which observations are of one agent; this module remembers the answer, so
that a beat costs one lookup, and asks again when an observation comes, goes, or names something else. What a
rule may join is found by the agent's id, and by what ties observations of different ids (ties.py). Pure
state: it reads no source.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from types import MappingProxyType

from coordd.agents.identity import agents_among, is_local, process_of, ties
from coordd.agents.key import AgentKey
from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.source import SourceName
from coordd.agents.ties import Ties
from coordd.host.process_facts import Process

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
        self._agents: dict[str, _Agents] = {}  # of the ids that several sources see, or that are tied
        self._ties = Ties()

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

    def dormant(self) -> Iterator[Observation]:
        """Yield the observations that have been silent for too long, or were forgotten."""
        return (one for told in self._seen.values() for one in told.values() if one.dormant)

    def find(self, place: ObservationKey) -> Observation | None:
        """Return the observation of a source and an id, None where there is none."""
        return self._seen.get(place[0], {}).get(place[1])

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
        old = self._seen[source].get(agent_id)
        if observation.process is None and (old is None or old.process is None):
            return self._put(old, observation)
        return self._put_marked(old, observation)

    def remove(self, source: SourceName, agent_id: str) -> set[AgentKey]:
        """Remove an observation; return the keys of the agents that this touches."""
        old = self._seen[source].get(agent_id)
        if old is None:
            return set()
        touched = self._change(old.place, old, None)
        return touched if old.process is None else touched | self._mark(source, old.process.process)

    def _put(self, old: Observation | None, new: Observation) -> set[AgentKey]:
        if old is not None and (
            (old.workspace, old.dormant) == (new.workspace, new.dormant)
            and process_of(old) == process_of(new)
            and ties(old) == ties(new)
        ):
            self._seen[new.source][new.agent_id] = new
            return {self.key_of(new)}
        return {*self._change(new.place, old, new), self.key_of(new)}

    def _put_marked(self, old: Observation | None, new: Observation) -> set[AgentKey]:
        """Put one that names a process, or did, and mark whether others of its source name the same."""
        if new.process is not None:
            named = self._ties.ids_naming(new.source, new.process.process)
            shared = len(named) > (new.agent_id in named)
            if new.process.shared != shared:
                new = replace(new, process=replace(new.process, shared=shared))
        touched = self._put(old, new)
        for one in (old, new):
            if one is not None and one.process is not None:
                touched |= self._mark(new.source, one.process.process)
        return touched

    def _mark(self, source: SourceName, process: Process) -> set[AgentKey]:
        """Mark the first two that name a process as sharing it, or the only one as having it alone."""
        touched: set[AgentKey] = set()
        agent_ids = self._ties.ids_naming(source, process)
        shared = len(agent_ids) > 1
        for agent_id in list(islice(agent_ids, 2)):  # the others were marked when they came
            one = self._seen[source][agent_id]
            if one.process is not None and one.process.shared != shared:
                touched |= self._put(one, replace(one, process=replace(one.process, shared=shared)))
        return touched

    def _change(
        self, place: ObservationKey, old: Observation | None, new: Observation | None
    ) -> set[AgentKey]:
        """Replace an observation, and decide anew what is of one agent; return the agents that differ."""
        _, agent_id = place
        if not self._ties.any_of(agent_id) and not (new and ties(new)):
            before = self._agents_with(agent_id)
            self._hold(place, old, new)
            return self._identify(agent_id, before, old, new)
        around = self._reach({agent_id, *(self._ties.tied_to(new) if new else ())})
        before = self._agents_among(around)
        self._hold(place, old, new)
        after: _Agents = {}
        waiting = around
        while waiting:
            cluster = self._reach({next(iter(waiting))})
            waiting -= cluster
            after |= self._identify_cluster(cluster)
        return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}

    def _hold(self, place: ObservationKey, old: Observation | None, new: Observation | None) -> None:
        source, agent_id = place
        self._ties.replace(old, new)
        if new is None:
            del self._seen[source][agent_id]
            self._see(agent_id, tuple(one for one in self._sources_of[agent_id] if one != source))
            return
        self._seen[source][agent_id] = new
        if old is None:
            self._see(agent_id, (*self._sources_of.get(agent_id, ()), source))

    def _reach(self, agent_ids: Collection[str]) -> set[str]:
        """Return these ids and all that ties lead to from them."""
        found: set[str] = set()
        waiting = set(agent_ids)
        while waiting:
            agent_id = waiting.pop()
            found.add(agent_id)
            for one in self._with_id(agent_id):
                waiting |= self._ties.tied_to(one) - found
        return found

    def _agents_among(self, agent_ids: Iterable[str]) -> _Agents:
        """Return the agents of which an observation has one of these ids, as they were last identified."""
        found: _Agents = {}
        for agent_id in agent_ids:
            found |= self._agents_with(agent_id)
        return found

    def _identify_cluster(self, agent_ids: set[str]) -> _Agents:
        """Decide anew which observations with these ids are of one agent; return those agents."""
        observations = [one for agent_id in sorted(agent_ids) for one in self._with_id(agent_id)]
        observations.sort(key=lambda one: (self._ranks[one.source], one.source))
        agents = agents_among(observations)
        found = {key: tuple(one.place for one in group) for key, group in agents.items()}
        alone = len(observations) < 2
        for agent_id in agent_ids:
            if alone:
                self._agents.pop(agent_id, None)
            else:
                self._agents[agent_id] = found
        return found

    def _with_id(self, agent_id: str) -> list[Observation]:
        return [self._seen[source][agent_id] for source in self._sources_of.get(agent_id, ())]

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
        one = self._with_id(agent_id)
        return {one[0].key: (one[0].place,)} if one else {}

    def _identify(
        self, agent_id: str, before: _Agents, old: Observation | None, new: Observation | None
    ) -> set[AgentKey]:
        """Decide anew which observations with this id are of one agent; return the agents that differ.

        Hundreds of workspaces may have an agent of one name, so where nothing joins them only the agents of
        the observation that was replaced are looked at.
        """
        observations = self._with_id(agent_id)
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
