"""Put observations of agents into a store as the intake does, but at once: without a loop or records.

:func:`step` is one reading of an agent that one source sees. :class:`Agents` holds agents of several sources.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from coordd.agents.beats import Reading
from coordd.agents.doing import NOTHING
from coordd.agents.join import Agent, difference, join
from coordd.agents.judging import Limits
from coordd.agents.key import AgentKey
from coordd.agents.liveness import Evidence, combine
from coordd.agents.observation import Observation, observe
from coordd.agents.observations import Observations
from coordd.agents.source import SourceName, SourceState
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces
from coordd.runtime.clocks import LoopMonitor, Moment, ObservedClock

REDIS = SourceName("redis")
EPOCH = 1_800_000_000.0
"""The wall time at monotonic time 0."""
TIMEOUT = 120.0


def source(path: str) -> SourceName:
    """Return the name of the source that reads a workspace; "" is Redis."""
    return SourceName("file", path) if path else REDIS


def state_of(path: str) -> SourceState:
    """Return a readable source of a workspace, or Redis; the workspace's counts first."""
    return SourceState(source(path), ObservedClock(), workspace=path, rank=0 if path else 1, holds_tasks=True)


def step(
    before: Agent | None, place: tuple[SourceName, str], traces: AgentTraces, reading: Reading
) -> tuple[Agent, str | None]:
    """Return the agent of one readable source after a reading, and what is worth a record; None: nothing.

    The cause of the agent is that of its last record, as the intake keeps it.
    """
    old = before.observations[0] if before else None
    name, agent_id = place
    new = observe(old, place, name.path, traces, reading)
    evidence = new.evidence(reading.observed, timeout=reading.timeout, readable=True, mono=reading.mono)
    after = join(AgentKey(new.workspace, agent_id), [new], evidence)
    if before is None:
        return after, after.cause
    cause = difference(before, after)
    if cause is None and new is old:
        return before, None
    return replace(after, cause=cause or before.cause), cause


class Agents:
    """Agents of several sources, all readable at first, in a store that shows every change at once.

    A record is played for each change that is worth one: what the store calls recorded is the agent as it
    was then.

    Args:
        paths: the sources, by their workspaces; "" is Redis.
        states: further sources.
    """

    def __init__(
        self,
        *paths: str,
        states: Iterable[SourceState] = (),
        timeout: float = TIMEOUT,
        forget_after: float = 86_400.0,
        mono: float = 1000.0,
    ) -> None:
        self.mono = mono
        self.loop_monitor = LoopMonitor()
        self.store = AgentStore(
            limits=Limits(timeout=timeout, forget_after=forget_after), loop_monitor=self.loop_monitor
        )
        self.observations = Observations()
        for state in (*map(state_of, paths), *states):
            self.store.add_source(state)
            self.observations.add_source(state.name, state.rank)

    @property
    def now(self) -> Moment:
        return Moment(EPOCH + self.mono, self.mono)

    def clock(self, name: SourceName) -> ObservedClock:
        return self.store.sources[name].clock

    def observation(
        self,
        name: SourceName,
        agent_id: str,
        age: float | None = 0.0,
        *,
        workspace: str | None = None,
        **fields: Any,
    ) -> Observation:
        """Return an observation whose last beat is ``age`` seconds old on the clock of its source.

        ``fields`` that no observation has are those of its traces.
        """
        own = {field: fields.pop(field) for field in ("run_since", "dormant", "restored") if field in fields}
        clock = self.clock(name)
        at = None if age is None else clock.now(self.mono) - age
        return Observation(
            source=name,
            key=AgentKey(self.store.sources[name].workspace if workspace is None else workspace, agent_id),
            traces=AgentTraces(agent_id, **fields),
            beat_wall=None if age is None else self.now.wall - age,
            beat_at=at,
            beat_mono=None if at is None else self.mono - clock.now(self.mono) + at,
            **own,
        )

    def see(self, path: str, agent_id: str, age: float | None = 0.0, **fields: Any) -> Agent:
        """Put an observation of a workspace, or of Redis; return the agent that it is of."""
        one = self.observation(source(path), agent_id, age, **fields)
        self.put(one)
        agent = self.store.get(self.observations.key_of(one))
        assert agent is not None
        return agent

    def put(self, one: Observation) -> set[AgentKey]:
        """Add or replace an observation; return the keys of the agents that this touches."""
        return self._show(self.observations.put(one))

    def remove(self, name: SourceName, agent_id: str) -> set[AgentKey]:
        """Remove an observation; return the keys of the agents that this touches."""
        return self._show(self.observations.remove(name, agent_id))

    def lose(self, name: SourceName) -> None:
        """Let a source become unreadable."""
        self.clock(name).lost(self.mono)
        self.rejudge(name)

    def regain(self, name: SourceName) -> None:
        """Let a source be readable again."""
        self.clock(name).regained(self.mono)
        self.rejudge(name)

    def rejudge(self, name: SourceName) -> None:
        """Judge all agents of a source again."""
        known = self.observations.of_source(name).values()
        self.store.rejudge([self.observations.key_of(one) for one in known], self.mono)

    def evidence(self, observations: Iterable[Observation]) -> Evidence:
        """Return what these observations tell together now, without the store."""
        horizon = self.loop_monitor.horizon(self.mono)
        return combine(
            [
                one.evidence(
                    self.clock(one.source).now(horizon),
                    timeout=self.store.judging.limits.timeout,
                    mono=self.mono,
                    readable=self.clock(one.source).readable,
                )
                for one in observations
            ]
        )

    def _show(self, touched: set[AgentKey]) -> set[AgentKey]:
        for key in sorted(touched):
            observations = self.observations.of_agent(key)
            if all(one.dormant for one in observations):
                self.store.hide(key)
                continue
            before = self.store.get(key)
            after = join(key, observations, self.evidence(observations))
            cause = difference(before, after) if before else after.cause
            if before and (
                cause is None or (cause == "tasks" and len(observations) < len(before.observations))
            ):
                after = replace(after, verdict=before.verdict)  # it is recorded in its turn
            horizon = self.loop_monitor.horizon(self.mono)
            doing = before.doing if before else NOTHING
            doing = self.store.judging.doing(after, after.verdict, doing, horizon=horizon, wall=None)
            self.store.show(after.recorded(after.verdict, cause or after.cause, doing), self.mono)
        return touched
