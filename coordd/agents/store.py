"""The latest store, as clients are shown it.

A change enters the store (:meth:`AgentStore.publish`) after its record was written; until then the store
shows what was before. Verdicts are computed at the moment of reading: a heap of deadlines tells which agents
have fallen silent since, so that counting costs only what changed. The store reads no clock and does no
I/O.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.merge import merge
from coordd.agents.pairing import Observations
from coordd.agents.reducer import Key, KnownAgent, together
from coordd.agents.roster import Place, Roster, place_of
from coordd.model import AgentCounts, Cause, Status, SystemSample
from coordd.runtime.clocks import LoopMonitor, ObservedClock
from coordd.runtime.deadlines import Deadlines


@dataclass(slots=True)
class Workspace:
    """One source of agents: where it is, how it is followed, and what it cannot do right now.

    ``state``: ``inotify`` or ``poll`` while it is read, ``waiting`` while there is nothing to read yet,
    ``unreadable`` with ``error``. ``malformed`` maps traces that cannot be used to the reason, and
    ``malformed_unnamed`` is how many more there are. ``crowded`` says in words of which kind of trace there
    is more than is read.
    """

    path: str
    clock: ObservedClock
    state: str = "waiting"
    error: str | None = None
    malformed: dict[str, str] = field(default_factory=dict)
    malformed_unnamed: int = 0
    crowded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownAgent:
    """One agent at the moment of asking: what is known, and its verdict now.

    ``age`` is the real time in seconds since its last beat, None when there was none. The silence in the
    evidence is the part of it in which somebody was listening.
    """

    agent: KnownAgent
    verdict: Verdict
    evidence: Evidence
    age: float | None


class AgentStore:
    """All agents, workspaces and the latest system sample, with counters kept as they change.

    An agent may be seen by two sources, a workspace and Redis (pairing.py); it is shown once, and all that is
    asked here but :meth:`observation` speaks of it as it is shown. ``workspaces`` has Redis under "".
    ``on_change`` is told of each agent that comes, goes, or has another status or other tasks.
    """

    def __init__(self, *, timeout: float, loop_monitor: LoopMonitor) -> None:
        self.timeout = timeout
        self.workspaces: dict[str, Workspace] = {}
        self.system: SystemSample | None = None
        self.version = 0
        self.on_change: Callable[[Key], None] = lambda _key: None
        self._loop_monitor = loop_monitor
        self._observations = Observations()
        self._moved: list[tuple[Key, bool]] = []
        self._beats: dict[Key, float] = {}
        self._roll = Roster()
        self._deadlines: Deadlines[Place] = Deadlines(wanted=lambda place: _key(place) in self._roll)

    def __len__(self) -> int:
        return len(self._roll)

    def observation(self, key: Key) -> KnownAgent | None:
        """What one source knows of an agent, as last published."""
        return self._observations.get(key)

    def get(self, key: Key) -> KnownAgent | None:
        """The agent that is shown under this key, as last published."""
        return self._merged(self._observations.of(key))

    def place(self, key: Key) -> Key:
        """The key under which an observation is shown."""
        return self._observations.place(key)

    def resolve(self, path: str, agent_id: str) -> Key:
        """The key of the agent that somebody in a workspace, or in Redis (""), calls so.

        It is the workspace's own, else that of Redis; for Redis, else that of the only workspace with one.
        """
        own: Key = (path or None, agent_id)
        if self._observations.get(own) is None:
            if path:
                return (
                    self._observations.place((None, agent_id))
                    if self._observations.get((None, agent_id))
                    else own
                )
            homes = self._observations.homes(agent_id, self.workspaces)
            return (homes[0], agent_id) if len(homes) == 1 else own
        return self._observations.place(own)

    def in_workspace(self, workspace: str | None) -> list[KnownAgent]:
        """All observations of one source; of Redis when None."""
        found = [self._observations.get(key) for key in self._roll.keys(workspace=workspace or "")]
        if workspace is None:
            found += [self._observations.get((None, agent_id)) for agent_id in self._observations.pairs]
        return [agent for agent in found if agent is not None]

    def named(self, agent_id: str) -> list[KnownAgent]:
        """The agents of that id, in whichever workspace."""
        found = [self.get((path, agent_id)) for path in (None, *self.workspaces) if path != ""]
        return [agent for agent in found if agent is not None]

    def elsewhere(self, key: Key, mono: float) -> Evidence | None:
        """What the other source says that sees this agent, or would see it if this observation came to be."""
        other = self._partner(key)
        return None if other is None else self._evidence_of(other, self._loop_monitor.horizon(mono))

    def shown_as(self, agent: KnownAgent, mono: float) -> KnownAgent:
        """The agent as it would be shown if this observation of it were published."""
        other = self._partner(agent.key)
        if other is None:
            return agent
        file, redis = (other, agent) if agent.key[0] is None else (agent, other)
        own, others = self._beat_mono(agent, mono), self._beats.get(other.key, -math.inf)
        merged = merge(file, redis, redis_fresher=(own > others) == (agent is redis))
        return replace(merged, verdict=agent.verdict, cause=agent.cause)

    def would_move(self, key: Key, *, there: bool) -> tuple[KnownAgent, bool] | None:
        """The agent of Redis that is shown alone, or no longer, once this key comes or goes."""
        redis = self._observations.get((None, key[1]))
        if key[0] is None or redis is None or "" not in self.workspaces:
            return None
        homes = {*self._observations.homes(key[1], self.workspaces), key[0]}
        alone = len(homes if there else homes - {key[0]}) != 1
        return None if alone == (self._observations.place(redis.key) == redis.key) else (redis, alone)

    def verdict_alone(self, key: Key, mono: float) -> Verdict:
        """The verdict by what one source says alone."""
        agent = self._observations.get(key)
        return judge(
            Evidence(silence=None, timeout=self.timeout)
            if agent is None
            else self._evidence_of(agent, self._loop_monitor.horizon(mono))
        )

    def publish(self, agent: KnownAgent, mono: float) -> None:
        """Show the agent with this observation as it is now known."""
        key = agent.key
        before = self._observations.get(key)
        if self._observations.put(agent, self._paired_with_redis()):
            self._regroup(key, mono)
        if before is None or _beat(before) != _beat(agent):
            self._date_beat(agent, mono)
        place = self._observations.place(key)
        self._agree(place, agent.verdict, agent.cause)
        if before is None or _tasks(before) != _tasks(agent):
            self.on_change(place)
        self.version += 1
        self._update(place, mono)

    def remove(self, key: Key, mono: float) -> None:
        """Forget the observation, and the agent with it unless another source sees it."""
        place = self._observations.place(key)
        agent, regrouped = self._observations.pop(key, self._paired_with_redis())
        if agent is None:
            return
        self._beats.pop(key, None)
        self.version += 1
        if place == key:
            self._leave(key)
        if regrouped:
            self._regroup(key, mono)
        self.on_change(place)

    def recorded(self, key: Key, verdict: Verdict, cause: Cause, mono: float) -> None:
        """The last record of the agent shown under this key says so."""
        if self._observations.of(key):
            self._agree(key, verdict, cause)
            self.version += 1
            self._update(key, mono)

    def take_moved(self) -> list[tuple[Key, bool]]:
        """Agents of Redis that are shown alone now, or no longer, for what a workspace sees came or went.

        Each with whether it is shown under its key now.
        """
        moved, self._moved = self._moved, []
        return moved

    def rejudge(self, workspace: str | None, mono: float) -> None:
        """Judge a source's agents anew after its clock or its readability changed."""
        for agent in self.in_workspace(workspace):
            self._update(self._observations.place(agent.key), mono)

    def rejudge_some(self, places: Iterable[Key], mono: float) -> None:
        """Judge these agents anew."""
        for place in places:
            self._update(place, mono)

    def rejudge_all(self, mono: float) -> None:
        """Judge everything anew, after a gap or another timeout."""
        self._deadlines.clear()
        for workspace in {key[0] for key in self._observations}:
            self.rejudge(workspace, mono)

    def counts(self, mono: float) -> AgentCounts:
        """How many agents have which status at this moment."""
        self.expire(mono)
        return self._roll.counts()

    def expire(self, mono: float) -> None:
        """Let every deadline that has passed count."""
        horizon = self._loop_monitor.horizon(mono)
        for place in self._deadlines.take(horizon):
            if _key(place) in self._roll:
                self._update(_key(place), horizon)

    def horizon(self, mono: float) -> float:
        """The latest moment at which agents may be judged: ``mono``, but for a gap not yet reported."""
        return self._loop_monitor.horizon(mono)

    def status_of(self, key: Key) -> Status | None:
        """The status as :meth:`expire` last found it, None where no such agent is shown."""
        return self._roll.status(key)

    def next_deadline(self) -> float | None:
        """Monotonic time of the next possible change of a verdict; may be too early, never too late."""
        return self._deadlines.first()

    @property
    def owes_records(self) -> bool:
        """Whether some agent's verdict is known to differ from the one in its last record."""
        return self._roll.owes

    def take_unrecorded(self, mono: float) -> list[Key]:
        """The agents whose verdict now differs from the one in their last record."""
        self.expire(mono)
        return self._roll.take_owed()

    def sources_of(self, key: Key) -> list[str]:
        """The sources that see the agent shown under this key: paths, "" for Redis."""
        return [agent.key[0] or "" for agent in self._observations.of(key)]

    def shown(
        self,
        mono: float,
        *,
        status: str | None = None,
        workspace: str | None = None,
        after: Key | None = None,
    ) -> Iterator[ShownAgent]:
        """The agents in the order (workspace, id), judged at this moment, beginning after a key."""
        self.expire(mono)
        for key in self._roll.keys(workspace=workspace, after=after):
            if (status is None or self._roll.status(key) == status) and (agent := self.get(key)) is not None:
                yield self.look(agent, mono)

    def look(self, agent: KnownAgent, mono: float) -> ShownAgent:
        """One published agent, as it is shown, judged at this moment."""
        evidence = self._evidence(agent.key, self._loop_monitor.horizon(mono)) or agent.evidence(
            0.0, timeout=self.timeout, readable=False
        )
        beats = [self._beats[one.key] for one in self._observations.of(agent.key) if one.key in self._beats]
        age = None if not beats else max(0.0, mono - max(beats))
        return ShownAgent(agent, judge(evidence), evidence, age)

    def look_at_each(self, key: Key, mono: float) -> list[ShownAgent]:
        """What each source says by itself of the agent that is shown under this key."""
        found = []
        for one in self._observations.of(key):
            evidence = self._evidence_of(one, self._loop_monitor.horizon(mono))
            beat = self._beats.get(one.key)
            age = None if beat is None else max(0.0, mono - beat)
            found.append(ShownAgent(one, judge(evidence), evidence, age))
        return found

    def malformed(self) -> Iterable[tuple[str, str]]:
        """The traces that cannot be used right now, with the reason for each."""
        for workspace in self.workspaces.values():
            yield from workspace.malformed.items()

    def _paired_with_redis(self) -> Iterable[str] | None:
        """The workspaces in which Redis's agents may be found; None where there is no Redis."""
        return self.workspaces if "" in self.workspaces else None

    def _partner(self, key: Key) -> KnownAgent | None:
        if "" not in self.workspaces:
            return None
        if self._observations.get(key) is not None:
            place = self._observations.place(key)
            return next((one for one in self._observations.of(place) if one.key != key), None)
        return self._observations.partner(key, self.workspaces)

    def _merged(self, observations: tuple[KnownAgent, ...]) -> KnownAgent | None:
        if len(observations) < 2:
            return observations[0] if observations else None
        file, redis = observations
        beats = [self._beats.get(one.key, -math.inf) for one in observations]
        return merge(file, redis, redis_fresher=beats[1] > beats[0])

    def _regroup(self, key: Key, mono: float) -> None:
        """A pair was made or broken by the coming or going of the observation ``key``."""
        alone: Key = (None, key[1])
        shown = bool(self._observations.of(alone))
        if key != alone and shown != (alone in self._roll):
            self._moved.append((alone, shown))
        if not shown and alone in self._roll:
            self._leave(alone)
        if shown and key != alone:
            self._update(alone, mono)
        self.on_change(alone)
        for path in self._observations.homes(key[1], self.workspaces):
            place: Key = (path, key[1])
            if place != key:
                last = self._observations.of(place)[0]
                self._agree(place, last.verdict, last.cause)
                self._update(place, mono)
                self.on_change(place)

    def _agree(self, place: Key, verdict: Verdict, cause: Cause) -> None:
        """All observations of one agent have the verdict of its last record, whichever brought it about."""
        for one in self._observations.of(place):
            if (one.verdict, one.cause) != (verdict, cause):
                self._observations.replace(replace(one, verdict=verdict, cause=cause))

    def _leave(self, key: Key) -> None:
        """The agent is shown under this key no more."""
        self._roll.leave(key)
        self.version += 1

    def _evidence_of(self, agent: KnownAgent, mono: float) -> Evidence:
        clock = self._clock(agent.key)
        return agent.evidence(clock.now(mono), timeout=self.timeout, readable=clock.readable)

    def _evidence(self, key: Key, mono: float) -> Evidence | None:
        evidence = None
        for agent in self._observations.of(key):
            own = self._evidence_of(agent, mono)
            evidence = own if evidence is None else together(evidence, own)
        return evidence

    def _clock(self, key: Key) -> ObservedClock:
        return self.workspaces[key[0] or ""].clock

    def _update(self, key: Key, mono: float) -> None:
        """Judge the agent shown under this key, and wait for the moment at which it can fall silent."""
        evidence = self._evidence(key, self._loop_monitor.horizon(mono))
        if evidence is None:
            return
        status = judge(evidence).status
        if self._roll.enter(key, status):
            self.version += 1
            self.on_change(key)
        self._roll.owe(key, status != self._observations.of(key)[0].verdict.status)
        if status == "active":
            self._await_deadline(key, mono)

    def _date_beat(self, agent: KnownAgent, mono: float) -> None:
        """Keep when the beat was, now: what its clock takes out later must not make it younger."""
        if agent.beat_at is None:
            self._beats.pop(agent.key, None)
        else:
            self._beats[agent.key] = self._beat_mono(agent, mono)

    def _beat_mono(self, agent: KnownAgent, mono: float) -> float:
        if agent.beat_at is None:
            return -math.inf
        return mono - max(0.0, self._clock(agent.key).now(mono) - agent.beat_at)

    def _await_deadline(self, key: Key, mono: float) -> None:
        """Look at the agent again when it can have fallen silent."""
        evidence = self._evidence(key, mono)
        if evidence is None or evidence.silence is None:
            return
        # An agent can come back with an older beat than the one it waits for; then it is the earlier time.
        self._deadlines.put(place_of(key), mono + max(0.001, self.timeout - evidence.silence))


def _tasks(agent: KnownAgent) -> tuple[tuple[str, ...] | None, int] | None:
    return (agent.traces.tasks, agent.traces.unnamed_tasks) if agent.traces else None


def _beat(agent: KnownAgent) -> tuple[float | None, float | None]:
    return agent.beat_at, agent.beat_wall


def _key(place: Place) -> Key:
    return (place[0] or None, place[1])
