"""List the processes that outlived their agents, when somebody asks: whose they were, and what they use.

coordd ends none of them. One look serves all who ask within a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from coordd.agents.store import AgentStore
from coordd.host.listening import ports_of
from coordd.host.process_facts import ProbeFailed, Process
from coordd.host.processes import glance
from coordd.host.trees import TreeMeter, TreeUse
from coordd.intake.lineage import Left, Owner, owner_of
from coordd.intake.trees import TreeSampling
from coordd.model import OrphanView
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.util.one_at_a_time import OneAtATime
from coordd.util.timestamps import format_utc

DEADLINE = 5.0
"""Seconds that a look at the ports and starts of all of them may take."""
KEPT = 1.0
"""Seconds for which a list answers others who ask."""
MOST = 1000
"""Processes that are listed."""


class Details(NamedTuple):
    """What a look at one process tells beside what it uses: when it started, where it listens."""

    started: float | None
    ports: tuple[int, ...] | None


class Orphans:
    """Answer which processes outlived their agents.

    Args:
        trees: passes over all processes, and remembers whose they are.
        store: all agents.
        worker: the thread that looks at them; it has to be replaceable.
        complete: returns whether every living session of a kind of this user would be known, so that one that
            is not known is over.
    """

    def __init__(
        self,
        *,
        trees: TreeSampling,
        store: AgentStore,
        worker: Worker,
        complete: Callable[[str], bool],
        details: Callable[[Collection[Process]], Mapping[Process, Details]] | None = None,
    ) -> None:
        self._trees = trees
        self._store = store
        self._worker = worker
        self._complete = complete
        self._details = details or look_at
        self._meter = TreeMeter(processors=os.cpu_count() or 1)
        self._measured: set[Process] = set()
        self._last: tuple[float, list[OrphanView]] | None = None
        self._look = OneAtATime(self._find)

    async def listed(self) -> list[OrphanView] | None:
        """Return them, by agent and start; None: that cannot be told now."""
        if self._last is not None and now().mono - self._last[0] < KEPT:
            return self._last[1]
        return await self._look()

    async def _find(self) -> list[OrphanView] | None:
        try:
            survey, at = await self._trees.look()
        except DeadlineMissed:
            return None
        found = [(one, owner) for one in self._trees.lineage.left(survey) if (owner := self._owner(one))]
        processes = [Process(one.use.pid, one.use.start) for one, _ in found[:MOST]]
        shares = self._shares(found, at)
        try:
            details = await self._worker.run(self._details, processes, deadline=DEADLINE)
        except DeadlineMissed:
            details = {}
        listed = [
            _view(one, owner, shares[process].cpu_percent, details.get(process))
            for process, (one, owner) in zip(processes, found, strict=False)
        ]
        listed.sort(key=_order)
        self._last = now().mono, listed
        return listed

    def _shares(self, found: Collection[tuple[Left, Owner]], at: float) -> dict[Process, TreeUse]:
        uses = {Process(one.use.pid, one.use.start): TreeUse(1, one.use.cpu, one.use.rss) for one, _ in found}
        for gone in self._measured - uses.keys():
            self._meter.forget(gone)
        self._measured = set(uses)
        return self._meter.with_shares(uses, at)

    def _owner(self, one: Left) -> Owner | None:
        """Return whose a process was; None where its session may live, for all that is known."""
        if one.owner is not None:
            return one.owner
        if one.session_id is None or one.kind is None:
            return None
        agents = self._store.named(one.session_id)
        if agents:
            over = all(self._store.status_of(agent.key) == "inactive" for agent in agents)
            return owner_of(agents[0]) if over else None
        if not one.certain or not self._complete(one.kind):
            return None
        return Owner(agent_id=None, kind=one.kind, session_id=one.session_id)


def look_at(processes: Collection[Process]) -> dict[Process, Details]:
    """Return the details of those that live still; in a thread."""
    found = {}
    ports = ports_of(processes)
    for process in processes:
        try:
            seen = glance(process.pid)
        except ProbeFailed:
            seen = None
        if seen is not None and seen.process == process:
            found[process] = Details(seen.started, ports[process])
    return found


def _order(one: OrphanView) -> tuple[object, ...]:
    """Sort by agent and start; those of which a session id alone is known come last."""
    return one.agent_id is None, one.workspace or "", one.agent_id or "", one.proc_start, one.pid


def _view(one: Left, owner: Owner, cpu_percent: float | None, details: Details | None) -> OrphanView:
    started = details.started if details is not None else None
    age = None if started is None else max(0.0, now().wall - started)
    if cpu_percent is None and age:
        cpu_percent = round(100 * one.use.cpu / age, 1)
    return OrphanView(
        pid=one.use.pid,
        proc_start=one.use.start,
        name=one.use.name or None,
        agent_id=owner.agent_id,
        agent_name=owner.name,
        kind=owner.kind,
        session_id=owner.session_id,
        workspace=owner.workspace,
        project=owner.project,
        started_at=None if started is None else format_utc(started),
        age=None if age is None else round(age, 3),
        cpu_seconds=round(one.use.cpu, 3),
        cpu_percent=cpu_percent,
        rss=one.use.rss,
        ports=details.ports if details is not None else None,
    )
