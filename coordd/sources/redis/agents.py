"""Keep what is known of the agents in Redis from one reply to the next. Pure values that change.

An agent is shown as long as it has a heartbeat key, a list of tasks or an entry in the registry. A full
reading numbers itself (:meth:`Agents.begin`), each key that it finds takes that number, and
:meth:`Agents.end` removes the keys that still have an older one. A heartbeat key is in one of three states::

    state        means                                  reached when
    absent       the agent has no such key              it vanished, has another type, is too large, or the
    last
                                                        full reading did not find it
    refused      it exists and may not be read          the server refuses; unless the other key can be read,
                                                        the agent's heartbeat counts as hidden
    read         content and written time are known     a reading or an announcement brought its value

What counts as a beat, and what is known of its time::

    what happened                                      a beat?                 time of the change
    announced (pushed), with any content               yes                     now
    read, content differs, same connection             yes                     now
    read, content differs, new connection              yes                     unknown
    read, of another key with the same id              yes                     unknown
    new, and a full reading over the same connection   yes                     now
    did not find it
    read for the first time, or again after another    yes                     unknown
    state
    read, same content, same connection                no                      as before
    read, same content, new connection                 no                      forgotten
    vanished, or the other of its two keys is later    no                      as before

A beat gives the agent's heartbeat a new ``token``. A known time of change stands in for a file's mtime.

An agent's entry in the registry is a sign of life likewise (agents/beats.py), whether it says a time or not::

    what happened                                      a beat?                 time of the change
    read, content differs, same connection             yes                     now
    new, and the registry was read before over the     yes                     now
    same connection
    read, content differs, new connection              yes                     unknown
    read for the first time, or of another field with  yes                     unknown
    the same id
    read, same content                                 no                      as before
    vanished                                           no                      -
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from coordd.agents.traces import AgentTraces, Registration
from coordd.sources.bodies import parse_heartbeat
from coordd.sources.bounds import Bounds, weight
from coordd.sources.redis.agent_keys import AgentKeys, HeartbeatKey
from coordd.sources.redis.parse import (
    MAX_VALUE,
    TOO_LARGE,
    open_zone,
    parse_found_heartbeat,
    parse_registry_entry,
)
from coordd.util.fields import Malformed

T = TypeVar("T")

_KEPT_WHOLE = 64  # bytes; of a longer heartbeat only the hash is kept
_SHARED = 1000  # values that many registrations have in common are kept once


class Agents:
    """Keep all agents of one Redis; ``traces`` maps each id to its present traces.

    ``truncated`` says that agents were left out.

    Args:
        limit: number of agents that are kept.
        bounds: budgets for agents, for task ids in all lists together, and for texts.
    """

    def __init__(self, *, limit: int, bounds: Bounds) -> None:
        self.traces: dict[str, AgentTraces] = {}
        self.truncated = False
        self._limit = limit
        self._budget = bounds.agents
        self._listed = bounds.listed
        self._text = bounds.text
        self._known: dict[str, AgentKeys] = {}
        self._names: dict[str, bytes] = {}  # of the ids whose bytes are not UTF-8
        self._shared: dict[object, object] = {}
        self._number = 0
        self._reading = 0
        self._registry_reading = 0
        self._registry_connection = 0
        self._whole_connection = 0
        self._connection = 0

    def begin(self, *, connected: bool) -> None:
        """Begin a full reading; ``connected``: over another connection than the last reading."""
        self._reading += 1
        self._connection += connected
        self.truncated = False

    def end(self) -> None:
        """End a full reading: remove the keys that it did not find."""
        reading = self._reading
        self._whole_connection = 0 if self.truncated else self._connection
        stale = [
            (agent_id, agent)
            for agent_id, agent in self._known.items()
            if (agent.first is not None and agent.first.seen != reading)
            or (agent.second is not None and agent.second.seen != reading)
            or (agent.tasks_seen is not None and agent.tasks_seen != reading)
        ]
        for agent_id, agent in stale:
            if agent.tasks_seen is not None and agent.tasks_seen != reading:
                self.set_tasks(agent_id, (), there=False)
            first, second = (
                beat if beat is not None and beat.seen == reading else None
                for beat in (agent.first, agent.second)
            )
            if (first, second) != (agent.first, agent.second):
                self._set_heartbeats(agent_id, agent, first, second)

    def name_of(self, agent_id: str) -> bytes:
        """Return the bytes that stand for this id in the names of keys."""
        return self._names.get(agent_id) or agent_id.encode("utf-8", "surrogatepass")

    def keep_name(self, agent_id: str, name: bytes) -> None:
        """Remember the bytes of an id that is not spelled like them, since they are not UTF-8."""
        if agent_id in self._known:
            self._names[agent_id] = name

    def heartbeat_names(self, agent_id: str) -> tuple[bytes | None, bytes | None]:
        """Return for each of the agent's two heartbeat keys how it spells the id; None if there is no key.

        If there is neither, both are the names that such keys would have.
        """
        agent = self._known.get(agent_id)
        if agent is None or (agent.first is None and agent.second is None):
            return (name := self.name_of(agent_id)), name
        exact = agent_id.encode("utf-8", "surrogatepass")
        first, second = (None if beat is None else beat.name or exact for beat in (agent.first, agent.second))
        return first, second

    def entry_name(self, agent_id: str) -> bytes:
        """Return the name of the agent's entry in the registry, or that which one would have."""
        agent = self._known.get(agent_id)
        if agent is None or agent.entry_digest is None:
            return self.name_of(agent_id)
        return agent.entry_name or agent_id.encode("utf-8", "surrogatepass")

    def put_heartbeat(
        self,
        slot: int,
        agent_id: str,
        content: bytes,
        now: float,
        *,
        pushed: bool,
        name: bytes | None = None,
    ) -> str | None:
        """Take the content of a heartbeat key; return what cannot be used of it, None if all can.

        Args:
            slot: which of the agent's two keys it is, 0 or 1.
            content: its value, cut one byte after the limit.
            now: wall clock, epoch seconds.
            pushed: the key was announced, so it is a beat whatever its content.
            name: the id as the key spells it, if that differs.
        """
        if len(content) > MAX_VALUE:
            self.remove_heartbeat(slot, agent_id, name)
            return TOO_LARGE
        agent = self._known.get(agent_id) or self._add(agent_id)
        if agent is None:
            return None
        content_id: str | int = content.decode("latin-1") if len(content) <= _KEPT_WHOLE else hash(content)
        first, second = agent.first, agent.second
        beat = second if slot else first
        is_new = beat is None
        if beat is None:
            beat = HeartbeatKey(name)
            if slot:
                agent.second = beat
            else:
                agent.first = beat
        same_key, beat.name = beat.name == name, name  # else two keys are of one id, and neither changed
        beat.seen = self._reading
        same_connection, beat.connection = beat.connection == self._connection, self._connection
        if beat.content_id == content_id and not pushed:
            if not same_connection and beat.changed is not None:
                if agent.changed == beat.changed:
                    agent.changed = None
                beat.changed = None
                self._choose(agent_id, agent, now)
            return beat.problem
        seen_before, beat.content_id = beat.content_id is not None, content_id
        observed = pushed or (
            self._whole_connection == self._connection
            if is_new
            else same_connection and seen_before and same_key
        )
        beat.local = beat.problem = None
        try:
            if observed:
                beat.written = parse_heartbeat(content, now, now)
            else:
                beat.written, beat.local = parse_found_heartbeat(content, now)
                beat.problem = open_zone(beat.written, beat.local, now)
        except Malformed as error:
            beat.written, beat.problem = None, str(error)
        beat.changed = agent.changed = now if observed else None
        self._number += 1
        agent.token = (content_id, self._number)
        self._choose(agent_id, agent, now)
        return beat.problem

    def refuse_heartbeat(self, slot: int, agent_id: str, why: str, name: bytes | None = None) -> None:
        """Record that a heartbeat key exists and may not be read, and why."""
        agent = self._known.get(agent_id) or self._add(agent_id)
        if agent is None:
            return
        first, second = agent.first, agent.second
        beat = HeartbeatKey(name)
        beat.seen = self._reading
        agent.refusal = self._share(why)
        self._set_heartbeats(agent_id, agent, first if slot else beat, beat if slot else second)

    def remove_heartbeat(self, slot: int, agent_id: str, name: bytes | None = None) -> None:
        """Record that a heartbeat key does not exist, or is no heartbeat."""
        agent = self._known.get(agent_id)
        if agent is None:
            return
        first, second = agent.first, agent.second
        beat = second if slot else first
        if beat is not None and beat.name == name:
            self._set_heartbeats(agent_id, agent, first if slot else None, None if slot else second)

    def next_number(self) -> int:
        """Return a number for a reading of task lists; of two readings of a list the higher one counts."""
        self._number += 1
        return self._number

    def set_tasks(
        self,
        agent_id: str,
        tasks: tuple[str, ...] | None,
        *,
        unnamed: int = 0,
        there: bool = True,
        number: int | None = None,
    ) -> None:
        """Set an agent's list of tasks.

        Args:
            agent_id: the agent.
            tasks: the task ids, None if the list may not be read.
            unnamed: how many further tasks the list has.
            there: False if there is no such list.
            number: of the reading, from :meth:`next_number`; a reading older than the last one is ignored.
        """
        agent = self._known.get(agent_id)
        if agent is None:
            agent = self._add(agent_id) if there else None
            if agent is None:
                return
        if number is not None:
            if number < agent.tasks_number:
                return
            agent.tasks_number = number
        agent.tasks_seen = self._reading if there else None
        self._listed.give(len(agent.tasks or ()))
        if tasks is not None and not self._listed.take(len(tasks)):
            tasks, unnamed = (), unnamed + len(tasks)
        if tasks != agent.tasks or unnamed != agent.unnamed or agent_id not in self.traces:
            agent.tasks, agent.unnamed = tasks, unnamed
            self._rebuild(agent_id, agent)
        elif not there:
            self._rebuild(agent_id, agent)

    def begin_registry(self) -> None:
        """Begin to read the registry from its beginning."""
        self._registry_reading += 1

    def end_registry(self) -> set[str]:
        """End the reading of the whole registry; return the agents that are no longer in it."""
        self._registry_connection = self._connection
        gone = {
            agent_id
            for agent_id, agent in self._known.items()
            if agent.entry_digest is not None and agent.registry_reading != self._registry_reading
        }
        for agent_id in gone:
            self.unregister(agent_id)
        return gone

    def register(
        self, agent_id: str, value: bytes, now: float, name: bytes | None = None
    ) -> tuple[bool, str | None]:
        """Take an agent's registry entry; return whether it changed, and what is wrong with it.

        Args:
            agent_id: the agent.
            value: the entry.
            now: wall clock, epoch seconds.
            name: of the entry, if that is not the id.
        """
        agent = self._known.get(agent_id) or self._add(agent_id)
        if agent is None:
            return False, None
        known = agent.entry_digest is not None
        same_entry = known and agent.entry_name == name
        if known and not same_entry and agent.registry_reading == self._registry_reading:
            return False, "another entry is of the same agent"
        connection = agent.entry_connection if known else self._registry_connection
        observed = connection == self._connection and (same_entry or not known)
        agent.registry_reading, agent.entry_connection = self._registry_reading, self._connection
        agent.entry_name = name
        digest = hash(value)
        if agent.entry_digest == digest:
            return False, agent.problem
        agent.entry_digest = digest
        registration, agent.problem = parse_registry_entry(value, now, observed=observed)
        self._text.give(weight(agent.registration))
        if not self._text.take(weight(registration)):
            registration, agent.problem = (
                Registration(),
                "there is no room for more registrations as long as it",
            )
        self._number += 1
        agent.registration = self._sharing(
            replace(registration, written=now if observed else None, identity=self._number)
        )
        self._rebuild(agent_id, agent)
        return True, agent.problem

    def unregister(self, agent_id: str) -> bool:
        """Remove an agent's registry entry; return whether it had one."""
        agent = self._known.get(agent_id)
        if agent is None or agent.entry_digest is None:
            return False
        self._text.give(weight(agent.registration))
        agent.entry_digest = agent.entry_name = agent.registration = agent.problem = None
        self._rebuild(agent_id, agent)
        return True

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids of all agents."""
        return iter(self._known)

    def _add(self, agent_id: str) -> AgentKeys | None:
        if len(self._known) >= self._limit or not self._budget.take(1):
            self.truncated = True
            return None
        agent = self._known[agent_id] = AgentKeys()
        agent.registry_reading = self._registry_reading
        return agent

    def _set_heartbeats(
        self, agent_id: str, agent: AgentKeys, first: HeartbeatKey | None, second: HeartbeatKey | None
    ) -> None:
        agent.first, agent.second = first, second
        self._choose(agent_id, agent, None)

    def _choose(self, agent_id: str, agent: AgentKeys, now: float | None) -> None:
        agent.heartbeat = agent.latest_heartbeat(now)
        self._rebuild(agent_id, agent)

    def _rebuild(self, agent_id: str, agent: AgentKeys) -> None:
        if agent.is_gone:
            self._listed.give(len(agent.tasks or ()))
            self._budget.give(1)
            del self._known[agent_id]
            self.traces.pop(agent_id, None)
            self._names.pop(agent_id, None)
            return
        self.traces[agent_id] = AgentTraces(
            agent_id, agent.heartbeat, agent.registration, agent.tasks, False, agent.unnamed, agent.hidden
        )

    def _sharing(self, registration: Registration) -> Registration:
        return replace(
            registration,
            status=self._share(registration.status),
            hostname=self._share(registration.hostname),
        )

    def _share(self, value: T) -> T:
        if len(self._shared) >= _SHARED:
            self._shared.clear()
        return self._shared.setdefault(value, value)  # type: ignore[return-value]  # equal, thus of its type
