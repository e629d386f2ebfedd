"""Measure the process trees of agents, in the wake-up of the system sample, as far as somebody needs it.

Trees of agents that are in a turn or have a call open are measured with each sample, all others every five
minutes: what idles costs nothing. What is kept of each: its size, and whether the processes that an open
call began do anything (:meth:`TreeSampling.works`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coordd.agents.join import Agent
from coordd.agents.store import AgentStore
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse, TreeMeter, TreeUse
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker

log = logging.getLogger(__name__)

DEADLINE = 10.0
"""Seconds that one pass over all processes may take."""
IDLE_EVERY = 300.0
"""Seconds between two measurements of the trees of agents that do nothing."""
BEFORE = 1.0
"""Seconds by which a process may seem older than the call that started it: starts count in ticks, and the
wall clock is adjusted."""
WORTH = 1.0
"""Seconds of CPU that the processes of a call have to use to count as doing something."""
SOON = 1.0
"""Seconds after an agent appeared at which its tree is measured first."""
SAMPLES_SLACK = 1.0
"""Seconds by which a sample may be early."""


@dataclass(slots=True)
class _CallUse:
    """The CPU of the processes that an open call began.

    ``cpu`` was counted at ``at``; ``first`` is when it was first measured, ``moved`` when it was last more
    than :data:`WORTH` above what it had been.
    """

    since: float
    first: float
    at: float
    cpu: float
    moved: float | None = None


class TreeSampling:
    """Measure trees each time :meth:`sample` is called.

    Args:
        store: all agents; it is told to judge again whose calls have begun or ceased to do something.
        uses: yields what each process of this machine uses; it is called in the worker's thread.
        start_at: returns the start, as processes have it, of one that starts at a time in epoch seconds.
        worker: the thread that measures.
        schedule: times the first measurement of an agent.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        uses: Callable[[], Iterable[ProcessUse]],
        start_at: Callable[[float], int],
        worker: Worker,
        schedule: Schedule,
    ) -> None:
        self._store = store
        self._uses = uses
        self._start_at = start_at
        self._worker = worker
        self._schedule = schedule
        self._meter = TreeMeter(processors=os.cpu_count() or 1)
        self._trees: dict[Process, TreeUse] = {}
        self._calls: dict[Process, _CallUse] = {}
        self._all_at: float | None = None
        store.judging.works = self.works
        store.judging.tree = self._trees.get

    def appeared(self, agent: Agent) -> None:
        """Have the tree of an agent that is shown anew measured soon: a person may look at it."""
        process = agent.process
        new = process is not None and process.lives and process.process not in self._trees
        if new and self._schedule.waiting("agents.trees") is None:
            self._schedule.once("agents.trees", SOON, self._measure_new)

    async def _measure_new(self) -> None:
        await self.sample(new=True)

    async def sample(self, *, new: bool = False) -> None:
        """Measure what has to be, and have agents judged whose calls it tells something of.

        ``new``: only what was never measured.
        """
        mono = now().mono
        everything = not new and (self._all_at is None or mono - self._all_at >= IDLE_EVERY - SAMPLES_SLACK)
        living = {agent.process.process: agent for agent in self._store.with_process() if agent.process}
        self._forget(living.keys())
        calls = {process: since for process, agent in living.items() if (since := _call_since(agent))}
        wanted = living if everything else {p: one for p, one in living.items() if _is_busy(one)}
        if new:
            wanted = {process: one for process, one in living.items() if process not in self._trees}
        if not wanted:
            return
        if everything:
            self._all_at = mono
        try:
            found = await self._worker.run(self._measure, list(wanted), calls, mono, deadline=DEADLINE)
        except DeadlineMissed:
            log.warning("measuring process trees takes more than %g s; it is left out", DEADLINE)
            return
        self._trees.update(found)
        before = {process: self.works(process, since) for process, since in calls.items()}
        for process, since in calls.items():
            if (use := found.get(process)) is not None and use.young_cpu is not None:
                self._note(process, since, use.young_cpu, mono)
        moved = [p for p, since in calls.items() if self.works(p, since) != before[p]]
        self._store.rejudge([living[process].key for process in moved], now().mono)

    def works(self, process: Process, since: float) -> bool | None:
        """Return whether processes that started since a call began used CPU within agents.stall_after.

        None: they were not measured for so long yet.

        Args:
            process: the agent's.
            since: when the call began, in epoch seconds.
        """
        use = self._calls.get(process)
        if use is None or use.since != since:
            return None
        limit = self._store.judging.limits.stall_after
        if use.moved is not None and use.at - use.moved < limit:
            return True
        return False if use.at - (use.first if use.moved is None else use.moved) >= limit else None

    def _measure(
        self, wanted: list[Process], calls: dict[Process, float], mono: float
    ) -> dict[Process, TreeUse]:
        """Make one pass; runs in the worker's thread."""
        young = {process: self._start_at(since - BEFORE) for process, since in calls.items()}
        return self._meter.measure(self._uses(), {one: young.get(one) for one in wanted}, mono)

    def _note(self, process: Process, since: float, cpu: float, mono: float) -> None:
        use = self._calls.get(process)
        if use is None or use.since != since:
            self._calls[process] = _CallUse(since=since, first=mono, at=mono, cpu=cpu)
            return
        use.at = mono
        if cpu > use.cpu + WORTH:
            use.cpu, use.moved = cpu, mono
        use.cpu = min(use.cpu, cpu)  # what ended took its time with it

    def _forget(self, living: Iterable[Process]) -> None:
        kept = set(living)
        for known in (self._trees, self._calls):
            for process in known.keys() - kept:
                del known[process]


def _call_since(agent: Agent) -> float | None:
    turn = agent.session.turn if agent.session else None
    return next((call.since for call in turn.calls if call.since is not None), None) if turn else None


def _is_busy(agent: Agent) -> bool:
    return agent.doing.activity in ("working", "stalled", "blocked") or _call_since(agent) is not None
