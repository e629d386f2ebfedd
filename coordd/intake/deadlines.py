"""The timer that notices what time alone has changed: agents that fall silent, and what hangs on that.

Before a verdict is recorded that only silence brought about, each source that sees the agent is read once
more: a beat may lie there that nobody has announced.
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
"""Deadlines are gathered into steps of this many seconds, to wake up for many at once."""

SLICE = 500
"""Verdicts that are recorded before the loop turns again."""

Reread = Callable[[str, Collection[str]], Awaitable[None]]
"""Reads agents of one source again: its path ("" is Redis) and their ids."""


class DeadlineTimer:
    """Judges when deadlines pass, from :meth:`start` on.

    ``files`` and ``redis`` read agents again; both may be set until then.
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
        """Everything was read once: from now on what changes is news."""
        self.running = True
        self._tasks.started()
        self.look()

    def stop(self) -> None:
        """Record what has happened to tasks so far, and judge no more."""
        self.running = False
        self._tasks.stop()

    def look(self) -> None:
        """Something changed: see to it that the next deadline is met."""
        if not self.running:
            return
        self._tasks.look()
        mono = now().mono
        due = self._store.next_deadline()
        if self._store.owes_records:
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
        # A Redis that takes its time is waited for by those alone whom it knows.
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
        self.look()
