"""Take readings of agents: reduce them, join what is of one agent, record the difference, then show it.

It stands between the sources that are read (source.py) and the store, which judges. What a change of
observations leads to:

=======================================  ==========================================  =====================
what is shown of an agent                record, by its ``cause``                    event
=======================================  ==========================================  =====================
it is there for the first time           ``appeared``                                ``agent.<status>``
the same, while coordd starts            ``start``                                   none
it is there under another key            ``appeared``, and ``removed`` under the     ``agent.<status>``,
                                         key before unless others remain there       if that changed
another source tells of it as well       ``heartbeat``                               the same
its beat, verdict or tasks changed       ``heartbeat``, ``verdict``, ``tasks``       the same
what it does changed                     ``activity``                                see announcing.py
its turn went on                         ``progress``, each 15 s at most             none
a source tells of it no longer           ``tasks`` or ``verdict``, if that shows     none
nothing that is shown changed            none                                        none
it has left, or is silent for too long   ``removed``                                 ``agent.removed``
=======================================  ==========================================  =====================

Too long is ``forget_after``. Each step runs in this order: reduce and join at once, record, show. So no agent
is shown whose record was not written, and steps that are written at the same time cannot take each other's
changes back: each compares with what the step before it made, whether that is shown yet or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from coordd.agents.beats import Reading
from coordd.agents.identity import process_of
from coordd.agents.join import Agent, join
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.observation import Observation, ObservationKey, observe
from coordd.agents.observations import Observations
from coordd.agents.remembered import RememberedAgent, by_place
from coordd.agents.seen_process import SeenProcess
from coordd.agents.session import Session
from coordd.agents.source import SourceName, SourceState
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces
from coordd.intake.claims import NoClaims, ProcessClaims
from coordd.intake.comparing import Comparing, Step
from coordd.model import Cause
from coordd.runtime.clocks import Moment
from coordd.runtime.footprint import Growth
from coordd.runtime.schedule import now
from coordd.sinks.recorder import Recorder
from coordd.util.slices import slices

MOST_FORGOTTEN = 10_000
"""The number of agents of which the next run is told that they are forgotten."""


class AgentIntake:
    """Put readings of agents into the store, and record what changes there.

    ``running`` is false while coordd starts: agents found then were there before. ``claims`` is told which
    processes observations name. ``on_doing`` is called with each agent whose activity or process is shown
    anew.
    """

    def __init__(self, *, store: AgentStore, recorder: Recorder, host: str) -> None:
        self.claims: ProcessClaims = NoClaims()
        self.on_doing: Callable[[Agent], None] = lambda _agent: None
        self._store = store
        self._recorder = recorder
        self._comparing = Comparing(store=store, recorder=recorder, host=host)
        self._observations = Observations()
        self._steps = 0
        self._unshown: dict[AgentKey, tuple[int, Agent | None]] = {}
        self._growth = Growth()

    @property
    def running(self) -> bool:
        """Whether coordd has started: agents found before were there before."""
        return self._comparing.running

    @running.setter
    def running(self, running: bool) -> None:
        self._comparing.running = running

    def add_source(self, state: SourceState) -> None:
        """Take readings of a source from now on."""
        self._store.add_source(state)
        self._observations.add_source(state.name, state.rank)

    def known(self, source: SourceName) -> Mapping[str, Observation]:
        """Return what one source tells, by the agent's id: a view that follows every change."""
        return self._observations.of_source(source)

    def agents_of(self, source: SourceName) -> set[AgentKey]:
        """Return the keys of all agents of which a source tells."""
        return {self._observations.key_of(one) for one in self.known(source).values()}

    async def restore(self, remembered: Iterable[RememberedAgent], moment: Moment) -> None:
        """Show agents as the last run knew them, until their sources are read.

        What a source that is read no longer told of them is dropped. An agent that is now another than in the
        last run, because other sources are read, is recorded so. Where records of several agents name one
        source that tells of one of them, the last record is right: the others have not been written since.
        One that was forgotten stays away until its next beat, whatever it has left.

        Args:
            remembered: the agents, from the records.
            moment: now.
        """
        touched: set[AgentKey] = set()
        told: dict[ObservationKey, Agent] = {}
        sources = by_place(self._store.sources.values())
        for one in sorted(remembered, key=_last_recorded):
            observations = one.observations(sources, moment)
            if not observations:
                continue
            for observation in observations:
                touched |= self._observations.put(observation)
                self.claims.observed(None, observation)
            if one.dormant:
                continue
            agent = one.agent(observations)
            told |= dict.fromkeys((observation.place for observation in observations), agent)
            if one.key.workspace in {observation.workspace for observation in observations}:
                self._unshown[one.key] = (0, agent)
                touched.add(one.key)
        await self._commit(self._step(touched, moment, restored=told))

    async def take(
        self, state: SourceState, agents: Mapping[str, AgentTraces | None], reading: Reading
    ) -> None:
        """Take over agents of one source as they were read.

        Args:
            state: the source.
            agents: their traces by id, None for an agent without any trace.
            reading: when and how they were read.
        """
        touched: set[AgentKey] = set()
        known = self.known(state.name)
        for agent_id, traces in agents.items():
            old = known.get(agent_id)
            if traces is None:
                touched |= self._observations.remove(state.name, agent_id)
                self.claims.removed((state.name, agent_id))
                continue
            if old is not None and old.traces is traces:
                continue  # only time can change the verdict, and a deadline watches it
            if old is None and traces.session is not None and not traces.session.lives:
                continue  # its process was never seen alive, or it was forgotten since
            new = observe(old, (state.name, agent_id), state.workspace, traces, reading)
            if new is not old:
                new = self.claims.observed(old, new)
                touched |= self._observations.put(new)
        await self._commit(self._step(touched, now()))

    async def set_processes(self, processes: Mapping[ObservationKey, SeenProcess | None]) -> None:
        """Take over what is known now of the processes of observations; None: they are of none.

        An observation that names another process by now stays as it is.
        """
        for some in slices(processes.items()):
            touched: set[AgentKey] = set()
            for place, process in some:
                one = self._observations.find(place)
                if one is not None and one.process != process:
                    touched |= self._observations.put(replace(one, process=process))
            if touched:
                await self._commit(self._step(touched, now()))
                await asyncio.sleep(0)

    def observation(self, place: ObservationKey) -> Observation | None:
        """Return an observation, None where its source does not tell of that agent."""
        return self._observations.find(place)

    def session_beside(self, one: Observation) -> Session | None:
        """Return what another observation of this agent and process says of its session; None: nothing."""
        for other in self._observations.of_agent(self._observations.key_of(one)):
            known = other.session is not None and not other.session.process_only
            if known and process_of(other) == process_of(one):
                return other.session
        return None

    async def record_progress(self) -> None:
        """Record the progress that was held back, of those whose time has come."""
        moment = now()
        step = Step(moment.wall)
        for key in self._comparing.progress.take(moment.mono):
            before = self._latest(key)
            if before is not None:
                after = replace(before, cause="progress")
                step.samples.append(self._comparing.sample(after, step.wall))
                step.shown[key] = after
        await self._commit(step)

    @property
    def progress_due(self) -> float | None:
        """The monotonic time of the next :meth:`record_progress`, None where no progress is held back."""
        return self._comparing.progress.due

    async def redate(self, state: SourceState) -> None:
        """Date beats that were seen while silence did not count as of the end of that time.

        They were dated on a clock that ran on; it has been set back since.
        """
        moment = now()
        observed = state.clock.now(moment.mono)
        for some in slices(self.known(state.name).values()):
            touched: set[AgentKey] = set()
            for one in some:
                if one.beat_at is not None and one.beat_at > observed and self._is_known(one):
                    touched |= self._observations.put(replace(one, beat_at=observed))
            if touched:
                await self._commit(self._step(touched, moment))
            await asyncio.sleep(0)

    async def drop(self, state: SourceState) -> None:
        """Remove all that a source tells: it is read no longer."""
        for some in slices(self.known(state.name)):
            touched: set[AgentKey] = set()
            for agent_id in some:
                touched |= self._observations.remove(state.name, agent_id)
                self.claims.removed((state.name, agent_id))
            await self._commit(self._step(touched, now(), words="left with its workspace"))
            await asyncio.sleep(0)
        self._observations.drop_source(state.name)

    async def record_verdicts(self, keys: Iterable[AgentKey]) -> None:
        """Record the verdicts that the store shows of these agents, where their last record differs."""
        moment = now()
        step = Step(moment.wall)
        for key in keys:
            before = self._latest(key)
            if before is None:
                continue
            shown = self._store.look(before, moment.mono, moment.wall)
            same = shown.verdict.status == before.verdict.status
            if not same or before.doing.activity not in (None, shown.doing.activity):
                cause: Cause = "activity" if same else "verdict"
                verdict = before.verdict if same else shown.verdict
                after = before.recorded(verdict, cause, shown.doing)
                self._comparing.record_change(step, before, after)
                step.shown[key] = after
        await self._commit(step)

    async def forget(self, keys: Collection[AgentKey]) -> None:
        """Remove these agents where they are still silent for too long."""
        for some in slices(keys):
            await self._commit(self._step(set(some), now()))
            await asyncio.sleep(0)

    async def forget_now(self, key: AgentKey) -> None:
        """Remove an agent that is not alive, however short its silence; a new beat brings it back."""
        touched: set[AgentKey] = {key}
        for one in self._observations.of_agent(key):
            touched |= self._observations.put(replace(one, dormant=True))
        await self._commit(self._step(touched, now(), words="is forgotten, as somebody asked"))

    def forgotten(self, wall: float) -> list[tuple[str, str, list[str], float | None]]:
        """Return (workspace, id, kinds of sources, last beat) of who is not shown and has left something.

        Without those that silence alone will keep away, and :data:`MOST_FORGOTTEN` at most.

        Args:
            wall: now, in epoch seconds.
        """
        oldest = wall - self._store.judging.limits.forget_after
        found: dict[AgentKey, tuple[str, str, list[str], float | None]] = {}
        for one in self._observations.dormant():
            key = self._observations.key_of(one)
            if len(found) >= MOST_FORGOTTEN:
                break
            if key in found or self._latest(key) is not None:
                continue
            every = self._observations.of_agent(key)
            beat = max((other.beat_wall for other in every if other.beat_wall is not None), default=None)
            if beat is None or beat > oldest:
                kinds = list(dict.fromkeys(other.source.kind for other in every))
                found[key] = (key.workspace, key.agent_id, kinds, beat)
        return list(found.values())

    def _is_known(self, one: Observation) -> bool:
        """Return whether this is still what its source tells: it may have told more between two slices."""
        return self.known(one.source).get(one.agent_id) is one

    def _latest(self, key: AgentKey) -> Agent | None:
        """Return the agent as the last step made it, whether that is shown yet or not."""
        unshown = self._unshown.get(key)
        return self._store.get(key) if unshown is None else unshown[1]

    def _step(
        self,
        touched: set[AgentKey],
        moment: Moment,
        *,
        words: str = "left",
        restored: Mapping[ObservationKey, Agent] | None = None,
    ) -> Step:
        """Join these agents anew, and compare each with what the last step made of it.

        ``words`` say of an agent that went how it did. ``restored`` is given while agents are restored: the
        agent that each observation was of in the last run.
        """
        step = Step(moment.wall)
        after = self._join(touched, moment)
        before = {key: self._latest(key) for key in after}
        told_before: Mapping[ObservationKey, Agent] = restored or {}
        told: set[ObservationKey] = set()
        # Where agents come or go, what told of one may tell of another now; a beat is spared the question.
        if restored is None and any((agent is None) != (before[key] is None) for key, agent in after.items()):
            told_before = {
                one.place: agent for agent in before.values() if agent for one in agent.observations
            }
            told = {one.place for agent in after.values() if agent for one in agent.observations}
        elif restored is not None:
            told = {one.place for agent in after.values() if agent for one in agent.observations}
        keys = sorted(after)
        for key in keys:
            if (agent := after[key]) is not None:
                step.shown[key] = self._comparing.compared(
                    step, moment, before[key], agent, told_before, restoring=restored is not None
                )
        for key in keys:
            if after[key] is None and (old := before[key]) is not None:
                step.shown[key] = None
                quiet = any(one.place in told for one in old.observations)
                self._comparing.removed(step, old, None if quiet else words)
        return step

    def _join(self, touched: set[AgentKey], moment: Moment) -> dict[AgentKey, Agent | None]:
        """Return these agents as their observations make them; None for one that is not to be shown.

        What has been silent for too long becomes dormant, and with it what it was joined with may become
        another agent: then that is joined anew as well.
        """
        horizon = self._store.horizon(moment.mono)
        found: dict[AgentKey, Agent | None] = {}
        waiting = set(touched)
        while waiting:
            key = waiting.pop()
            found[key] = None
            observations = self._observations.of_agent(key)
            if evidence := self._store.judging.evidence_of_young(observations, horizon):
                found[key] = join(key, observations, evidence)
            elif overdue := self._store.judging.overdue(observations, horizon):
                for one in overdue:
                    waiting |= self._observations.put(replace(one, dormant=True))
                waiting.add(key)
            elif spent := _spent(observations):
                for one in spent:
                    waiting |= self._observations.remove(*one.place)
                    self.claims.removed(one.place)
                waiting.add(key)
            elif not self._store.judging.is_forgotten(observations, horizon):
                found[key] = join(key, observations, self._store.judging.evidence_of(observations, horizon))
        return found

    async def _commit(self, step: Step) -> None:
        """Write the samples of the step, then show it; what a later step made is not taken back."""
        self._steps += 1
        number = self._steps
        waits = bool(step.samples) or any(key in self._unshown for key in step.shown)
        for key, agent in step.shown.items():
            self._unshown[key] = (number, agent)
        if waits:
            await self._recorder.record(agent=step.samples)
        mono = now().mono
        for key, agent in step.shown.items():
            latest = self._unshown.get(key)
            if latest is None:
                continue  # a later step is shown already
            if latest[0] == number:
                del self._unshown[key]
            if agent is None:
                self._store.hide(key)
                self._comparing.progress.forget(key)
            else:
                old = self._store.get(key)
                self._store.show(agent, mono)
                if old is None or old.doing is not agent.doing or old.process is not agent.process:
                    self.on_doing(agent)
        self._growth.note_count(len(self._store))


def _spent(observations: Collection[Observation]) -> list[Observation]:
    """Return those of one agent that are dormant and blank: no beat could be told from an old one by them.

    One stays while it alone says that the agent was silent for too long.
    """
    spent = [one for one in observations if one.dormant and one.traces is not None and _is_blank(one.traces)]
    others = [one for one in observations if one not in spent]
    return spent if not others or any(one.beat_at is not None for one in others) else []


def _is_blank(traces: AgentTraces) -> bool:
    session = traces.session
    return not (traces.heartbeat or traces.registration or traces.listed or traces.tasks) and (
        session is None or not session.present
    )


def _last_recorded(one: RememberedAgent) -> tuple[bool, float, bool]:
    return not one.dormant, one.restored.wall or 0.0, one.key.workspace == NO_WORKSPACE
