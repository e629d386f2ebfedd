"""Record what time alone has changed: agents that fell silent or are to be forgotten, and their claims.

The rule: before a verdict that only silence brought about is recorded, each source that sees the agent is
read once more, because it may hold a beat that was not announced.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection

from coordd.agents.key import AgentKey
from coordd.agents.source import SourceName
from coordd.agents.store import AgentStore
from coordd.intake.agents import AgentIntake
from coordd.intake.tasks import TaskIntake
from coordd.runtime.schedule import Schedule, now
from coordd.util.slices import slices

GRID = 0.25
"""Seconds of one step: deadlines within it share one wake-up."""

Reread = Callable[[SourceName, Collection[str]], Awaitable[None]]
"""A function that reads agents of one source again, given its name and their ids there."""


async def _read_nothing(_source: SourceName, _agent_ids: Collection[str]) -> None:
    """Serve as ``reread`` until there are sources."""


def _tell_nobody() -> None:
    """Serve as ``updated`` until somebody wants to know."""


class DeadlineTimer:
    """Judge agents when their deadlines pass, from :meth:`start` on.

    ``reread`` reads agents again; it has to be set before :meth:`start`. ``running`` is false before that and
    after :meth:`stop`. ``updated`` is called when something may have changed, or was judged.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        schedule: Schedule,
        agents: AgentIntake,
        tasks: TaskIntake,
        updated: Callable[[], None] = _tell_nobody,
    ) -> None:
        self.reread: Reread = _read_nothing
        self.running = False
        self._updated = updated
        self._store = store
        self._schedule = schedule
        self._agents = agents
        self._tasks = tasks
        self._judging = asyncio.Lock()
        self._progressing = asyncio.Lock()

    def start(self) -> None:
        """Begin to judge and to report events: every source was read once."""
        self.running = self._agents.running = self._store.rereads = True
        self._tasks.started()
        self.update()

    def stop(self) -> None:
        """Stop judging, after recording what has happened to tasks so far."""
        self.running = self._store.rereads = False
        for job in ("agents.deadline", "agents.progress"):
            self._schedule.cancel(job)
        self._tasks.stop()

    async def stopped(self) -> None:
        """Return when nothing is being judged or recorded any more, after :meth:`stop`."""
        async with self._judging, self._progressing:
            return

    def update(self) -> None:
        """Set the timer to the next deadline, after something changed."""
        if self.running:
            self._set()
            self._updated()

    def _set(self) -> None:
        self._tasks.update()
        mono = now().mono
        progress = self._agents.progress_due
        if progress is not None and self._schedule.waiting("agents.progress") is None:
            self._schedule.once("agents.progress", max(0.0, progress - mono), self._record_progress)
        due = self._store.next_deadline()
        if self._store.has_unrecorded:
            due = mono
        if due is None:
            return
        due = max(due, mono)
        waiting = self._schedule.waiting("agents.deadline")
        if waiting is None or waiting > due + GRID:
            self._schedule.once("agents.deadline", due - mono + GRID / 2, self._judge_due)

    async def _record_progress(self) -> None:
        async with self._progressing:
            if self.running:
                await self._agents.record_progress()
        self.update()

    async def _judge_due(self) -> None:
        async with self._judging:
            if self.running:
                await self._judge_all_due()
        self.update()

    async def _judge_all_due(self) -> None:
        by_sources: dict[frozenset[SourceName], list[AgentKey]] = defaultdict(list)
        for key in self._store.take_unrecorded(now().mono):
            agent = self._store.get(key)
            if agent is not None:
                by_sources[frozenset(one.source for one in agent.observations)].append(key)
        overdue = self._store.take_overdue()
        # Only the agents that a slow source sees have to wait for it.
        await asyncio.gather(*(self._judge(sources, keys) for sources, keys in by_sources.items()))
        if overdue:
            await self._agents.forget(overdue)

    async def _judge(self, sources: Collection[SourceName], keys: list[AgentKey]) -> None:
        ids = {source: self._ids_in(source, keys) for source in sources}
        try:
            await asyncio.gather(*(self.reread(source, agent_ids) for source, agent_ids in ids.items()))
        finally:  # nobody else asks about them again
            self._store.confirm(keys, now().mono)
        self._tasks.update()
        for some in slices(keys):
            await self._agents.record_verdicts(some)
            await asyncio.sleep(0)

    def _ids_in(self, source: SourceName, keys: Collection[AgentKey]) -> list[str]:
        agents = (self._store.get(key) for key in keys)
        return [
            one.agent_id for agent in agents if agent for one in agent.observations if one.source == source
        ]
