"""What is known of the agents in Redis, kept from one answer of it to the next. Pure values that change.

A beat is a change of a heartbeat's content, or a push; ``token`` is another one after each. A key's being
read again, its vanishing, or one of an agent's two keys taking the other's place is none. When a change
happened is known if it was pushed, or seen by two readings over one connection: such a time stands in for a
file's mtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from coordd.agents.reducer import FUTURE
from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.sources.bounds import Bounds, weight
from coordd.sources.file.parse import parse_heartbeat
from coordd.sources.redis.parse import MAX_VALUE, TOO_LARGE, parse_registry_entry
from coordd.util.fields import Malformed

T = TypeVar("T")

_AS_IT_IS = 64  # bytes of a heartbeat that are kept; of a longer one its hash
_SHARED = 1000  # values that many registrations have in common are kept once


class _HeartbeatKey:
    """One heartbeat key; ``said`` is None of one that may not be read."""

    __slots__ = ("changed", "connection", "said", "seen", "written")

    def __init__(self) -> None:
        self.said: str | int | None = None
        self.written: float | None = None
        self.changed: float | None = None
        self.connection = 0
        self.seen = 0


class _Agent:
    """What an agent's traces are made of; ``first`` and ``second`` are its two heartbeat keys."""

    __slots__ = (
        "changed",
        "entry",
        "first",
        "heartbeat",
        "problem",
        "registered",
        "registration",
        "second",
        "tasks",
        "tasks_asked",
        "tasks_seen",
        "token",
        "unnamed",
    )

    def __init__(self) -> None:
        self.first: _HeartbeatKey | None = None
        self.second: _HeartbeatKey | None = None
        self.heartbeat: Heartbeat | None = None
        self.changed: float | None = None
        self.token: tuple[object, ...] = ()
        self.entry = 0
        self.registered: int | None = None
        self.registration: Registration | None = None
        self.problem: str | None = None
        self.tasks: tuple[str, ...] | None = ()
        self.unnamed = 0
        self.tasks_seen: int | None = None
        self.tasks_asked = 0


class Agents:
    """All agents; ``traces`` has each as it is now.

    Args:
        limit: agents beyond this are passed over, and ``overfull`` says so.
        bounds: so many tasks in all lists together are named, the rest counted; and so much text is kept.
    """

    def __init__(self, *, limit: int, bounds: Bounds) -> None:
        self.traces: dict[str, AgentTraces] = {}
        self.overfull = False
        self._limit = limit
        self._room = bounds.agents
        self._listed = bounds.listed
        self._text = bounds.text
        self._known: dict[str, _Agent] = {}
        self._names: dict[str, bytes] = {}  # of the ids whose bytes are no UTF-8
        self._shared: dict[object, object] = {}
        self._marks = 0
        self._reading = 0
        self._registry_reading = 0
        self._connection = 0

    def begin(self, *, connected: bool) -> None:
        """A full reading begins; ``connected``: over another connection than the last one."""
        self._reading += 1
        self._connection += connected
        self.overfull = False

    def end(self) -> None:
        """It has ended: what it did not find is no more."""
        reading = self._reading
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
                self._keep_beats(agent_id, agent, first, second)

    def name_of(self, agent_id: str) -> bytes:
        """The bytes that this id is in the names of keys."""
        return self._names.get(agent_id) or agent_id.encode("utf-8", "surrogatepass")

    def keeps_name(self, agent_id: str, name: bytes) -> None:
        """The bytes of an id that are other ones than it spells."""
        if agent_id in self._known:
            self._names[agent_id] = name

    def beats_of(self, agent_id: str) -> tuple[bool, bool]:
        """Which of its two heartbeat keys are known."""
        agent = self._known.get(agent_id)
        return (False, False) if agent is None else (agent.first is not None, agent.second is not None)

    def beat(self, slot: int, agent_id: str, content: bytes, now: float, *, pushed: bool) -> str | None:
        """A heartbeat key holds this; what cannot be used of it.

        Args:
            slot: which of the agent's two keys it is.
            content: up to one byte more than is read of any value.
            now: wall clock, epoch seconds.
            pushed: the key was announced, which makes it a beat whatever it holds.
        """
        if len(content) > MAX_VALUE:
            self.no_beat(slot, agent_id)
            return TOO_LARGE
        agent = self._known.get(agent_id) or self._add(agent_id)
        if agent is None:
            return None
        said: str | int = content.decode("latin-1") if len(content) <= _AS_IT_IS else hash(content)
        first, second = agent.first, agent.second
        beat = second if slot else first
        if beat is None:
            beat = _HeartbeatKey()
            if slot:
                agent.second = beat
            else:
                agent.first = beat
        beat.seen = self._reading
        same_connection, beat.connection = beat.connection == self._connection, self._connection
        if beat.said == said and not pushed:
            if not same_connection and beat.changed is not None:
                if agent.changed == beat.changed:
                    agent.changed = None
                beat.changed = None
                self._choose(agent_id, agent, now)
            return None if beat.written is not None or not content.strip() else "not a timestamp"
        problem = None
        seen_before, beat.said = beat.said is not None, said
        try:
            beat.written = parse_heartbeat(content)
        except Malformed as error:
            beat.written, problem = None, str(error)
        observed = pushed or (same_connection and seen_before)
        beat.changed = agent.changed = now if observed else None
        self._marks += 1
        agent.token = (said, self._marks)
        self._choose(agent_id, agent, now)
        return problem

    def refused_beat(self, slot: int, agent_id: str) -> None:
        """There is such a key, and it may not be read."""
        agent = self._known.get(agent_id) or self._add(agent_id)
        if agent is None:
            return
        first, second = agent.first, agent.second
        beat = _HeartbeatKey()
        beat.seen = self._reading
        self._keep_beats(agent_id, agent, first if slot else beat, beat if slot else second)

    def no_beat(self, slot: int, agent_id: str) -> None:
        """There is no such key, or none that is a heartbeat."""
        agent = self._known.get(agent_id)
        if agent is None:
            return
        first, second = agent.first, agent.second
        if (second if slot else first) is not None:
            self._keep_beats(agent_id, agent, first if slot else None, None if slot else second)

    def ask_tasks(self) -> int:
        """A mark of the moment, so that of two readings of one list the later one counts."""
        self._marks += 1
        return self._marks

    def set_tasks(
        self,
        agent_id: str,
        tasks: tuple[str, ...] | None,
        *,
        unnamed: int = 0,
        there: bool = True,
        asked: int | None = None,
    ) -> None:
        """The agent's list of tasks is this, None if unreadable; not ``there``: it has none."""
        agent = self._known.get(agent_id)
        if agent is None:
            agent = self._add(agent_id) if there else None
            if agent is None:
                return
        if asked is not None:
            if asked < agent.tasks_asked:
                return
            agent.tasks_asked = asked
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
        """The registry is read from its beginning."""
        self._registry_reading += 1

    def end_registry(self) -> set[str]:
        """It was read to its end; the agents that are no longer in it."""
        gone = {
            agent_id
            for agent_id, agent in self._known.items()
            if agent.registered is not None and agent.entry != self._registry_reading
        }
        for agent_id in gone:
            self.unregister(agent_id)
        return gone

    def register(self, agent_id: str, value: bytes) -> tuple[bool, str | None]:
        """The registry has this of an agent; whether that is another thing now, and what is wrong with it."""
        agent = self._known.get(agent_id) or self._add(agent_id)
        if agent is None:
            return False, None
        agent.entry = self._registry_reading
        said = hash(value)
        if agent.registered == said:
            return False, agent.problem
        agent.registered = said
        registration, agent.problem = parse_registry_entry(value)
        if agent.registration == registration:
            return False, agent.problem
        self._text.give(weight(agent.registration))
        if not self._text.take(weight(registration)):
            registration, agent.problem = (
                Registration(),
                "there is no room for more registrations as long as it",
            )
        agent.registration = self._sharing(registration)
        self._rebuild(agent_id, agent)
        return True, agent.problem

    def unregister(self, agent_id: str) -> bool:
        """The registry has no such agent; whether it had."""
        agent = self._known.get(agent_id)
        if agent is None or agent.registered is None:
            return False
        self._text.give(weight(agent.registration))
        agent.registered = agent.registration = agent.problem = None
        self._rebuild(agent_id, agent)
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def _add(self, agent_id: str) -> _Agent | None:
        if len(self._known) >= self._limit or not self._room.take(1):
            self.overfull = True
            return None
        agent = self._known[agent_id] = _Agent()
        agent.entry = self._registry_reading
        return agent

    def _keep_beats(
        self, agent_id: str, agent: _Agent, first: _HeartbeatKey | None, second: _HeartbeatKey | None
    ) -> None:
        agent.first, agent.second = first, second
        self._choose(agent_id, agent, None)

    def _choose(self, agent_id: str, agent: _Agent, now: float | None) -> None:
        """Take the later of both heartbeats for the agent's."""
        first, second = agent.first, agent.second
        if first is None or first.said is None:
            first, second = second, None
        if first is None or first.said is None:
            agent.heartbeat = None
        else:
            beat = first
            if second is not None and second.said is not None and _later(second, first, now):
                beat = second
            agent.heartbeat = Heartbeat(beat.written, agent.changed, agent.token)
        self._rebuild(agent_id, agent)

    def _rebuild(self, agent_id: str, agent: _Agent) -> None:
        if agent.registered is None and agent.tasks_seen is None and agent.first is agent.second is None:
            self._listed.give(len(agent.tasks or ()))
            self._room.give(1)
            del self._known[agent_id]
            self.traces.pop(agent_id, None)
            self._names.pop(agent_id, None)
            return
        hidden = agent.heartbeat is None and not agent.first is agent.second is None
        self.traces[agent_id] = AgentTraces(
            agent_id, agent.heartbeat, agent.registration, agent.tasks, False, agent.unnamed, hidden
        )

    def _sharing(self, registration: Registration) -> Registration:
        return Registration(
            started_at=registration.started_at,
            status=self._share(registration.status),
            capabilities=self._share(registration.capabilities),
            project_type=self._share(registration.project_type),
            hostname=self._share(registration.hostname),
            pid=registration.pid,
            proc_start=registration.proc_start,
            updated_at=registration.updated_at,
        )

    def _share(self, value: T) -> T:
        if len(self._shared) >= _SHARED:
            self._shared.clear()
        return self._shared.setdefault(value, value)  # type: ignore[return-value]  # equal, thus of its type


def _later(one: _HeartbeatKey, other: _HeartbeatKey, now: float | None) -> bool:
    return _time(one, now) > _time(other, now)


def _time(beat: _HeartbeatKey, now: float | None) -> float:
    """When it was written, if that can be; else when its change was seen."""
    if beat.written is not None and (now is None or beat.written <= now + FUTURE):
        return beat.written
    return -1.0 if beat.changed is None else beat.changed
