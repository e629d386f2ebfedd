"""Judge agents by their observations: whether they live, and whether they were silent for too long.

Pure, but for the states of the sources, whose clocks say how long silence was observed. liveness.py has the
table; this gathers what its rows ask for, from all sources of an agent together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from coordd.agents.activity import ActivityEvidence, judge_activity, next_change
from coordd.agents.declared import declared_activity
from coordd.agents.doing import NOTHING, Doing, may_do, shown_activity
from coordd.agents.identity import without_strangers, without_yielding
from coordd.agents.join import Agent
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.liveness import Evidence, Verdict, combine, judge
from coordd.agents.observation import Observation
from coordd.agents.session import DeclaredActivity
from coordd.agents.source import SourceName, SourceState
from coordd.agents.work import (
    Held,
    WorkLimits,
    activity_evidence,
    asks,
    doing_now,
    hooked_among,
    hooked_evidence,
    open_call,
    session_among,
)
from coordd.host.process_facts import Process
from coordd.host.trees import TreeUse

_LEAST = 0.001
"""Seconds: a moment that is still to come is told from now."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of ``[agents]``, in seconds.

    ``forget_after`` is how long a silent or killed agent is shown, ``forget_ended_after`` one that ended in
    order.
    """

    timeout: float
    forget_after: float = 86400.0
    forget_ended_after: float = 600.0
    stall_after: float = 900.0
    call_stall_after: float = 7200.0


class Judging:
    """Gather evidence from the sources of agents; what it asks may be replaced.

    ``held`` tells what the agent with a key holds at a monotonic time; without tasks it holds nothing.
    ``tree`` returns what the process tree of an agent uses, as last measured. ``works`` tells whether
    processes below one, started since a time in epoch seconds, do anything; None is unknown.

    Args:
        sources: every source by name; one that is read no longer counts as one that cannot be read.
        limits: the settings.
    """

    def __init__(self, sources: Mapping[SourceName, SourceState], limits: Limits) -> None:
        self.limits = limits
        self.held: Callable[[AgentKey, float], Held] = lambda _key, _mono: Held(holds=False)
        self.tree: Callable[[Process], TreeUse | None] = lambda _process: None
        self.works: Callable[[Process, float], bool | None] = lambda _process, _since: None
        self._sources = sources

    def evidence_of(self, observations: Iterable[Observation], horizon: float) -> Evidence:
        """Return what a verdict at this moment depends on, from all sources together."""
        every = without_yielding(without_strangers(list(observations)))
        alone = len(every) == 1
        return combine([self._evidence(one, horizon, alone=alone) for one in every])

    def activity_of(
        self, key: AgentKey, observations: Sequence[Observation], horizon: float
    ) -> ActivityEvidence:
        """Return what the activity of an active agent depends on at this moment.

        While the source of its session cannot be read, no time passes for that.
        """
        observations = without_strangers(observations)
        one, hooked = session_among(observations), hooked_among(observations)
        observed, progress = 0.0, None
        if one is not None and (state := self._sources.get(one.source)) is not None:
            observed = state.clock.seen(horizon)
            call = open_call(observations)
            if call is not None:
                progress = self.works(*call)
                if progress is False and not state.clock.readable:
                    progress = None  # the call may have ended since
        limits = WorkLimits(self.limits.stall_after, self.limits.call_stall_after)
        held = self.held(key, horizon)
        declared: DeclaredActivity | None = next(filter(None, map(_declared, observations)), None)
        if one is None and hooked is not None:
            state = self._sources.get(hooked.source)
            observed = 0.0 if state is None else state.clock.seen(horizon)
            return hooked_evidence(hooked, observed, held, limits, declared=declared)
        evidence = activity_evidence(one, observed, held, limits, declared=declared, call_progress=progress)
        session = one.session if one else None
        if session is not None and session.declared is not None:
            # it says itself that it waits; what stands in its project, others may have written
            hooked = hooked_among([other for other in observations if other.workspace == NO_WORKSPACE])
        if hooked is None or hooked.hooks is None or not asks(session, hooked.hooks):
            return evidence
        phrase = evidence.waiting_for or hooked.hooks.waiting_for
        return replace(evidence, hook_asks=True, waiting_for=phrase)

    def next_change(self, observations: Sequence[Observation], work: ActivityEvidence) -> float | None:
        """Return the seconds after which time alone changes the activity; None where it cannot."""
        one = session_among(observations)
        state = self._sources.get(one.source) if one is not None else None
        return next_change(work) if state is None or state.clock.readable else None

    def doing(
        self,
        agent: Agent,
        verdict: Verdict,
        before: Doing,
        *,
        horizon: float,
        wall: float | None,
    ) -> Doing:
        """Return what an agent with this verdict does now; ``before`` itself where that is the same.

        Args:
            agent: the agent.
            verdict: its verdict now.
            before: what it did before.
            horizon: the monotonic time up to which agents may be judged.
            wall: now, in epoch seconds; None: a beginning that its traces do not tell stays unknown.
        """
        if not may_do(verdict):
            return NOTHING
        if agent.traces is None:
            # not read since the restart: what the records say stands
            if verdict.status != "active":
                return before if shown_activity(verdict, before.activity) else NOTHING
            return before if before.activity is not None else Doing("unknown", wall, horizon)
        evidence = self.activity_of(agent.key, agent.observations, horizon)
        one = session_among(agent.observations)
        session = one.session if one else None
        activity = shown_activity(verdict, judge_activity(evidence).activity)
        if activity is None:
            return NOTHING
        return doing_now(activity, before, session, wall, horizon, hooks=agent.hooks)

    def tree_of(self, agent: Agent) -> TreeUse | None:
        """Return what the process tree of an agent uses; None where it has none, or shares it."""
        process = agent.process
        return self.tree(process.process) if process is not None and process.lives else None

    def evidence_of_young(self, observations: Sequence[Observation], horizon: float) -> Evidence | None:
        """Return the same for an agent that is surely not to be forgotten; None where that is to be asked."""
        if len(observations) != 1 or observations[0].dormant:
            return None
        evidence = self._evidence(observations[0], horizon, alone=True)
        young = evidence.silence is None or evidence.silence <= self.limits.forget_after
        ended = evidence.end_age is not None or evidence.killed_age is not None
        return evidence if young and not ended else None

    def overdue(self, observations: Iterable[Observation], horizon: float) -> list[Observation]:
        """Return those that are to be dormant from now on: each is silent for too long by itself.

        So whether a workspace has an agent of some id does not depend on what else was read before. But of
        one that has ended all are: what another source heard before the end must not bring it back.
        """
        awake = [one for one in observations if not one.dormant]
        if len(awake) > 1:
            together = self.evidence_to_forget(awake, horizon)
            ended = judge(together).reason in ("ended", "killed")
            if ended and self.time_to_forget(together) == 0.0:
                return awake
        return [one for one in awake if self.time_to_forget(self._evidence(one, horizon)) == 0.0]

    def is_forgotten(self, observations: Collection[Observation], horizon: float) -> bool:
        """Return whether an agent with these observations is silent for too long to be shown."""
        return all(one.dormant for one in observations) or (
            self.time_to_forget(self.evidence_to_forget(observations, horizon)) == 0.0
        )

    def _evidence(self, one: Observation, horizon: float, *, alone: bool = False) -> Evidence:
        state = self._sources.get(one.source)
        observed = 0.0 if state is None else state.clock.now(horizon)
        readable = state is not None and state.clock.readable
        return one.evidence(
            observed, timeout=self.limits.timeout, readable=readable, mono=horizon, alone=alone
        )

    def evidence_to_forget(self, observations: Iterable[Observation], horizon: float) -> Evidence:
        """Return the same as :meth:`evidence_of`, but for sources that cannot be read and have told no beat.

        What such a source said of the agent is dormant, or was no heartbeat: that it cannot be read must not
        bring back an agent that is forgotten.
        """
        every = []
        for one in without_yielding(without_strangers(list(observations))):
            evidence = self._evidence(one, horizon)
            hidden = one.traces is not None and one.traces.hidden is not None
            if one.dormant or (one.beat_at is None and not hidden):
                evidence = replace(evidence, readable=True)
            every.append(evidence)
        return combine(every)

    def time_to_forget(self, evidence: Evidence) -> float | None:
        """Return the seconds until an agent with this evidence is to be forgotten; None: it is not to be.

        0.0 is now. An end that is told counts from there, silence from the last beat; both only where nothing
        else says that the agent lives.
        """
        verdict = judge(evidence)
        over, limit = evidence.silence, self.limits.forget_after
        if verdict.reason == "ended":
            over, limit = evidence.end_age, self.limits.forget_ended_after
        elif verdict.reason == "killed":
            over = evidence.killed_age
        elif not evidence.readable or verdict.reason == "process":
            return None
        if over is None:
            return None
        if over > limit:
            return 0.0 if verdict.status == "inactive" or verdict.reason == "quiet" else None
        return max(_LEAST, limit - over)


def _declared(one: Observation) -> DeclaredActivity | None:
    registration = one.traces.registration if one.traces else None
    return declared_activity(registration.status) if registration else None
