"""Take readings of agents into the store: reduce them, record what is worth a record, then show them.

It stands between the intakes that read (files.py, redis.py) and the store, which judges. An agent that a
workspace and Redis both see is a pair, with one record of both. What an observation leads to:

==================================  ==========================================  ==============================
observation                         record, by its ``cause``                    event
==================================  ==========================================  ==============================
is the first of its agent           ``appeared``                                ``agent.<status>``
is the first, while coordd starts   ``start``                                   none
joins in Redis a workspace's agent  ``heartbeat``                               ``agent.<status>``, if changed
changes what is shown of its agent  ``heartbeat``, ``verdict``, ``tasks``       ``agent.<status>``, if changed
changes nothing that is shown       none                                        none
goes, or is silent too long         ``removed``                                 ``agent.removed``
goes in Redis, not in a workspace   ``tasks``, if they changed                  none
makes a pair                        ``removed`` under (None, id), and its own   that of its own
breaks a pair                       ``appeared`` under (None, id), and its own  ``agent.<status>``, if changed
==================================  ==========================================  ==============================

Too long is ``forget_after``. A pair is made when an observation comes in a workspace for an agent that Redis
alone had; it is broken when a second workspace has the agent as well, or the only one no longer has it.

Each step runs in this order: reduce, record, publish in the store. So no agent is shown whose record was not
written. The caller holds the lock of the source from the reading until a call here returns, so that what is
shown is what was read last. The state kept is the last observation of each forgotten agent.
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
    """The outcome of one reading: samples to be recorded, and what is shown afterwards.

    ``publish`` has each observation with the agent as it was shown before, ``remove`` the keys of
    observations that are gone. ``moved`` maps the keys of agents of Redis to the agent where it begins to be
    shown alone, and to None where it ends to be.
    """

    wall: float
    samples: list[AgentSample] = field(default_factory=list)
    publish: list[tuple[KnownAgent, KnownAgent | None]] = field(default_factory=list)
    remove: list[Key] = field(default_factory=list)
    moved: dict[Key, KnownAgent | None] = field(default_factory=dict)


class AgentIntake:
    """Put readings of agents into the store, and record what changes there.

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
        """Show agents as the last run knew them, until they are read; an agent of both sources in both.

        The agents of Redis are published last, when it is known which of them belong to a workspace. An agent
        that is shown under another key than before, because other workspaces are configured now, is recorded
        so.

        Args:
            agents: the agents, from the records.
            moment: now.
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
            shown = self._store.shown_key(key) == key
            if shown != (key in alone):
                self._move(step, one, shown)
        self._store.take_moved()
        await self._record(step)

    async def take(self, path: str, agents: Mapping[str, AgentTraces | None], reading: Reading) -> None:
        """Take over agents of one source as they were read.

        Args:
            path: the source, "" for Redis.
            agents: their traces by id, None for an agent without any trace.
            reading: when and how they were read.
        """
        step = _Step(reading.wall)
        mono = now().mono
        for agent_id, traces in agents.items():
            key: Key = (path or None, agent_id)
            old = self._store.observation(key)
            if old is not None and old.traces is traces and old.verdict.status == "active":
                continue  # the same traces: only time can change the verdict, and a deadline watches it
            new = self._advance(old, key, traces, reading, mono)
            if new is not None and new is not old:
                self._add_observation(step, old, new, mono)
            elif new is None and old is not None:
                self._remove_observation(step, key, "left")
        await self._record(step)

    def read_all(self, path: str, found: Collection[str]) -> None:
        """Drop the forgotten agents that a full reading of a source did not find."""
        gone = [key for key in self._forgotten if key[0] == (path or None) and key[1] not in found]
        for key in gone:
            del self._forgotten[key]

    async def record_verdicts(self, keys: Iterable[Key]) -> None:
        """Record the verdicts that the store shows of these agents, where their last record differs."""
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
        """Remove all agents of a workspace that is watched no longer."""
        step = _Step(now().wall)
        for agent in self._store.in_workspace(path):
            self._remove_observation(step, agent.key, "left with its workspace")
        await self._record(step)
        self.read_all(path, ())

    def _add_observation(self, step: _Step, old: KnownAgent | None, new: KnownAgent, mono: float) -> None:
        """Note a new or changed observation in the step."""
        shown = self._store.shown_as(new, mono)
        before = self._store.get(shown.key)
        moved = self._store.would_move(new.key, there=True) if old is None else None
        if changed(before, shown):
            step.samples.append(self._sample(shown, step.wall))
            self._announce(before or (moved[0] if moved else None), shown)
        if moved:
            self._move(step, *moved)
        step.publish.append((new, before))

    def _remove_observation(self, step: _Step, key: Key, words: str) -> None:
        """Note in the step that an observation goes, and its agent unless the other source sees it."""
        step.remove.append(key)
        shown_key = self._store.shown_key(key)
        shown = self._store.get(shown_key)
        if shown is None:
            return
        if shown_key != key:
            rest = self._store.observation(shown_key)
            if rest is not None and rest.active_tasks != shown.active_tasks:
                step.samples.append(self._sample(replace(rest, cause="tasks"), step.wall))
            return
        step.samples.append(self._sample(replace(shown, cause="removed"), step.wall))
        if moved := self._store.would_move(key, there=False):
            self._move(step, *moved)
        if moved is None or not moved[1]:
            self._recorder.event("agent.removed", key[1], f"agent {key[1]} {words}", _where(key))

    def _move(self, step: _Step, redis: KnownAgent, alone: bool) -> None:
        """Note in the step that an agent of Redis begins or ends to be shown alone."""
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
        """Return the agent after this reading; None when it has no trace, or is forgotten for its silence.

        The traces of a forgotten agent are remembered, so that its next beat can be told from an old file. Of
        two sources Redis forgets first, so that forgetting never makes an agent of Redis appear alone.
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
        """Write the samples of the step, then publish it: an agent is shown only after its record."""
        if step.samples:
            await self._recorder.record(agent=step.samples)
        mono = now().mono
        for agent, before in step.publish:
            # The verdict may have been recorded anew during the write: the event compares with that one.
            meanwhile = self._store.get(before.key) if before else None
            if before and meanwhile and meanwhile.verdict.status != before.verdict.status:
                self._announce(meanwhile, agent)
            self._store.publish(agent, mono)
        self._growth.note_count(len(self._store))
        for key in step.remove:
            self._store.remove(key, mono)
        for key, shown in step.moved.items():
            if shown is not None:
                self._store.recorded(key, shown.verdict, shown.cause, mono)
        await self._record_moved(step)

    async def _record_moved(self, step: _Step) -> None:
        """Record agents of Redis whose own entry appeared or went while two sources were taken in at once."""
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
