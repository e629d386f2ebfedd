"""Hold all agents as clients are shown them, and judge them at the moment of asking.

The rule: a change enters the store (:meth:`AgentStore.publish`) after its record was written; until then the
store shows what was before. Verdicts are computed when they are read: a heap of deadlines tells which agents
have fallen silent since, so that counting costs only what changed. The store reads no clock and does no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.merge import merge
from coordd.agents.pairing import Observations
from coordd.agents.reducer import Key, KnownAgent, combine
from coordd.agents.roster import Roster, SourceKey, source_key
from coordd.agents.shown import ShownAgent
from coordd.agents.workspace import Workspace
from coordd.model import AgentCounts, Cause, Status, SystemSample
from coordd.runtime.clocks import LoopMonitor, ObservedClock
from coordd.runtime.deadlines import Deadlines


class AgentStore:
    """Hold all agents, the workspaces and the latest system sample, with counters kept as they change.

    An agent that two sources see, a workspace and Redis (pairing.py), is shown once. Each method speaks of
    agents as they are shown, except :meth:`observation` and those that say so. ``workspaces`` has Redis under
    "". ``on_change`` is called with the key of each agent that appears, leaves, or changes its status or
    tasks. ``version`` grows with every change.

    Args:
        timeout: agents.timeout in seconds; it may be changed, before :meth:`rejudge_all`.
        loop_monitor: knows the latest moment at which agents may be judged.
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
        self._roster = Roster()
        self._deadlines: Deadlines[SourceKey] = Deadlines(
            wanted=lambda source_key: _key(source_key) in self._roster
        )

    def __len__(self) -> int:
        return len(self._roster)

    def observation(self, key: Key) -> KnownAgent | None:
        """Return the agent as one source alone knows it, as last published."""
        return self._observations.get(key)

    def get(self, key: Key) -> KnownAgent | None:
        """Return the agent that is shown under this key, as last published."""
        return self._merged(self._observations.of(key))

    def shown_key(self, key: Key) -> Key:
        """Return the key under which the agent of this observation is shown."""
        return self._observations.shown_key(key)

    def resolve(self, path: str, agent_id: str) -> Key:
        """Return the key of the agent that a claim in this source means by ``agent_id``.

        In a workspace that is the workspace's own agent, or else the one of Redis. In Redis ("") it is the
        one of Redis, or else the one of the only workspace that has an agent with this id.
        """
        own: Key = (path or None, agent_id)
        if self._observations.get(own) is None:
            if path:
                return (
                    self._observations.shown_key((None, agent_id))
                    if self._observations.get((None, agent_id))
                    else own
                )
            seen_in = self._observations.workspaces_of(agent_id, self.workspaces)
            return (seen_in[0], agent_id) if len(seen_in) == 1 else own
        return self._observations.shown_key(own)

    def in_workspace(self, workspace: str | None) -> list[KnownAgent]:
        """Return all observations of one source; None is Redis."""
        found = [self._observations.get(key) for key in self._roster.keys(workspace=workspace or "")]
        if workspace is None:
            found += [self._observations.get((None, agent_id)) for agent_id in self._observations.pairs]
        return [agent for agent in found if agent is not None]

    def named(self, agent_id: str) -> list[KnownAgent]:
        """Return the agents with this id, in Redis and in every workspace."""
        found = [self.get((path, agent_id)) for path in (None, *self.workspaces) if path != ""]
        return [agent for agent in found if agent is not None]

    def elsewhere(self, key: Key, mono: float) -> Evidence | None:
        """Return the evidence of the other source that sees this agent, or would see it with this key."""
        other = self._partner(key)
        return None if other is None else self._evidence_of(other, self._loop_monitor.horizon(mono))

    def shown_as(self, agent: KnownAgent, mono: float) -> KnownAgent:
        """Return the agent as it would be shown if this observation of it were published."""
        other = self._partner(agent.key)
        if other is None:
            return agent
        file, redis = (other, agent) if agent.key[0] is None else (agent, other)
        own, others = self._beat_mono(agent, mono), self._beats.get(other.key, -math.inf)
        merged = merge(file, redis, redis_fresher=(own > others) == (agent is redis))
        return replace(merged, verdict=agent.verdict, cause=agent.cause)

    def would_move(self, key: Key, *, there: bool) -> tuple[KnownAgent, bool] | None:
        """Return the agent of Redis that gains or loses its own entry if a workspace's agent comes or goes.

        Args:
            key: the key of the observation, in a workspace.
            there: whether the observation comes (true) or goes.

        Returns:
            The agent, and whether it then is shown alone; None where nothing changes for it.
        """
        redis = self._observations.get((None, key[1]))
        if key[0] is None or redis is None or "" not in self.workspaces:
            return None
        seen_in = {*self._observations.workspaces_of(key[1], self.workspaces), key[0]}
        alone = len(seen_in if there else seen_in - {key[0]}) != 1
        return None if alone == (self._observations.shown_key(redis.key) == redis.key) else (redis, alone)

    def verdict_alone(self, key: Key, mono: float) -> Verdict:
        """Return the verdict by the evidence of one source alone."""
        agent = self._observations.get(key)
        return judge(
            Evidence(silence=None, timeout=self.timeout)
            if agent is None
            else self._evidence_of(agent, self._loop_monitor.horizon(mono))
        )

    def publish(self, agent: KnownAgent, mono: float) -> None:
        """Take an observation over into the store: the agent is shown with it from now on."""
        key = agent.key
        before = self._observations.get(key)
        if self._observations.put(agent, self._paired_with_redis()):
            self._regroup(key, mono)
        if before is None or _beat(before) != _beat(agent):
            self._date_beat(agent, mono)
        shown_key = self._observations.shown_key(key)
        self._share_verdict(shown_key, agent.verdict, agent.cause)
        if before is None or _tasks(before) != _tasks(agent):
            self.on_change(shown_key)
        self.version += 1
        self._update(shown_key, mono)

    def remove(self, key: Key, mono: float) -> None:
        """Remove an observation, and the agent with it unless another source sees it."""
        shown_key = self._observations.shown_key(key)
        agent, regrouped = self._observations.pop(key, self._paired_with_redis())
        if agent is None:
            return
        self._beats.pop(key, None)
        self.version += 1
        if shown_key == key:
            self._hide(key)
        if regrouped:
            self._regroup(key, mono)
        self.on_change(shown_key)

    def recorded(self, key: Key, verdict: Verdict, cause: Cause, mono: float) -> None:
        """Note the verdict and cause in the last record of the agent shown under this key."""
        if self._observations.of(key):
            self._share_verdict(key, verdict, cause)
            self.version += 1
            self._update(key, mono)

    def take_moved(self) -> list[tuple[Key, bool]]:
        """Return the agents of Redis that began or ended to be shown alone since this was last called.

        Returns:
            Their keys, each with whether it is shown under this key now.
        """
        moved, self._moved = self._moved, []
        return moved

    def rejudge(self, workspace: str | None, mono: float) -> None:
        """Judge the agents of a source again, after its clock changed or it was lost or regained."""
        for agent in self.in_workspace(workspace):
            self._update(self._observations.shown_key(agent.key), mono)

    def rejudge_some(self, keys: Iterable[Key], mono: float) -> None:
        """Judge these agents again."""
        for key in keys:
            self._update(key, mono)

    def rejudge_all(self, mono: float) -> None:
        """Judge all agents again, after a gap or a change of the timeout."""
        self._deadlines.clear()
        for workspace in {key[0] for key in self._observations}:
            self.rejudge(workspace, mono)

    def counts(self, mono: float) -> AgentCounts:
        """Return the number of agents with each status at this moment."""
        self.expire(mono)
        return self._roster.counts()

    def expire(self, mono: float) -> None:
        """Judge the agents whose deadline has passed."""
        horizon = self._loop_monitor.horizon(mono)
        for due in self._deadlines.take(horizon):
            if _key(due) in self._roster:
                self._update(_key(due), horizon)

    def horizon(self, mono: float) -> float:
        """Return the latest moment at which agents may be judged: ``mono``, or earlier after a gap."""
        return self._loop_monitor.horizon(mono)

    def status_of(self, key: Key) -> Status | None:
        """Return the status as :meth:`expire` last found it, None where no such agent is shown."""
        return self._roster.status(key)

    def next_deadline(self) -> float | None:
        """Return the monotonic time of the next possible change of a verdict; it may be early, never late."""
        return self._deadlines.first()

    @property
    def has_unrecorded(self) -> bool:
        """Whether the verdict on any agent is known to differ from the one in its last record."""
        return self._roster.has_outdated

    def take_unrecorded(self, mono: float) -> list[Key]:
        """Return the keys of the agents whose verdict differs from their last record, and forget them."""
        self.expire(mono)
        return self._roster.take_outdated()

    def sources_of(self, key: Key) -> list[str]:
        """Return the sources that see the agent shown under this key: paths, "" for Redis."""
        return [agent.key[0] or "" for agent in self._observations.of(key)]

    def shown(
        self,
        mono: float,
        *,
        status: str | None = None,
        workspace: str | None = None,
        after: Key | None = None,
    ) -> Iterator[ShownAgent]:
        """Yield the agents in the order (workspace, id), judged at this moment, starting after a key."""
        self.expire(mono)
        for key in self._roster.keys(workspace=workspace, after=after):
            if (status is None or self._roster.status(key) == status) and (
                agent := self.get(key)
            ) is not None:
                yield self.look(agent, mono)

    def look(self, agent: KnownAgent, mono: float) -> ShownAgent:
        """Return a published agent as it is shown, judged at this moment."""
        evidence = self._evidence(agent.key, self._loop_monitor.horizon(mono)) or agent.evidence(
            0.0, timeout=self.timeout, readable=False
        )
        beats = [self._beats[one.key] for one in self._observations.of(agent.key) if one.key in self._beats]
        age = None if not beats else max(0.0, mono - max(beats))
        return ShownAgent(agent, judge(evidence), evidence, age)

    def look_at_sources(self, key: Key, mono: float) -> list[ShownAgent]:
        """Return the agent shown under this key as each source alone shows it."""
        found = []
        for one in self._observations.of(key):
            evidence = self._evidence_of(one, self._loop_monitor.horizon(mono))
            beat = self._beats.get(one.key)
            age = None if beat is None else max(0.0, mono - beat)
            found.append(ShownAgent(one, judge(evidence), evidence, age))
        return found

    def malformed(self) -> Iterable[tuple[str, str]]:
        """Yield the traces that cannot be used right now, each with the reason."""
        for workspace in self.workspaces.values():
            yield from workspace.malformed.items()

    def _paired_with_redis(self) -> Iterable[str] | None:
        """Return the workspaces that may have an agent of Redis; None where no Redis is read."""
        return self.workspaces if "" in self.workspaces else None

    def _partner(self, key: Key) -> KnownAgent | None:
        if "" not in self.workspaces:
            return None
        if self._observations.get(key) is not None:
            shown_key = self._observations.shown_key(key)
            return next((one for one in self._observations.of(shown_key) if one.key != key), None)
        return self._observations.partner(key, self.workspaces)

    def _merged(self, observations: tuple[KnownAgent, ...]) -> KnownAgent | None:
        if len(observations) < 2:
            return observations[0] if observations else None
        file, redis = observations
        beats = [self._beats.get(one.key, -math.inf) for one in observations]
        return merge(file, redis, redis_fresher=beats[1] > beats[0])

    def _regroup(self, key: Key, mono: float) -> None:
        """Bring what is shown up to date after the observation ``key`` made or broke a pair."""
        alone: Key = (None, key[1])
        shown = bool(self._observations.of(alone))
        if key != alone and shown != (alone in self._roster):
            self._moved.append((alone, shown))
        if not shown and alone in self._roster:
            self._hide(alone)
        if shown and key != alone:
            self._update(alone, mono)
        self.on_change(alone)
        for path in self._observations.workspaces_of(key[1], self.workspaces):
            shown_key: Key = (path, key[1])
            if shown_key != key:
                last = self._observations.of(shown_key)[0]
                self._share_verdict(shown_key, last.verdict, last.cause)
                self._update(shown_key, mono)
                self.on_change(shown_key)

    def _share_verdict(self, shown_key: Key, verdict: Verdict, cause: Cause) -> None:
        """Store the verdict and cause last recorded for an agent in each of its observations."""
        for one in self._observations.of(shown_key):
            if (one.verdict, one.cause) != (verdict, cause):
                self._observations.replace(replace(one, verdict=verdict, cause=cause))

    def _hide(self, key: Key) -> None:
        """Stop showing an agent under this key."""
        self._roster.leave(key)
        self.version += 1

    def _evidence_of(self, agent: KnownAgent, mono: float) -> Evidence:
        clock = self._clock(agent.key)
        return agent.evidence(clock.now(mono), timeout=self.timeout, readable=clock.readable)

    def _evidence(self, key: Key, mono: float) -> Evidence | None:
        evidence = None
        for agent in self._observations.of(key):
            own = self._evidence_of(agent, mono)
            evidence = own if evidence is None else combine(evidence, own)
        return evidence

    def _clock(self, key: Key) -> ObservedClock:
        return self.workspaces[key[0] or ""].clock

    def _update(self, key: Key, mono: float) -> None:
        """Judge the agent shown under this key, and put a deadline at the moment when it can fall silent."""
        evidence = self._evidence(key, self._loop_monitor.horizon(mono))
        if evidence is None:
            return
        status = judge(evidence).status
        if self._roster.enter(key, status):
            self.version += 1
            self.on_change(key)
        self._roster.set_outdated(key, status != self._observations.of(key)[0].verdict.status)
        if status == "active":
            self._await_deadline(key, mono)

    def _date_beat(self, agent: KnownAgent, mono: float) -> None:
        """Keep the monotonic time of the last beat: a gap taken out of its clock later must not change it."""
        if agent.beat_at is None:
            self._beats.pop(agent.key, None)
        else:
            self._beats[agent.key] = self._beat_mono(agent, mono)

    def _beat_mono(self, agent: KnownAgent, mono: float) -> float:
        if agent.beat_at is None:
            return -math.inf
        return mono - max(0.0, self._clock(agent.key).now(mono) - agent.beat_at)

    def _await_deadline(self, key: Key, mono: float) -> None:
        """Put a deadline at the moment when the agent can have fallen silent."""
        evidence = self._evidence(key, mono)
        if evidence is None or evidence.silence is None:
            return
        # An agent can come back with a beat older than the one before: the earlier deadline then counts.
        self._deadlines.put(source_key(key), mono + max(0.001, self.timeout - evidence.silence))


def _tasks(agent: KnownAgent) -> tuple[tuple[str, ...] | None, int] | None:
    return (agent.traces.tasks, agent.traces.unnamed_tasks) if agent.traces else None


def _beat(agent: KnownAgent) -> tuple[float | None, float | None]:
    return agent.beat_at, agent.beat_wall


def _key(ordered: SourceKey) -> Key:
    return (ordered[0] or None, ordered[1])
