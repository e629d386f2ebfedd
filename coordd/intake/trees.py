"""Measure the process trees of agents, in the wake-up of the system sample, as far as somebody needs it.

Trees of agents that are in a turn or have a call open are measured with each sample, all others every five
minutes, and twice at first, for their share of the processor: what idles costs nothing. What is kept of each:
its size, and whether the processes that an open call began do anything (:meth:`TreeSampling.works`). Whose
processes are is remembered from pass to pass (lineage.py), and those of which nobody knows are asked once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable

from coordd.agents.join import Agent
from coordd.agents.store import AgentStore
from coordd.agents.work import open_call
from coordd.host.forest import Remembered, Survey, survey
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse, TreeMeter, TreeUse
from coordd.intake.call_use import CallUse
from coordd.intake.lineage import Lineage, Said
from coordd.intake.saying import sessions_of
from coordd.runtime.one_by_one import OneByOne
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
SOON = 1.0
"""Seconds after an agent appeared at which its tree is measured first."""
SAMPLES_SLACK = 1.0
"""Seconds by which a sample may be early."""
ASK_DEADLINE = 1.0
"""Seconds in which a process has to say of which session it is."""


class TreeSampling:
    """Measure trees each time :meth:`sample` is called.

    Args:
        store: all agents; it is told to judge again whose calls have begun or ceased to do something.
        uses: yields what each process of this machine uses; it is called in the worker's thread.
        start_at: returns the start, as processes have it, of one that starts at a time in epoch seconds.
        worker: the thread that measures.
        asking: the thread in which processes are asked of which session they are; it has to be replaceable.
        ask: asks one; it returns the sessions by kind.
        schedule: times the first measurement of an agent.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        uses: Callable[[], Iterable[ProcessUse]],
        start_at: Callable[[float], int],
        worker: Worker,
        asking: Worker,
        schedule: Schedule,
        ask: Callable[[Process], Said] = sessions_of,
    ) -> None:
        self._store = store
        self._uses = uses
        self._start_at = start_at
        self._worker = worker
        self._schedule = schedule
        self._meter = TreeMeter(processors=os.cpu_count() or 1)
        self._trees: dict[Process, TreeUse] = {}
        self._calls: dict[Process, CallUse] = {}
        self._all_at: float | None = None
        self.lineage = Lineage(own_pid=os.getpid())
        self._turn = asyncio.Lock()  # a pass has to know what the one before it found
        self._asking: OneByOne[Process, Said] = OneByOne(ask, worker=asking, answered=lambda: None)
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
        living = self._living()
        self._forget(living)
        self._begin_calls(living)
        wanted = [one for one, agents in living.items() if everything or self._is_wanted(one, agents, new)]
        if not wanted:
            return
        if everything:
            self._all_at = mono
        calls = {one: self._calls[one] for one in wanted if one in self._calls}
        roots = {one: calls[one].young if one in calls else None for one in wanted}
        before = {one: call.works(self._window) for one, call in calls.items()}
        try:
            passed, at = await self._pass(roots, living)
            found = dict(passed.trees)
        except DeadlineMissed:
            log.warning("measuring process trees takes more than %g s; it is left out", DEADLINE)
            found, at = {}, mono
        self._trees.update(self._meter.with_shares(found, at))
        working = {one for one, agents in living.items() if any(map(_works, agents))}
        for process, call in calls.items():
            self._note(call, found.get(process), at, working)
        moved = [one for one, call in calls.items() if call.works(self._window) != before[one]]
        self._store.rejudge([agent.key for one in moved for agent in living[one]], now().mono)

    def works(self, process: Process, since: float) -> bool | None:
        """Return whether processes that started since a call began used CPU within agents.stall_after.

        An agent among them that works counts like that; its own tree does not. None: they were not measured
        for so long yet.

        Args:
            process: the agent's.
            since: when the call began, in epoch seconds.
        """
        call = self._calls.get(process)
        return None if call is None or call.since != since else call.works(self._window)

    def skip(self, seconds: float) -> None:
        """Take time in which coordd did not run out of what the processes of calls had to do something."""
        for call in self._calls.values():
            call.skip(seconds)

    @property
    def _window(self) -> float:
        return self._store.judging.limits.stall_after

    def _living(self) -> dict[Process, list[Agent]]:
        """Return the processes that live, each with the agents whose it is."""
        living: dict[Process, list[Agent]] = {}
        for agent in self._store.with_process():
            if agent.process is not None:
                living.setdefault(agent.process.process, []).append(agent)
        return living

    def _begin_calls(self, living: dict[Process, list[Agent]]) -> None:
        """Keep a CallUse for each process that has a call open."""
        for process, agents in living.items():
            opened = [call for agent in agents if (call := open_call(agent.observations)) is not None]
            since = next((since for one, since in opened if one == process), None)
            if since is None:
                self._calls.pop(process, None)
            elif process not in self._calls or self._calls[process].since != since:
                self._calls[process] = CallUse(since, self._start_at(since - BEFORE))

    def _is_wanted(self, process: Process, agents: list[Agent], new: bool) -> bool:
        """Return whether a tree is measured in this pass, which is not the one of all."""
        tree = self._trees.get(process)
        if new:
            return tree is None
        first = tree is not None and tree.cpu_percent is None
        return first or process in self._calls or any(map(_is_busy, agents))

    async def look(self) -> tuple[Survey, float]:
        """Return what one pass finds now, in which no tree is measured, and its monotonic time.

        Raises:
            DeadlineMissed: it takes too long.
        """
        return await self._pass({}, self._living())

    async def _pass(
        self, roots: dict[Process, int | None], living: dict[Process, list[Agent]]
    ) -> tuple[Survey, float]:
        """Make one pass, and ask the processes of which nobody knows; return what it found, and its time."""
        async with self._turn:
            return await self._passed(roots, living)

    async def _passed(
        self, roots: dict[Process, int | None], living: dict[Process, list[Agent]]
    ) -> tuple[Survey, float]:
        self.lineage.know(living)
        agents = set(living)
        found, uses, at = await self._worker.run(
            self._measure, roots, agents, self.lineage.remembered, deadline=DEADLINE
        )
        unasked = self.lineage.unasked(found)
        if unasked:
            self.lineage.told(await self._asking.answers(unasked, deadline=ASK_DEADLINE))
        if self.lineage.take(found):
            again = self.lineage.remembered
            found = await self._worker.run(_surveyed, uses, roots, agents, again, deadline=DEADLINE)
            self.lineage.take(found)
        return found, at

    def _measure(
        self, roots: dict[Process, int | None], agents: Collection[Process], remembered: Remembered
    ) -> tuple[Survey, list[ProcessUse], float]:
        """Look at all processes; return what that finds, what each uses, and when. In the worker's thread."""
        at, uses = now().mono, list(self._uses())
        return _surveyed(uses, roots, agents, remembered), uses, at

    def _note(self, call: CallUse, use: TreeUse | None, at: float, working: Collection[Process]) -> None:
        if use is None or use.young_cpu is None:
            call.missed(at, self._window)
        else:
            call.note(use.young_cpu, at, self._window, works=any(one in working for one in use.nested))

    def _forget(self, living: Collection[Process]) -> None:
        for process in [one for one in self._trees if one not in living]:
            del self._trees[process]
            self._meter.forget(process)
        for process in [one for one in self._calls if one not in living]:
            del self._calls[process]


def _surveyed(
    uses: list[ProcessUse],
    roots: dict[Process, int | None],
    agents: Collection[Process],
    remembered: Remembered,
) -> Survey:
    return survey(uses, roots, agents=agents, remembered=remembered)


def _works(agent: Agent) -> bool:
    return agent.doing.activity == "working"


def _is_busy(agent: Agent) -> bool:
    return agent.doing.activity in ("working", "stalled", "blocked")
