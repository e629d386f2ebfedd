"""Decide what each agent holds, over all sources, and when it last made progress with it.

The rule: an agent makes progress when a claim that it holds changes, or the reported progress of one of its
tasks, or its list of tasks. Time in which its source could not be read, or coordd did not run, is no time
without progress. What that makes of its activity is decided by agents/activity.py. Pure state: time is passed
in.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.agents.work import Held
from coordd.model import Status
from coordd.runtime.clocks import Moment
from coordd.tasks.work import AgentHoldings, SourceTasks, TaskKey


class Holdings:
    """Keep what agents hold, in all sources; the store asks for it, and is told when it has changed.

    ``running`` is false while coordd starts: what is found then is no progress.

    Args:
        source_tasks: what is known of each source; the board fills it.
        store: all agents.
    """

    def __init__(self, *, source_tasks: dict[str, SourceTasks], store: AgentStore) -> None:
        self.running = True
        self._source_tasks = source_tasks
        self._store = store
        self._due: set[AgentKey] = set()
        store.judging.held = self.held

    def mark_due(self, keys: Iterable[AgentKey]) -> None:
        """Judge these agents, as (source in which they hold something, id), at the next :meth:`settle`."""
        self._due.update(keys)

    def mark_all_due(self, path: str) -> None:
        """Judge all agents that hold something in one source at the next :meth:`settle`."""
        self._due.update(AgentKey(path, agent_id) for agent_id in self._source_tasks[path].holdings)

    def moved(self, path: str) -> None:
        """Mark all stalled agents that hold something in this source to be judged again."""
        source = self._source_tasks[path]
        self._due.update(AgentKey(path, key[1]) for key in self._stalled() if key[1] in source.holdings)

    def dropped(self) -> None:
        """Mark all stalled agents to be judged again: what they held may have gone with its source."""
        self._due.update(self._stalled())

    def settle(self, now: Moment) -> None:
        """Have the agents judged that a change has affected, up to this moment."""
        due, self._due = self._due, set()
        keys = [self._cleared(path, agent_id) for path, agent_id in due]
        if keys:
            self._store.rejudge(keys, now.mono)

    def held(self, key: AgentKey, mono: float) -> Held:
        """Return what the activity of an agent depends on: whether it holds a task, and its progress."""
        if not self.knows(key):
            return Held(holds=None)
        idle = [
            self._source_tasks[path].idle(holding, self._judged(path, mono))
            for path, holding in self.of(key)
            if holding.holds()
        ]
        return Held(holds=bool(idle), idle=min(idle, default=None))

    def knows(self, key: AgentKey) -> bool:
        """Return whether all that this agent holds, and its progress, can be read."""
        agent = self._store.get(key)
        traces = None if agent is None else agent.traces
        if traces is not None and (traces.tasks is None or traces.unnamed_tasks > 0):
            return (
                False  # a list that cannot be read, or tasks whose progress is unknown: they are only counted
            )
        source_tasks = [self._source_tasks.get(path) for path in self._sources(key)]
        return all(
            source is not None and source.knows_claims and source.knows_progress for source in source_tasks
        )

    def knows_claims(self, key: AgentKey) -> bool:
        """Return whether all claims of this agent can be read."""
        source_tasks = [self._source_tasks.get(path) for path in self._sources(key)]
        return all(source is not None and source.knows_claims for source in source_tasks)

    def tasks_of(self, key: AgentKey) -> tuple[str, ...]:
        """Return the tasks that an agent claims or lists as its own, sorted."""
        return tuple(sorted({task for _, holding in self.of(key) for task in holding.holds()}))

    def idle(self, key: AgentKey, now: Moment) -> float:
        """Return the seconds since the last progress of an agent that holds something."""
        return min(
            self._source_tasks[path].idle(holding, self._judged(path, now.mono))
            for path, holding in self.of(key)
        )

    def of(self, key: AgentKey) -> list[tuple[str, AgentHoldings]]:
        """Return what the agent shown under this key holds, as (source, holdings) for each source."""
        agent_id = key[1]
        return [
            (path, source.holdings[agent_id])
            for path, source in self._source_tasks.items()
            if agent_id in source.holdings and self._shown_key(path, agent_id) == key
        ]

    def holder(self, path: str, agent_id: str | None) -> Status | None:
        """Return the status of the agent that a claim in this source names, None where it left no trace."""
        if agent_id is None:
            return None
        return self._store.status_of(self._store.resolve(path, agent_id))

    def agent_changed(self, key: AgentKey, now: Moment) -> list[TaskKey]:
        """Take over that an agent appeared or left, or that its verdict or list of tasks changed.

        Returns:
            The claims that have to be judged again for that, as (source, task).
        """
        agent_id = key[1]
        claims: list[TaskKey] = []
        # Claims in Redis may name an agent of a workspace, and claims in any workspace one that Redis names.
        holding_it = [path for path, source in self._source_tasks.items() if agent_id in source.holdings]
        for path in dict.fromkeys([key.workspace, *holding_it]):
            holding = self._changed_in(path, agent_id, now)
            if holding is not None:
                claims += [(path, task) for task in holding.claims]
        return claims

    def _changed_in(self, path: str, agent_id: str, now: Moment) -> AgentHoldings | None:
        agent = self._store.get(AgentKey(path, agent_id))
        tasks = agent.traces.tasks if agent and agent.traces else None if agent else ()
        source = self._source_tasks.get(path)
        if source is None:
            if not tasks or path not in self._store.workspaces:
                return None
            source = self._source_tasks[path] = SourceTasks()
        if not tasks and agent_id not in source.holdings:
            return None
        holding = source.holdings_of(agent_id)
        observed = self._store.workspaces[path].clock.now(now.mono)
        status = self.holder(path, agent_id)
        if status == "active" and holding.status == "inactive":
            holding.moved = observed  # an agent that comes back has a full stall_after again
        if tasks is not None and tasks != holding.tasks:
            if self.running and (holding.tasks is not None or tasks):
                holding.moved = observed
            holding.tasks = tasks
        holding.status = status
        self._due.add(AgentKey(path, agent_id))
        return holding

    def _cleared(self, path: str, agent_id: str) -> AgentKey:
        """Forget where an agent holds nothing any more; return the key under which it is shown."""
        key = self._shown_key(path, agent_id)
        for where, holding in self.of(key):
            if not holding.holds() and not holding.tasks:
                del self._source_tasks[where].holdings[agent_id]
        return key

    def _stalled(self) -> Iterable[AgentKey]:
        return self._store.with_activity("stalled")

    def _sources(self, key: AgentKey) -> set[str]:
        """Return the sources that see the agent or in which it holds something."""
        held = [path for path, _ in self.of(key)]
        own = {key.workspace} & self._store.workspaces.keys()
        return {*own, *held, *self._store.workspaces_of(key)}

    def _shown_key(self, path: str, agent_id: str) -> AgentKey:
        return self._store.resolve(path, agent_id)

    def _judged(self, path: str, mono: float) -> float:
        return self._store.workspaces[path].clock.now(self._store.horizon(mono))
