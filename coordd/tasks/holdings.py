"""Decide what each agent holds, over all sources, and whether it is stalled.

The rule: an agent makes progress when a claim that it holds changes, or the reported progress of one of its
tasks, or its list of tasks. An active agent that holds a task and has made no progress for ``stall_after``
seconds is stalled; time in which its source could not be read, or coordd did not run, does not count. Pure
state: time is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.model import Status
from coordd.runtime.clocks import Moment
from coordd.runtime.deadlines import Deadlines
from coordd.tasks.event_buffer import EventBuffer, TaskEvent
from coordd.tasks.work import AgentHoldings, SourceTasks, TaskKey


class Holdings:
    """Judge what agents hold, in all sources.

    ``stalled`` has the stalled agents under the keys where they are shown. ``running`` is false while coordd
    starts: what is found then makes no event. ``version`` grows whenever ``stalled`` changes.

    Args:
        source_tasks: what is known of each source; the board fills it.
        store: all agents.
        events: takes the events.
        stall_after: agents.stall_after in seconds; it may be changed.
    """

    def __init__(
        self,
        *,
        source_tasks: dict[str, SourceTasks],
        store: AgentStore,
        events: EventBuffer,
        stall_after: float,
    ) -> None:
        self.stall_after = stall_after
        self.stalled: set[AgentKey] = set()
        self.running = True
        self.version = 0
        self._source_tasks = source_tasks
        self._store = store
        self._events = events
        self._due: set[AgentKey] = set()
        self._deadlines: Deadlines[AgentKey] = Deadlines(wanted=self._exists)

    def mark_due(self, keys: Iterable[AgentKey]) -> None:
        """Judge these agents, as (source in which they hold something, id), at the next :meth:`settle`."""
        self._due.update(keys)

    def mark_all_due(self, path: str) -> None:
        """Judge all agents that hold something in one source at the next :meth:`settle`."""
        self._due.update(AgentKey(path, agent_id) for agent_id in self._source_tasks[path].holdings)

    def moved(self, path: str) -> None:
        """Mark all stalled agents that hold something in this source to be judged again."""
        source = self._source_tasks[path]
        self._due.update(AgentKey(path, key[1]) for key in self.stalled if key[1] in source.holdings)

    def dropped(self) -> None:
        """Mark all stalled agents to be judged again: what they held may have gone with its source."""
        self._due.update(self.stalled)

    def settle(self, now: Moment) -> None:
        """Judge the agents that a change or the time has affected, up to this moment."""
        self._due.update(self._deadlines.take(now.mono))
        due, self._due = self._due, set()
        for path, agent_id in due:
            self._judge(path, agent_id, now)

    def next_deadline(self) -> float | None:
        """Return the monotonic time of the next possible change; never too late after :meth:`settle`."""
        return self._deadlines.first()

    def knows(self, key: AgentKey) -> bool:
        """Return whether all that this agent holds, and its progress, can be read."""
        agent = self._store.get(key)
        if agent is not None and agent.traces is not None and agent.traces.unnamed_tasks > 0:
            return False  # the progress of tasks that are only counted is unknown
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
            self._source_tasks[path].idle(holding, self._judged(path, now)) for path, holding in self.of(key)
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
        if self._store.status_of(key) is None:
            self.stalled.discard(key)
        if key in self.stalled:
            self._due.add(key)
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

    def _judge(self, path: str, agent_id: str, now: Moment) -> None:
        key = self._shown_key(path, agent_id)
        if key != (path, agent_id):
            self.stalled.discard(AgentKey(path, agent_id))
        holdings = []
        for where, holding in self.of(key):
            if holding.holds():
                holdings.append((where, holding))
            else:
                del self._source_tasks[where].holdings[agent_id]
        stalled = False
        if holdings and holdings[0][1].status == "active" and self.knows(key):
            idle = self.idle(key, now)
            stalled = idle >= self.stall_after
            if not stalled:
                self._deadlines.put(AgentKey(holdings[0][0], agent_id), now.mono + self.stall_after - idle)
            elif key not in self.stalled and self.running:
                held = self.tasks_of(key)
                event = TaskEvent("agent.stalled", key[0] or None, agent_id, tasks=held, idle=round(idle, 3))
                self._events.add(event)
        if stalled != (key in self.stalled):
            self.version += 1
            (self.stalled.add if stalled else self.stalled.discard)(key)

    def _sources(self, key: AgentKey) -> set[str]:
        """Return the sources that see the agent or in which it holds something."""
        held = [path for path, _ in self.of(key)]
        return {key.workspace, *held, *self._store.workspaces_of(key)}

    def _shown_key(self, path: str, agent_id: str) -> AgentKey:
        return self._store.resolve(path, agent_id)

    def _exists(self, key: AgentKey) -> bool:
        source = self._source_tasks.get(key[0])
        return source is not None and key[1] in source.holdings

    def _judged(self, path: str, now: Moment) -> float:
        return self._store.workspaces[path].clock.now(self._store.horizon(now.mono))
