"""What happens to agents, as records: reduce a reading, record what is worth it, then show it.

Between the pipeline, which reads, and the picture, which judges. The caller holds the lock of the workspace
from the reading until a call here returns, so that what is shown is what was read last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from coordd.clocks import Moment
from coordd.model import AgentSample
from coordd.recorder import Recorder
from coordd.reducer import Key, KnownAgent, Reading, advance, changed, sample_of
from coordd.schedule import now
from coordd.state import Picture
from coordd.traces import AgentTraces


class AgentLog:
    """Feeds the picture, and records what becomes of it.

    ``forget_after`` is the silence in seconds after which an agent leaves the list; it may be changed.
    """

    def __init__(self, *, picture: Picture, recorder: Recorder, host: str, forget_after: float) -> None:
        self.forget_after = forget_after
        self._picture = picture
        self._recorder = recorder
        self._host = host
        self._forgotten: dict[Key, KnownAgent] = {}

    def restore(self, agent: KnownAgent, moment: Moment) -> None:
        """Show an agent as the last run knew it, until it is read; of both sources, if both saw it."""
        seen = agent.restored_seen
        at = None if seen is None else moment.mono - max(0.0, moment.wall - seen)
        workspaces = self._picture.workspaces
        if (agent.key[0] or "") in workspaces:
            own = ("redis",) if agent.key[0] is None else ("file",)
            self._picture.publish(replace(agent, beat_at=at, sources=own), moment.mono)
        if agent.key[0] is not None and "redis" in agent.sources and "" in workspaces:
            twin = replace(agent, key=(None, agent.key[1]), beat_at=at, sources=("redis",))
            self._picture.publish(twin, moment.mono)

    async def take(self, path: str, agents: Mapping[str, AgentTraces | None], reading: Reading) -> None:
        """Agents of one source as they were read, None for one that left no trace."""
        samples: list[AgentSample] = []
        publish: list[KnownAgent] = []
        remove: list[Key] = []
        mono = now().mono
        for agent_id, traces in agents.items():
            key: Key = (path or None, agent_id)
            old = self._picture.sighting(key)
            if old is not None and old.traces is traces and old.verdict.status == "active":
                continue  # the very same traces: only time can tell more, and deadlines watch that
            new = self._advance(old, key, traces, reading, mono)
            if new is None:
                if old is not None:
                    remove.append(key)
                    samples += self._left(key, reading.wall)
            elif new is not old:
                if changed(old, new):
                    shown = self._picture.shown_as(new, mono)
                    samples.append(self._sample(shown, reading.wall))
                    self._announce(old, shown)
                publish.append(new)
        await self._record(samples, publish, remove)

    async def record_verdicts(self, keys: Iterable[Key]) -> None:
        """Record what the picture already shows of these agents, where their last record says otherwise."""
        moment = now()
        changed = []
        for key in keys:
            old = self._picture.get(key)
            if old is None:
                continue
            verdict = self._picture.look(old, moment.mono).verdict
            if verdict.status != old.verdict.status:
                changed.append(replace(old, verdict=verdict, cause="verdict"))
                self._announce(old, changed[-1])
        if changed:
            await self._recorder.record(agent=[self._sample(agent, moment.wall) for agent in changed])
        mono = now().mono
        for agent in changed:
            self._picture.recorded(agent.key, agent.verdict, "verdict", mono)

    async def drop(self, path: str) -> None:
        """A workspace is watched no longer, and its agents with it."""
        wall = now().wall
        gone = self._picture.in_workspace(path)
        samples = [self._sample(replace(agent, cause="removed"), wall) for agent in gone]
        for agent in gone:
            agent_id = agent.key[1]
            self._recorder.event(
                "agent.removed", agent_id, f"agent {agent_id} left with its workspace", _where(agent.key)
            )
        await self._record(samples, [], [agent.key for agent in gone])
        self._forgotten = {key: agent for key, agent in self._forgotten.items() if key[0] != path}

    def _left(self, key: Key, wall: float) -> list[AgentSample]:
        """The sample, and the event, of an agent whose sighting goes; none if it is shown elsewhere."""
        if self._picture.place(key) != key:
            return []
        agent = self._picture.get(key)
        if agent is None:
            return []
        self._recorder.event("agent.removed", key[1], f"agent {key[1]} left", _where(key))
        return [self._sample(replace(agent, cause="removed"), wall)]

    def _advance(
        self, old: KnownAgent | None, key: Key, traces: AgentTraces | None, reading: Reading, mono: float
    ) -> KnownAgent | None:
        """One step of the agent; None when it left no trace, or was silent for so long that it is forgotten.

        What a forgotten agent left is remembered, for only then its next beat can be told from an old file.
        """
        forgotten = self._forgotten.pop(key, None)
        if traces is None:
            return None
        elsewhere = self._picture.elsewhere(key, mono)
        new = advance(old or forgotten, key, traces, reading, elsewhere)
        if new.verdict.status == "inactive" and new.beat_at is not None:
            silence = reading.observed - new.beat_at
            if elsewhere is not None and elsewhere.silence is not None:
                silence = min(silence, elsewhere.silence)
            if silence > self.forget_after:
                if traces.heartbeat or traces.registration or traces.listed or traces.tasks:
                    self._forgotten[key] = new
                return None
        if old is not None:
            return new
        if elsewhere is not None and self._picture.place(key) == key and key[0] is None:
            return replace(new, cause="heartbeat")  # its workspace showed it before
        return replace(new, cause="start" if reading.starting else "appeared")

    async def _record(self, samples: list[AgentSample], publish: list[KnownAgent], remove: list[Key]) -> None:
        """Nobody is shown what is not recorded.

        But for an agent of Redis that is shown alone no more, or again, because of what a workspace sees:
        that is known when both are.
        """
        if samples:
            await self._recorder.record(agent=samples)
        mono = now().mono
        for agent in publish:
            self._picture.publish(agent, mono)
        for key in remove:
            self._picture.remove(key, mono)
        if moved := self._picture.take_moved():
            await self._recorder.record(agent=[self._moved(key, agent) for key, agent in moved])

    def _moved(self, key: Key, agent: KnownAgent | None) -> AgentSample:
        wall = now().wall
        if agent is not None:
            return self._sample(replace(agent, cause="appeared"), wall)
        sighting = self._picture.sighting(key)
        assert sighting is not None  # noqa: S101 - it is shown in a pair, else it would not have moved
        return self._sample(replace(sighting, cause="removed"), wall)

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
