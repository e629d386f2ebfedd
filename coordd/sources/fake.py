"""Tell of agents that a script puts there, for tests of code that follows sources.

It passes the contract tests of the real sources. It announces every change once it is followed, or nothing
(``announces`` false); it can be broken, hang, and stand still. Everything that fails, fails in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping

from coordd.agents.key import NO_WORKSPACE
from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, Source, SourceListener, SourceLost


class FakeSource:
    """Hold agents' traces in ``agents``, by id, and what cannot be used in ``malformed``.

    Args:
        name: the source's.
        workspace: the one that its agents work in.
        rank: its place among the sources.
        announces: whether changes are told; otherwise they are found by polling.
        deadline: seconds after which a call counts as unanswered while the source hangs.
    """

    patience = 1.0
    due: float | None = None

    def __init__(
        self,
        name: SourceName,
        *,
        workspace: str = NO_WORKSPACE,
        rank: int = 0,
        announces: bool = True,
        deadline: float = 1.0,
    ) -> None:
        clock = ObservedClock(blind_since=now().mono)
        self.state = SourceState(name=name, clock=clock, workspace=workspace, rank=rank)
        self.agents: dict[str, AgentTraces] = {}
        self.malformed: dict[str, str] = {}
        self._announces = announces
        self._deadline = deadline
        self._listener: SourceListener | None = None
        self._following = False
        self._broken: tuple[str, bool] | None = None
        self._answers = asyncio.Event()
        self._answers.set()

    # What a script does to it.

    def put(self, traces: AgentTraces) -> None:
        """Let an agent leave these traces."""
        self.agents[traces.agent_id] = traces
        self._announce(traces.agent_id)

    def remove(self, agent_id: str) -> None:
        """Let every trace of an agent vanish."""
        self.agents.pop(agent_id, None)
        self._announce(agent_id)

    def spoil(self, agent_id: str, reason: str) -> None:
        """Let an agent leave a trace that cannot be used."""
        self.malformed[agent_id] = reason
        self._announce(agent_id)

    def break_(self, trouble: str, *, gone: bool = False) -> None:
        """Let every call fail from now on, as :class:`SourceLost` says it."""
        self._broken = trouble, gone
        if self._listener is not None:
            self._listener.lost(trouble)

    def hang(self) -> None:
        """Let every call go unanswered from now on."""
        self._answers.clear()

    def mend(self) -> None:
        """Let everything be read again."""
        self._broken = None
        self._answers.set()
        if self._listener is not None:
            self._listener.readable()

    def stand_still(self, words: str | None) -> None:
        """Let agents be unable to beat for this reason; None: able again."""
        self.state.standstill = words
        if self._listener is not None:
            self._listener.standstill_changed()

    # The source.

    def start(self, listener: SourceListener, _known: Mapping[str, Observation]) -> None:
        """Begin to tell of changes: at once that it is readable, or broken."""
        self._listener = listener
        if self._broken is None:
            listener.readable()
        else:
            listener.lost(self._broken[0])

    async def follow(self) -> Following:
        """Announce what changes from here on."""
        await self._answer()
        self._following = True
        return Following("push", "read") if self._announces else Following("poll", "poll", "it is told to")

    async def read_all(self) -> SourceTraces:
        """Return what the script has left."""
        await self._answer()
        return SourceTraces(
            self.state.workspace, "read", agents=dict(self.agents), malformed=dict(self.malformed)
        )

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Return the agents whose ids the hints are."""
        return await self._read([hint for hint in hints if isinstance(hint, str)])

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Return these agents."""
        return await self._read(agent_ids)

    def lost(self, _trouble: str) -> None:
        """Announce nothing until it is followed anew."""
        self._following = False

    async def stop(self) -> None:
        """End."""
        self._listener = None

    @property
    def interval(self) -> float:
        """Seconds until the next full reading."""
        if self.state.state == "unreadable":
            return UNREADABLE
        return RESCAN if self._announces else POLL

    async def _answer(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._answers.wait()
        except TimeoutError:
            raise SourceLost(f"does not answer ({self._deadline:g} s)") from None
        if self._broken is not None:
            trouble, gone = self._broken
            raise SourceLost(trouble, gone=gone)

    async def _read(self, agent_ids: Collection[str]) -> AgentsChange:
        await self._answer()
        return AgentsChange(
            self.state.workspace,
            {agent_id: self.agents.get(agent_id) for agent_id in agent_ids},
            {agent_id: self.malformed[agent_id] for agent_id in agent_ids if agent_id in self.malformed},
        )

    def _announce(self, agent_id: str) -> None:
        if self._following and self._announces and self._listener is not None:
            self._listener.changed((agent_id,))


def _fits(fake: FakeSource) -> Source:
    """Have the type checker confirm that the fake is a source."""
    return fake
