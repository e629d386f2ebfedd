"""Read such a file, again and again: nothing announces changes."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, AgentTraces, Heartbeat, SourceTraces
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.sources.base import POLL, Following, SourceListener, SourceLost


class ToySource:
    """One file."""

    patience = 1.0
    interval = POLL
    due = None

    def __init__(self, path: Path) -> None:
        self.state = SourceState(
            name=SourceName("toy", str(path)),
            clock=ObservedClock(blind_since=now().mono),
            rank=9,
            holds_tasks=False,
        )
        self._path = path

    def start(self, listener: SourceListener, _known: Mapping[str, Observation]) -> None:
        listener.readable()

    async def follow(self) -> Following:
        return Following("poll", "read")

    async def read_all(self) -> SourceTraces:
        agents, malformed = self._read()
        return SourceTraces("", "read", agents=agents, malformed=malformed, tasks_available=None, claims=None)

    async def read_some(self, _hints: Collection[Hashable]) -> AgentsChange:
        return AgentsChange("", {}, rescan_needed=True)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        agents, malformed = self._read()
        return AgentsChange("", {one: agents.get(one) for one in agent_ids}, malformed)

    def lost(self, _trouble: str) -> None:
        pass

    async def stop(self) -> None:
        pass

    def _read(self) -> tuple[dict[str, AgentTraces], dict[str, str]]:
        agents, malformed = {}, {}
        try:
            lines = self._path.read_text().splitlines()
        except OSError as error:
            raise SourceLost(f"{self._path}: {error.strerror}") from error
        for line in lines:
            agent_id, _, beat = line.partition(" ")
            try:
                written = float(beat)
            except ValueError:
                malformed[f"{self._path}: {line}"] = "not a time"
                written = None
            agents[agent_id] = AgentTraces(agent_id, Heartbeat(written, None, (beat,)))
        return agents, malformed
