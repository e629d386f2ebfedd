"""Hold all agents as clients are shown them, and judge them at the moment of asking.

The rule: a change enters the store (:meth:`AgentStore.show`) after its record was written; until then the
store shows what was before. Verdicts are computed when they are read: a heap of deadlines tells which agents
have fallen silent since, so that counting costs only what changed. The store reads no clock and does no I/O.

Silence alone makes no agent inactive at once where its sources are read once more first (``rereads``)::

    active      its deadline has passed: it is *suspected*, and shown as before
    suspected   a beat: active again
                :meth:`AgentStore.take_unrecorded`: it is *in doubt*, for its sources are being read
    in doubt    a beat: active again
                :meth:`AgentStore.confirm`, after the reading: inactive, or unknown where that failed
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from coordd.agents.activity import judge_activity
from coordd.agents.doing import may_do, shown_activity
from coordd.agents.join import Agent
from coordd.agents.judging import Judging, Limits
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.observation import Observation
from coordd.agents.roster import Roster
from coordd.agents.shown import ShownAgent, ShownObservation
from coordd.agents.source import SourceName, SourceState
from coordd.model import Activity, AgentCounts, Reason, Status, SystemSample
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.deadlines import Deadlines

_LEAST: Final = 0.001  # seconds: a deadline lies in the future


class AgentStore:
    """Hold all agents, their sources and the latest system sample, with counters kept as they change.

    ``sources`` has every source by name, ``workspaces`` those that hold tasks beside agents, by workspace.
    ``on_change`` is called with the key of each agent that appears, leaves, or changes its status, its tasks
    or who tells of it. ``version`` grows with every change, ``needs_version`` with those of agents
    that are not well.

    Args:
        limits: the settings that bound silence; they may be replaced in ``judging``, before
            :meth:`rejudge_all`.
        loop_monitor: knows the latest moment at which agents may be judged.
    """

    def __init__(self, *, limits: Limits, loop_monitor: LoopMonitor) -> None:
        self.sources: dict[SourceName, SourceState] = {}
        self.judging = Judging(self.sources, limits)
        self.workspaces: dict[str, SourceState] = {}
        self.system: SystemSample | None = None
        self.version = 0
        self.needs_version = 0
        self.rereads = False
        self.on_change: Callable[[AgentKey], None] = lambda _key: None
        self._loop_monitor = loop_monitor
        self._agents: dict[AgentKey, Agent] = {}
        self._only_key: dict[str, AgentKey] = {}  # of each id that one agent has: the usual case
        self._several_keys: dict[str, tuple[AgentKey, ...]] = {}
        self._roster = Roster()
        self._overdue: set[AgentKey] = set()
        self._suspected: set[AgentKey] = set()
        self._in_doubt: set[AgentKey] = set()
        self._deadlines: Deadlines[AgentKey] = Deadlines(wanted=self._roster.__contains__)

    def __len__(self) -> int:
        return len(self._roster)

    def add_source(self, state: SourceState) -> None:
        """Show a source, and judge its agents on its clock from now on."""
        if state.holds_tasks and state.workspace in self.workspaces:
            holder = self.workspaces[state.workspace].name
            raise ValueError(f"the tasks of {state.workspace!r} are held by {holder}, not by {state.name}")
        self.sources[state.name] = state
        if state.holds_tasks:
            self.workspaces[state.workspace] = state

    def drop_source(self, state: SourceState) -> None:
        """Show a source no longer; no agent has an observation of it left."""
        self.sources.pop(state.name, None)
        if self.workspaces.get(state.workspace) is state:
            del self.workspaces[state.workspace]

    def named_workspace(self, path: str | None) -> str | None:
        """Return the name of the workspace to which a path leads; the path itself where it leads to none."""
        if path and path not in self.workspaces:
            for name, source in self.workspaces.items():
                if path in source.aliases:
                    return name
        return path

    def project_of(self, workspace: str) -> str | None:
        """Return the project that a workspace belongs to, None where no source of it says so."""
        source = self.workspaces.get(workspace)
        return source.project if source is not None else None

    def get(self, key: AgentKey) -> Agent | None:
        """Return the agent with this key, as it was last recorded."""
        return self._agents.get(key)

    def resolve(self, workspace: str, agent_id: str) -> AgentKey:
        """Return the key of the agent that a claim in this workspace means by ``agent_id``.

        That is the workspace's own agent, or else the one that names no workspace (or whose workspace was
        found by its id alone). A claim that names no workspace means the agent that names none, or else the
        only one with this id.
        """
        own = AgentKey(workspace, agent_id)
        if own in self._agents:
            return own
        keys = self._keys_of(agent_id)
        for key in keys:
            if any(one.workspace == NO_WORKSPACE for one in self._agents[key].observations):
                return key
        return keys[0] if workspace == NO_WORKSPACE and len(keys) == 1 else own

    def named(self, agent_id: str) -> list[Agent]:
        """Return the agents with this id, in whatever workspace."""
        return [self._agents[key] for key in self._keys_of(agent_id)]

    def workspaces_of(self, key: AgentKey) -> list[str]:
        """Return the workspaces that hold tasks of the sources that see this agent; Redis is NO_WORKSPACE."""
        agent = self._agents.get(key)
        states = [self.sources.get(one.source) for one in agent.observations] if agent else []
        return [state.workspace for state in states if state is not None and state.holds_tasks]

    def show(self, agent: Agent, mono: float) -> None:
        """Show an agent as it was just recorded."""
        key, before = agent.key, self._agents.get(agent.key)
        self._agents[key] = agent
        if before is None:
            self._set_keys(key.agent_id, sorted((*self._keys_of(key.agent_id), key)))
        if before is None or _tasks(before) != _tasks(agent) or _tellers(before) != _tellers(agent):
            self.on_change(key)
        self.version += 1
        self._update(
            agent,
            mono,
            beaten=before is not None
            and before.doing is agent.doing
            and is_beat(before, agent, agent.verdict),
        )

    def hide(self, key: AgentKey) -> None:
        """Show an agent no longer; a key without an agent changes nothing."""
        if self._agents.pop(key, None) is None:
            return
        self._set_keys(key.agent_id, [one for one in self._keys_of(key.agent_id) if one != key])
        self._roster.leave(key)
        self._overdue.discard(key)
        self._suspected.discard(key)
        self._in_doubt.discard(key)
        self.version += 1
        self.needs_version += 1
        self.on_change(key)

    def rejudge(self, keys: Iterable[AgentKey], mono: float) -> None:
        """Judge these agents again, after a clock of theirs changed or a source was lost or regained."""
        for key in keys:
            if (agent := self._agents.get(key)) is not None:
                self._update(agent, mono)

    def rejudge_all(self, mono: float) -> None:
        """Judge all agents again, after a gap or a change of a limit."""
        self._deadlines.clear()
        self._overdue.clear()
        self.rejudge(list(self._agents), mono)

    def counts(self, mono: float) -> AgentCounts:
        """Return the number of agents with each status at this moment."""
        self.expire(mono)
        return self._roster.counts()

    def expire(self, mono: float) -> None:
        """Judge the agents whose deadline has passed."""
        horizon = self._loop_monitor.horizon(mono)
        for due in self._deadlines.take(horizon):
            if (agent := self._agents.get(due)) is not None:
                self._update(agent, horizon)

    def horizon(self, mono: float) -> float:
        """Return the latest moment at which agents may be judged: ``mono``, or earlier after a gap."""
        return self._loop_monitor.horizon(mono)

    def activity_counts(self) -> dict[Activity, int]:
        """Return the number of agents with each activity, as :meth:`expire` last found them."""
        return self._roster.activity_counts()

    def with_activity(self, activity: Activity) -> list[AgentKey]:
        """Return the keys of the agents with this activity, as :meth:`expire` last found them, in order."""
        return sorted(self._roster.doing(activity))

    def inactive_count(self, reason: Reason) -> int:
        """Return the number of agents that are listed as inactive for this reason, as last recorded."""
        return sum(self._agents[key].verdict.reason == reason for key in self._roster.inactive)

    def with_process(self) -> Iterator[Agent]:
        """Yield the active agents of which a process lives."""
        for key in self._roster.with_activity():
            process = self._agents[key].process
            if process is not None and process.lives:
                yield self._agents[key]

    def inactive(self) -> list[AgentKey]:
        """Return the keys of the inactive agents, as :meth:`expire` last found them, in order."""
        return sorted(self._roster.inactive)

    def keys_in(self, workspace: str) -> Iterator[AgentKey]:
        """Yield the keys of the agents of one workspace that are shown, in order."""
        return self._roster.keys(workspace=workspace)

    def status_of(self, key: AgentKey) -> Status | None:
        """Return the status as :meth:`expire` last found it, None where no such agent is shown."""
        return self._roster.status(key)

    def next_deadline(self) -> float | None:
        """Return the monotonic time of the next possible change; it may be early, never late."""
        return self._deadlines.first()

    @property
    def has_unrecorded(self) -> bool:
        """Whether any agent is known to differ from its last record, or to have been silent for too long."""
        return self._roster.has_outdated or bool(self._overdue) or bool(self._suspected)

    def take_unrecorded(self, mono: float) -> list[AgentKey]:
        """Return the agents whose verdict differs from their last record, and those suspected, each once.

        The suspected are in doubt from now on: :meth:`confirm` has to be called for them.
        """
        self.expire(mono)
        suspected, self._suspected = self._suspected, set()
        self._in_doubt |= suspected
        return sorted({*self._roster.take_outdated(), *suspected})

    def confirm(self, keys: Iterable[AgentKey], mono: float) -> None:
        """Judge agents that are in doubt by their silence, now that their sources were read once more."""
        for key in keys:
            if key in self._in_doubt:
                self._update(self._agents[key], mono, confirmed=True)

    def take_overdue(self) -> set[AgentKey]:
        """Return the keys of the agents that have been silent for forget_after, and forget them."""
        overdue, self._overdue = self._overdue, set()
        return overdue

    def shown(
        self,
        mono: float,
        *,
        status: str | None = None,
        activity: str | None = None,
        workspace: str | None = None,
        after: AgentKey | None = None,
        wall: float | None = None,
    ) -> Iterator[ShownAgent]:
        """Yield the agents in the order (workspace, id), judged at this moment, starting after a key."""
        self.expire(mono)
        for key in self._roster.keys(workspace=workspace, after=after):
            if status not in (None, self._roster.status(key)):
                continue
            if activity in (None, self._roster.activity(key)):
                yield self.look(self._agents[key], mono, wall)

    def look(self, agent: Agent, mono: float, wall: float | None = None) -> ShownAgent:
        """Return an agent as it is shown, judged at this moment.

        ``wall`` is the same moment in epoch seconds, for a change that nothing but time has told.
        """
        horizon = self._loop_monitor.horizon(mono)
        evidence = self.judging.evidence_of(agent.observations, horizon)
        if self._is_suspect(agent, evidence):
            evidence = replace(evidence, silence=math.nextafter(evidence.timeout, 0.0))
        verdict = judge(evidence)
        doing = self.judging.doing(agent, verdict, agent.doing, horizon=horizon, wall=wall)
        tree = self.judging.tree_of(agent)
        return ShownAgent(agent, verdict, evidence, _age(agent.beat_mono, mono), doing, tree)

    def look_at_sources(self, agent: Agent, mono: float) -> list[ShownObservation]:
        """Return what each source alone tells of an agent."""
        horizon = self._loop_monitor.horizon(mono)
        return [
            ShownObservation(one, self.judging.evidence_of((one,), horizon), _age(one.beat_mono, mono))
            for one in agent.observations
        ]

    def malformed(self) -> Iterable[tuple[str, str]]:
        """Yield the traces that cannot be used right now, each with the reason."""
        for source in self.sources.values():
            yield from source.malformed.items()

    def _keys_of(self, agent_id: str) -> tuple[AgentKey, ...]:
        """Return the keys of the agents with this id, in order."""
        only = self._only_key.get(agent_id)
        return self._several_keys.get(agent_id, ()) if only is None else (only,)

    def _set_keys(self, agent_id: str, keys: Sequence[AgentKey]) -> None:
        self._only_key.pop(agent_id, None)
        self._several_keys.pop(agent_id, None)
        if len(keys) == 1:
            self._only_key[agent_id] = keys[0]
        elif keys:
            self._several_keys[agent_id] = tuple(keys)

    def _is_suspect(self, agent: Agent, evidence: Evidence) -> bool:
        """Return whether silence alone, not confirmed yet, would make an agent inactive that is active."""
        return (
            self.rereads
            and agent.verdict.status == "active"
            and evidence.silence is not None
            and evidence.silence >= evidence.timeout
            and self._roster.status(agent.key) == "active"
            and judge(evidence).reason == "silent"
        )

    def _update(self, agent: Agent, mono: float, *, confirmed: bool = False, beaten: bool = False) -> None:
        """Judge an agent, and put a deadline at the moment when time alone can change that.

        ``beaten``: nothing but a beat is new, which changes no activity.
        """
        horizon = self._loop_monitor.horizon(mono)
        evidence = self.judging.evidence_of(agent.observations, horizon)
        if not confirmed and self._is_suspect(agent, evidence):
            if agent.key not in self._in_doubt:
                self._suspected.add(agent.key)
            return
        self._suspected.discard(agent.key)
        self._in_doubt.discard(agent.key)
        verdict = judge(evidence)
        activity = self._roster.activity(agent.key)
        if not may_do(verdict):
            activity = None
        elif agent.traces is None:
            # not read since the restart: what the records say stands
            activity = shown_activity(verdict, agent.doing.activity or "unknown")
        elif not beaten or activity is None:
            work = self.judging.activity_of(agent.key, agent.observations, horizon)
            activity = shown_activity(verdict, judge_activity(work).activity)
            change = self.judging.next_change(agent.observations, work) if activity is not None else None
            if change is not None:
                self._deadlines.put(agent.key, mono + max(_LEAST, change))
        if self._roster.enter(agent.key, verdict.status, activity):
            self.version += 1
            self.needs_version += 1
            self.on_change(agent.key)
        elif verdict.status != "active" or activity in ("waiting", "blocked", "stalled"):
            self.needs_version += 1
        recorded = agent.doing.activity  # None: by a version whose records tell of no activity
        outdated = verdict.status != agent.verdict.status or recorded not in (None, activity)
        self._roster.set_outdated(agent.key, outdated)
        if verdict.reason == "heartbeat" and evidence.silence is not None:
            # It can come back with a beat older than the one before: the earlier deadline then counts.
            self._deadlines.put(agent.key, mono + max(_LEAST, evidence.timeout - evidence.silence))
        else:
            self._await_forgetting(agent.key, agent.observations, mono)
        if len(agent.observations) > 1:
            for one in agent.observations:
                self._await_forgetting(agent.key, (one,), mono)

    def _await_forgetting(self, key: AgentKey, observations: Collection[Observation], mono: float) -> None:
        """Put a deadline at the moment when all of these observations of an agent are to be forgotten."""
        if all(one.dormant for one in observations):
            return
        horizon = self._loop_monitor.horizon(mono)
        left = self.judging.time_to_forget(self.judging.evidence_to_forget(observations, horizon))
        if left == 0.0:
            self._overdue.add(key)
        elif left is not None:
            self._deadlines.put(key, mono + max(_LEAST, left))


def is_beat(before: Agent, after: Agent, verdict: Verdict) -> bool:
    """Return whether nothing on which the activity depends differs between two pictures of an agent.

    ``verdict`` is that of the later one.
    """
    if before.verdict.status != verdict.status:
        return False
    was, now = before.observations, after.observations
    if len(was) == len(now) == 1:
        return _same_work(was[0], now[0])
    return len(was) == len(now) and all(_same_work(*pair) for pair in zip(was, now, strict=True))


def _same_work(one: Observation, other: Observation) -> bool:
    if one is other:
        return True
    if one.traces is None or other.traces is None or one.process != other.process:
        return False
    was, now = one.traces, other.traces
    same = was.session is now.session and was.hooks == now.hooks
    return same and was.tasks == now.tasks and was.registration is now.registration


def _tasks(agent: Agent) -> tuple[tuple[str, ...] | None, int] | None:
    return (agent.traces.tasks, agent.traces.unnamed_tasks) if agent.traces else None


def _tellers(agent: Agent) -> list[tuple[SourceName, str]]:
    """Return what tells of the agent: that decides which claims may mean it, and whether all are known."""
    return [(one.source, one.workspace) for one in agent.observations]


def _age(beat_mono: float | None, mono: float) -> float | None:
    return None if beat_mono is None else max(0.0, mono - beat_mono)
