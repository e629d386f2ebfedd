"""Make one agent of its observations, and tell what a change of them is worth.

Pure. Each observation was reduced on its own source's clock (observation.py). The rule: the freshest beat
wins, a task that several sources list counts once, and a field of a registration counts as the source of the
lowest rank has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

from coordd.agents.doing import NOTHING, Doing
from coordd.agents.hooks import Hooks
from coordd.agents.identity import without_strangers, yields
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.liveness import Evidence, Verdict, judge
from coordd.agents.observation import Observation
from coordd.agents.seen_process import SeenProcess
from coordd.agents.session import Session
from coordd.agents.traces import AgentTraces, Registration
from coordd.agents.work import hooked_among, waiting_for
from coordd.model import Cause


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent as it is shown and recorded, joined from its observations.

    ``observations`` are in the order of their sources' ranks. ``verdict``, ``cause`` and ``doing`` are those
    of its last record. ``traces`` is None while any source was not read since a restart: what the records
    said of tasks and status then stands.
    """

    key: AgentKey
    observations: tuple[Observation, ...]
    verdict: Verdict
    cause: Cause
    traces: AgentTraces | None
    beat_wall: float | None
    beat_mono: float | None
    run_since: float | None
    doing: Doing = NOTHING

    def recorded(self, verdict: Verdict, cause: Cause, doing: Doing) -> Agent:
        """Return the agent with another last record."""
        return Agent(
            self.key,
            self.observations,
            verdict,
            cause,
            self.traces,
            self.beat_wall,
            self.beat_mono,
            self.run_since,
            doing,
        )

    @property
    def session(self) -> Session | None:
        """What the agent's own files say of its session, None where no source reads them."""
        if len(self.observations) == 1:  # the usual case: each beat comes by here
            return self.observations[0].session
        found = [one for one in self.observations if one.session is not None]
        if not found:
            return None
        found = [one for one in found if not yields(one)] or found
        living = (one.session for one in found if one.process is not None and one.process.lives)
        present = (one.session for one in found if one.session is not None and one.session.present)
        return next(living, None) or next(present, None) or found[0].session

    @property
    def hooks(self) -> Hooks | None:
        """What hooks of its session told last, None where none do."""
        one = hooked_among(without_strangers(self.observations))
        return one.hooks if one is not None else None

    @property
    def waiting_for(self) -> str | None:
        """What it waits for, in a known phrase, if it does wait; None where nothing says what for."""
        session, hooks = self.session, self.hooks
        return (waiting_for(session) if session else None) or (hooks.waiting_for if hooks else None)

    @property
    def process(self) -> SeenProcess | None:
        """The agent's process, a living one first, None where coordd never saw one."""
        if len(self.observations) == 1:
            return self.observations[0].process
        found = [one.process for one in self.observations if one.process is not None]
        return next((one for one in found if one.lives), found[0] if found else None)

    @property
    def sources(self) -> tuple[str, ...]:
        """The kinds of the sources that see the agent, each once."""
        if len(self.observations) == 1:
            return (self.observations[0].source.kind,)
        return tuple(dict.fromkeys(one.source.kind for one in self.observations))

    @property
    def active_tasks(self) -> int | None:
        """The number of tasks on the agent's own list; None is unknown."""
        if self.traces is None:
            return _restored_tasks(self.observations)
        return None if self.traces.tasks is None else len(self.traces.tasks) + self.traces.unnamed_tasks

    @property
    def declared_status(self) -> str | None:
        """The status that the agent gives itself in its registration; None where it gives none."""
        if self.traces is None:
            return _restored_status(self.observations)
        registration = self.traces.registration
        return registration.status if registration else None


def join(key: AgentKey, observations: Sequence[Observation], evidence: Evidence) -> Agent:
    """Return the agent that these observations are of; its cause is that of an agent that appears.

    Args:
        key: the agent's key.
        observations: at least one, in the order of their sources' ranks.
        evidence: what they tell together, as liveness.combine has it.
    """
    if len(observations) == 1:  # the usual case: each beat comes by here
        (one,) = observations
        run, wall, mono = one.run_since, one.beat_wall, one.beat_mono
        return Agent(key, (one,), judge(evidence), "appeared", one.traces, wall, mono, run)
    counted = without_strangers(observations)
    freshest = max(counted, key=_freshness)
    return Agent(
        key=key,
        observations=tuple(observations),
        verdict=judge(evidence),
        cause="appeared",
        traces=_joint_traces(counted),
        beat_wall=freshest.beat_wall,
        beat_mono=freshest.beat_mono,
        run_since=_joint_run(freshest, counted, evidence.timeout),
    )


def difference(before: Agent, after: Agent) -> Cause | None:
    """Return what makes the step from one picture of an agent to the next worth a record; None: nothing.

    A beat that several sources report is one beat: then the observed clock of each is left out of account.
    That one of them tells of the agent no longer is no beat, and no verdict of its own: time alone decides
    what the silence of the rest means. But what is recorded last has to be what is shown.
    """
    if len(before.observations) == len(after.observations) == 1:
        were, are = {before.observations[0].source}, {after.observations[0].source}
    else:
        were, are = ({one.source for one in agent.observations} for agent in (before, after))
    if were - are and not are - were:
        return _without_a_source(before, after)
    if are - were:
        return "heartbeat"
    if before.beat_wall != after.beat_wall:
        return "progress" if _is_progress(before, after) else "heartbeat"
    if len(are) == 1 and before.beat_mono != after.beat_mono:
        return "heartbeat"
    if before.verdict != after.verdict:
        return "verdict"
    return "tasks" if before.active_tasks != after.active_tasks else _progressed(before, after)


def label_of(agent: Agent) -> str:
    """Return what a person calls an agent: its name with its id, or its id alone."""
    name = agent.session.name if agent.session else None
    agent_id = agent.key.agent_id
    return agent_id if name in (None, agent_id) else f"{name} ({agent_id})"


def place_words(agent: Agent) -> str:
    """Return where an agent works, as a sentence goes on: ``in /home/ann/src/app``, ``in Redis``."""
    if agent.key.workspace == NO_WORKSPACE and all(map(yields, agent.observations)):
        user = agent.session.user if agent.session else None
        return "in a directory that coordd may not see" + (f" (user {user})" if user else "")
    if agent.key.workspace == NO_WORKSPACE and "redis" not in agent.sources:
        return "in an unknown place"
    return agent.key.place_words


def _without_a_source(before: Agent, after: Agent) -> Cause | None:
    """Return the same where fewer sources tell of the agent than before."""
    if before.active_tasks != after.active_tasks:
        return "tasks"
    same = (before.sources, before.beat_wall) == (after.sources, after.beat_wall)
    return None if same else "verdict"


def _is_progress(before: Agent, after: Agent) -> bool:
    """Return whether a beat is but a hook of a turn that goes on: those come by the second."""
    if after.hooks is None or before.verdict != after.verdict or before.active_tasks != after.active_tasks:
        return False
    freshest = max(without_strangers(after.observations), key=_freshness)
    return freshest.hooks is not None and freshest.hooks.told


def _progressed(before: Agent, after: Agent) -> Cause | None:
    """Return whether its turn went on; what it was in the last run the records do not tell."""
    if before.traces is None or _progress(before.session) == _progress(after.session):
        return None
    return "progress"


def _progress(session: Session | None) -> object:
    """Return what a record shows of a session and its turn, which changes all the time."""
    if session is None:
        return None
    return session.session_id, session.name, session.waiting_for, session.turn


def _freshness(one: Observation) -> tuple[bool, float]:
    return one.beat_wall is not None, -math.inf if one.beat_mono is None else one.beat_mono


def _joint_run(freshest: Observation, observations: Sequence[Observation], timeout: float) -> float | None:
    """Return the start of the unbroken run, across sources where no gap is longer than the timeout."""
    start = freshest.run_since
    for one in sorted(observations, key=_freshness, reverse=True):
        if start is None or one.run_since is None or one.beat_wall is None:
            continue
        if one.beat_wall >= start - timeout:
            start = min(start, one.run_since)
    return start


def _joint_traces(observations: Sequence[Observation]) -> AgentTraces | None:
    every = [one.traces for one in observations if one.traces is not None]
    if len(every) < len(observations):
        return None  # one was not read again since the restart: the recorded values stay
    if len(every) == 1:
        return every[0]
    tasks: tuple[str, ...] | None = None
    lists = [one.tasks for one in every if one.tasks is not None]
    if len(lists) == len(every):
        filled = [tasks for tasks in lists if tasks]
        tasks = (
            filled[0] if len(filled) == 1 else tuple(dict.fromkeys(task for one in filled for task in one))
        )
    registrations = [one.registration for one in every if one.registration is not None]
    return AgentTraces(
        agent_id=every[0].agent_id,
        heartbeat=next((one.heartbeat for one in every if one.heartbeat), None),
        registration=reduce(_complete, registrations) if registrations else None,
        tasks=tasks,
        listed=any(one.listed for one in every),
        unnamed_tasks=sum(one.unnamed_tasks for one in every),
        session=next((one.session for one in sorted(every, key=_knows_least) if one.session), None),
        hooks=next((one.hooks for one in every if one.hooks), None),
    )


def _knows_least(one: AgentTraces) -> bool:
    return one.session is not None and one.session.process_only


def _complete(first: Registration, second: Registration) -> Registration:
    """Return a registration with the fields that it lacks taken from a second one."""
    missing = {
        field.name: getattr(second, field.name)
        for field in fields(Registration)
        if getattr(first, field.name) is None
    }
    return replace(first, **missing)


def _restored_tasks(observations: Sequence[Observation]) -> int | None:
    recorded = [one.restored.tasks for one in observations if one.restored]
    return None if None in recorded else next(iter(recorded), None)


def _restored_status(observations: Sequence[Observation]) -> str | None:
    for one in observations:
        registration = one.traces.registration if one.traces else None
        status = registration.status if registration else one.restored.status if one.restored else None
        if status is not None:
            return status
    return None
