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
        """Show an agent as the last run knew it, until it is read."""
        seen = agent.restored_seen
        at = None if seen is None else moment.mono - max(0.0, moment.wall - seen)
        self._picture.publish(replace(agent, beat_at=at), moment.mono)

    async def take(self, path: str, agents: Mapping[str, AgentTraces | None], reading: Reading) -> None:
        """Agents of one workspace as they were read, None for one that left no trace."""
        samples: list[AgentSample] = []
        publish: list[KnownAgent] = []
        remove: list[Key] = []
        for agent_id, traces in agents.items():
            key: Key = (path, agent_id)
            old = self._picture.get(key)
            if old is not None and old.traces is traces and old.verdict.status == "active":
                continue  # the very same traces: only time can tell more, and deadlines watch that
            new = self._advance(old, key, traces, reading)
            if new is None:
                if old is not None:
                    samples.append(self._sample(replace(old, cause="removed"), reading.wall))
                    self._recorder.event("agent.removed", agent_id, f"agent {agent_id} left", _where(key))
                    remove.append(key)
            elif new is not old:
                if changed(old, new):
                    samples.append(self._sample(new, reading.wall))
                    self._announce(old, new)
                publish.append(new)
        await self._record(samples, publish, remove)

    async def record_verdicts(self, keys: Iterable[Key]) -> None:
        """Record what the picture already shows of these agents, where their last record says otherwise."""
        moment = now()
        publish = []
        for key in keys:
            old = self._picture.get(key)
            if old is None:
                continue
            verdict = self._picture.look(old, moment.mono).verdict
            if verdict.status != old.verdict.status:
                publish.append(replace(old, verdict=verdict, cause="verdict"))
                self._announce(old, publish[-1])
        await self._record([self._sample(agent, moment.wall) for agent in publish], publish, [])

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

    def _advance(
        self, old: KnownAgent | None, key: Key, traces: AgentTraces | None, reading: Reading
    ) -> KnownAgent | None:
        """One step of the agent; None when it left no trace, or was silent for so long that it is forgotten.

        What a forgotten agent left is remembered, for only then its next beat can be told from an old file.
        """
        forgotten = self._forgotten.pop(key, None)
        if traces is None:
            return None
        new = advance(old or forgotten, key, traces, reading)
        if (
            new.verdict.status == "inactive"
            and new.beat_at is not None
            and reading.observed - new.beat_at > self.forget_after
        ):
            self._forgotten[key] = new
            return None
        return new if old else replace(new, cause="start" if reading.starting else "appeared")

    async def _record(self, samples: list[AgentSample], publish: list[KnownAgent], remove: list[Key]) -> None:
        """Nobody is shown what is not recorded."""
        if samples:
            await self._recorder.record(agent=samples)
        mono = now().mono
        for agent in publish:
            self._picture.publish(agent, mono)
        for key in remove:
            self._picture.remove(key)

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
