"""Record what time alone has changed: agents that fell silent, and the claims that depend on them.

The rule: before a verdict that only silence brought about is recorded, each source that sees the agent is
read once more, because it may hold a beat that was not announced.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection

from coordd.agents.reducer import Key
from coordd.agents.store import AgentStore
from coordd.intake.agents import AgentIntake
from coordd.intake.tasks import TaskIntake
from coordd.runtime.schedule import Schedule, now

GRID = 0.25
"""Seconds of one step: deadlines within it share one wake-up."""

SLICE = 500
"""The number of verdicts that are recorded before other work of the loop has its turn."""

Reread = Callable[[str, Collection[str]], Awaitable[None]]
"""A function that reads agents of one source again, given its path ("" is Redis) and their ids."""


class DeadlineTimer:
    """Judge agents when their deadlines pass, from :meth:`start` on.

    ``files`` and ``redis`` read agents again; both have to be set before :meth:`start` where they exist.
    ``running`` is false before it and after :meth:`stop`.
    """

    def __init__(
        self, *, store: AgentStore, schedule: Schedule, agents: AgentIntake, tasks: TaskIntake
    ) -> None:
        self.files: Reread | None = None
        self.redis: Reread | None = None
        self.running = False
        self._store = store
        self._schedule = schedule
        self._agents = agents
        self._tasks = tasks

    def start(self) -> None:
        """Begin to judge and to report events: every source was read once."""
        self.running = True
        self._tasks.started()
        self.update()

    def stop(self) -> None:
        """Stop judging, after recording what has happened to tasks so far."""
        self.running = False
        self._tasks.stop()

    def update(self) -> None:
        """Set the timer to the next deadline, after something changed."""
        if not self.running:
            return
        self._tasks.update()
        mono = now().mono
        due = self._store.next_deadline()
        if self._store.has_unrecorded:
            due = mono
        if due is None:
            return
        due = max(due, mono)
        waiting = self._schedule.waiting("agents.deadline")
        if waiting is None or waiting > due + GRID:
            self._schedule.once("agents.deadline", due - mono + GRID / 2, self._judge_due)

    async def _judge_due(self) -> None:
        files: list[Key] = []
        redis: list[Key] = []
        for key in self._store.take_unrecorded(now().mono):
            (redis if "" in self._store.sources_of(key) else files).append(key)
        # Only agents that Redis sees have to wait for a slow Redis.
        await asyncio.gather(self._judge(files), self._judge(redis))

    async def _judge(self, keys: list[Key]) -> None:
        due: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            for path in self._store.sources_of(key):
                due[path].append(key[1])
        rereads = []
        for path, agent_ids in due.items():
            reread = self.files if path else self.redis
            if reread is not None:
                rereads.append(reread(path, agent_ids))
        await asyncio.gather(*rereads)
        for start in range(0, len(keys), SLICE):
            await self._agents.record_verdicts(keys[start : start + SLICE])
            await asyncio.sleep(0)
        self.update()
