"""What happens to agents, as records: reduce a reading, record what is worth it, then show it.

Between the pipeline and the feed of Redis, which read, and the store, which judges. The caller holds the
lock of the source from the reading until a call here returns, so that what is shown is what was read last.
An agent that two sources see has one record, of both: what is new is told by comparing what is shown of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from coordd.agents.reducer import Key, KnownAgent, Reading, advance, changed, sample_of
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces
from coordd.model import AgentSample
from coordd.runtime.clocks import Moment
from coordd.runtime.footprint import Growth
from coordd.runtime.schedule import now
from coordd.sinks.recorder import Recorder


@dataclass(slots=True)
class _Step:
    """What one reading comes to: samples to be recorded, and what is shown afterwards.

    ``publish`` has each observation with the agent as it was shown before. ``moved`` has the agents of Redis
    that are then shown alone (as which), or no longer (None).
    """

    wall: float
    samples: list[AgentSample] = field(default_factory=list)
    publish: list[tuple[KnownAgent, KnownAgent | None]] = field(default_factory=list)
    remove: list[Key] = field(default_factory=list)
    moved: dict[Key, KnownAgent | None] = field(default_factory=dict)


class AgentIntake:
    """Feeds the store, and records what becomes of it.

    ``forget_after`` is the silence in seconds after which an agent leaves the list; it may be changed.
    """

    def __init__(self, *, store: AgentStore, recorder: Recorder, host: str, forget_after: float) -> None:
        self.forget_after = forget_after
        self._store = store
        self._recorder = recorder
        self._host = host
        self._forgotten: dict[Key, KnownAgent] = {}
        self._growth = Growth()

    async def restore(self, agents: Iterable[KnownAgent], moment: Moment) -> None:
        """Show agents as the last run knew them, until they are read; of both sources those that both saw.

        Those of Redis come last: by then it is settled who is whose. Who is shown elsewhere than before, for
        other workspaces are configured now, is recorded so.
        """
        workspaces = self._store.workspaces
        redis: dict[Key, KnownAgent] = {}
        alone = set()
        for agent in agents:
            seen = agent.restored_seen
            at = None if seen is None else moment.mono - max(0.0, moment.wall - seen)
            both = len(agent.sources) > 1
            one = replace(agent, beat_at=at, restored_both=both, sources=("file",))
            if agent.key[0] is None:
                alone.add(agent.key)
            elif agent.key[0] in workspaces:
                self._store.publish(one, moment.mono)
            if "redis" in agent.sources:
                key: Key = (None, agent.key[1])
                redis[key] = replace(one, key=key, sources=("redis",))
        if "" not in workspaces:
            return
        step = _Step(moment.wall)
        for key, one in redis.items():
            self._store.publish(one, moment.mono)
            shown = self._store.place(key) == key
            if shown != (key in alone):
                self._move(step, one, shown)
        self._store.take_moved()
        await self._record(step)

    async def take(self, path: str, agents: Mapping[str, AgentTraces | None], reading: Reading) -> None:
        """Agents of one source as they were read, None for one that left no trace."""
        step = _Step(reading.wall)
        mono = now().mono
        for agent_id, traces in agents.items():
            key: Key = (path or None, agent_id)
            old = self._store.observation(key)
            if old is not None and old.traces is traces and old.verdict.status == "active":
                continue  # the very same traces: only time can tell more, and deadlines watch that
            new = self._advance(old, key, traces, reading, mono)
            if new is not None and new is not old:
                self._come(step, old, new, mono)
            elif new is None and old is not None:
                self._leave(step, key, "left")
        await self._record(step)

    def read_all(self, path: str, found: Collection[str]) -> None:
        """A full reading of a source found these agents: of others nothing has to be remembered."""
        gone = [key for key in self._forgotten if key[0] == (path or None) and key[1] not in found]
        for key in gone:
            del self._forgotten[key]

    async def record_verdicts(self, keys: Iterable[Key]) -> None:
        """Record what the store already shows of these agents, where their last record says otherwise."""
        moment = now()
        changed = []
        for key in keys:
            old = self._store.get(key)
            if old is None:
                continue
            verdict = self._store.look(old, moment.mono).verdict
            if verdict.status != old.verdict.status:
                changed.append(replace(old, verdict=verdict, cause="verdict"))
                self._announce(old, changed[-1])
        if changed:
            await self._recorder.record(agent=[self._sample(agent, moment.wall) for agent in changed])
        mono = now().mono
        for agent in changed:
            self._store.recorded(agent.key, agent.verdict, "verdict", mono)

    async def drop(self, path: str) -> None:
        """A workspace is watched no longer, and its agents with it."""
        step = _Step(now().wall)
        for agent in self._store.in_workspace(path):
            self._leave(step, agent.key, "left with its workspace")
        await self._record(step)
        self.read_all(path, ())

    def _come(self, step: _Step, old: KnownAgent | None, new: KnownAgent, mono: float) -> None:
        """A observation is there, or is another one than before."""
        shown = self._store.shown_as(new, mono)
        before = self._store.get(shown.key)
        moved = self._store.would_move(new.key, there=True) if old is None else None
        if changed(before, shown):
            step.samples.append(self._sample(shown, step.wall))
            self._announce(before or (moved[0] if moved else None), shown)
        if moved:
            self._move(step, *moved)
        step.publish.append((new, before))

    def _leave(self, step: _Step, key: Key, words: str) -> None:
        """A observation goes, and the agent with it unless the other source sees it."""
        step.remove.append(key)
        place = self._store.place(key)
        shown = self._store.get(place)
        if shown is None:
            return
        if place != key:
            rest = self._store.observation(place)
            if rest is not None and rest.active_tasks != shown.active_tasks:
                step.samples.append(self._sample(replace(rest, cause="tasks"), step.wall))
            return
        step.samples.append(self._sample(replace(shown, cause="removed"), step.wall))
        if moved := self._store.would_move(key, there=False):
            self._move(step, *moved)
        if moved is None or not moved[1]:
            self._recorder.event("agent.removed", key[1], f"agent {key[1]} {words}", _where(key))

    def _move(self, step: _Step, redis: KnownAgent, alone: bool) -> None:
        """An agent of Redis is shown alone from now on, or no longer."""
        if not alone:
            step.moved[redis.key] = None
            step.samples.append(self._sample(replace(redis, cause="removed"), step.wall))
            return
        verdict = self._store.verdict_alone(redis.key, now().mono)
        agent = step.moved[redis.key] = replace(redis, verdict=verdict, cause="appeared")
        step.samples.append(self._sample(agent, step.wall))
        self._announce(redis, agent)

    def _advance(
        self, old: KnownAgent | None, key: Key, traces: AgentTraces | None, reading: Reading, mono: float
    ) -> KnownAgent | None:
        """One step of the agent; None when it left no trace, or was silent for so long that it is forgotten.

        What a forgotten agent left is remembered, for only then its next beat can be told from an old file.
        Of two sources Redis forgets first, so that nobody is shown alone for that.
        """
        forgotten = self._forgotten.pop(key, None)
        if traces is None:
            return None
        elsewhere = self._store.elsewhere(key, mono)
        new = advance(old or forgotten, key, traces, reading, elsewhere)
        if new.verdict.status == "inactive" and new.beat_at is not None:
            silence = reading.observed - new.beat_at
            if elsewhere is not None and elsewhere.silence is not None:
                silence = min(silence, elsewhere.silence)
            if silence > self.forget_after and (key[0] is None or elsewhere is None):
                if traces.heartbeat or traces.registration or traces.listed or traces.tasks:
                    self._forgotten[key] = new
                return None
        if old is not None:
            return new
        if elsewhere is not None and key[0] is None:
            return replace(new, cause="heartbeat")  # its workspace showed it before
        return replace(new, cause="start" if reading.starting else "appeared")

    async def _record(self, step: _Step) -> None:
        """Nobody is shown what is not recorded."""
        if step.samples:
            await self._recorder.record(agent=step.samples)
        mono = now().mono
        for agent, before in step.publish:
            # What was recorded meanwhile, while this was, is what it comes back from.
            meanwhile = self._store.get(before.key) if before else None
            if before and meanwhile and meanwhile.verdict.status != before.verdict.status:
                self._announce(meanwhile, agent)
            self._store.publish(agent, mono)
        self._growth.reached(len(self._store))
        for key in step.remove:
            self._store.remove(key, mono)
        for key, shown in step.moved.items():
            if shown is not None:
                self._store.recorded(key, shown.verdict, shown.cause, mono)
        await self._record_moved(step)

    async def _record_moved(self, step: _Step) -> None:
        """Two sources that saw an agent come or go at once could not foresee what that makes together."""
        late = _Step(now().wall)
        for key, alone in self._store.take_moved():
            redis = self._store.observation(key)
            if redis is not None and (key not in step.moved or (step.moved[key] is not None) != alone):
                self._move(late, redis, alone)
        if late.samples:
            await self._recorder.record(agent=late.samples)
            for key, shown in late.moved.items():
                if shown is not None:
                    self._store.recorded(key, shown.verdict, shown.cause, now().mono)

    def _sample(self, agent: KnownAgent, wall: float) -> AgentSample:
        return sample_of(agent, verdict=agent.verdict, wall=wall, host=self._host)

    def _announce(self, old: KnownAgent | None, new: KnownAgent) -> None:
        if (old is None and new.cause == "start") or (old and old.verdict.status == new.verdict.status):
            return
        agent_id, status, reason = new.key[1], new.verdict.status, new.verdict.reason
        self._recorder.event(
            f"agent.{status}", agent_id, f"agent {agent_id} is {status} ({reason})", _where(new.key)
        )


def _where(key: Key) -> dict[str, object]:
    return {"workspace": key[0]}
