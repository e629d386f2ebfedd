"""Compare each agent with what the last step made of it: what is worth a record, and an event.

agents.py has the table of what leads to what. Nothing is written here but events: the samples of a step are
written together, and then it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordd.agents.doing import NOTHING, Doing
from coordd.agents.join import Agent, difference, label_of, place_words
from coordd.agents.key import AgentKey
from coordd.agents.observation import ObservationKey
from coordd.agents.samples import sample_of
from coordd.agents.store import AgentStore, is_beat
from coordd.intake.progress import ProgressPace
from coordd.model import AgentSample, Cause
from coordd.runtime.clocks import Moment
from coordd.sinks.recorder import Recorder


@dataclass(slots=True)
class Step:
    """The outcome of one change: samples to be recorded, and what is shown of each agent afterwards."""

    wall: float
    samples: list[AgentSample] = field(default_factory=list)
    shown: dict[AgentKey, Agent | None] = field(default_factory=dict)


class Comparing:
    """Compare agents; ``running`` is false while coordd starts, ``progress`` says when a turn is recorded."""

    def __init__(self, *, store: AgentStore, recorder: Recorder, host: str) -> None:
        self.running = False
        self.progress = ProgressPace()
        self._store = store
        self._recorder = recorder
        self._host = host

    def compared(
        self,
        step: Step,
        moment: Moment,
        before: Agent | None,
        after: Agent,
        told_before: Mapping[ObservationKey, Agent],
        *,
        restoring: bool,
    ) -> Agent:
        """Note in the step what makes the agent worth a record; return it as it is to be shown.

        Args:
            step: takes the sample.
            moment: now.
            before: the agent as the last step made it, None for a new one.
            after: the agent as its observations make it now.
            told_before: the agents that observations were of, where agents come or go.
            restoring: whether agents of the last run are shown again.
        """
        horizon = self._store.horizon(moment.mono)
        if before is not None:
            verdict = after.verdict
            silenced = before.verdict.status == "active" and verdict.reason == "silent"
            if restoring or (self._store.rereads and silenced) or self._is_unsettled(after):
                verdict = before.verdict  # until every source of it was read once more
                after = after.recorded(verdict, after.cause, before.doing)
            cause = difference(before, after)
            if cause is None or len(after.observations) < len(before.observations):
                verdict = before.verdict  # what time made of it is recorded in its turn
            doing = before.doing
            known = doing.activity is not None and verdict.status == before.verdict.status
            if not self.running and after.session is None and known:
                pass  # what it holds is not known before every source was read
            elif not is_beat(before, after, verdict):
                doing = self._store.judging.doing(after, verdict, doing, horizon=horizon, wall=moment.wall)
            cause = self._worth(before, cause, doing, moment)
            after = after.recorded(verdict, cause or before.cause, doing)
            if cause is not None:
                self.record_change(step, before, after)
            return after
        earlier = next(
            (told_before[one.place] for one in after.observations if one.place in told_before), None
        )
        doing = earlier.doing if earlier else NOTHING
        if not restoring:
            doing = self._store.judging.doing(after, after.verdict, doing, horizon=horizon, wall=moment.wall)
        cause = "start" if not self.running and earlier is None and not restoring else after.cause
        after = after.recorded(after.verdict, cause, doing)
        self.record_change(step, earlier, after)
        return after

    def _is_unsettled(self, agent: Agent) -> bool:
        """Return whether coordd starts and has not looked yet whether the agent's process lives still."""
        if self.running:
            return False
        processes = [one.process for one in agent.observations if one.process is not None]
        return any(one.end is None and not one.clear for one in processes)

    def _worth(self, before: Agent, cause: Cause | None, doing: Doing, moment: Moment) -> Cause | None:
        """Return the cause for which a step is recorded, in view of what the agent does now."""
        known = None not in (doing.activity, before.doing.activity)
        changed = known and doing.activity != before.doing.activity  # else the verdict's change says it
        waits_anew = doing.activity == "waiting" and doing.since != before.doing.since
        if cause in (None, "heartbeat", "progress") and (changed or waits_anew):
            cause = "activity"
        if cause == "progress" and not self.progress.may(before.key, moment.mono):
            return None
        if cause is not None and before.session is not None:
            self.progress.recorded(before.key, moment.mono)
        return cause

    def record_change(self, step: Step, before: Agent | None, after: Agent) -> None:
        """Note a sample of an agent in the step, and record the event of its status where that changed."""
        step.samples.append(self.sample(after, step.wall))
        if before is None and after.cause == "start":
            return
        if before is None or before.verdict.status != after.verdict.status:
            agent_id, status, reason = after.key.agent_id, after.verdict.status, after.verdict.reason
            message = f"agent {label_of(after)} {place_words(after)} is {status} ({reason})"
            self._recorder.event(f"agent.{status}", agent_id, message, _where(after.key))

    def removed(self, step: Step, agent: Agent, words: str | None) -> None:
        """Note in the step that an agent is shown no longer; ``words`` say how it went, None: no event."""
        step.samples.append(self.sample(replace(agent, cause="removed"), step.wall))
        if words is not None:
            key = agent.key
            message = f"agent {label_of(agent)} {place_words(agent)} {words}"
            self._recorder.event("agent.removed", key.agent_id, message, _where(key))

    def sample(self, agent: Agent, wall: float) -> AgentSample:
        """Return the agent's record at a time in epoch seconds."""
        tree = self._store.judging.tree_of(agent)
        return sample_of(
            agent,
            verdict=agent.verdict,
            wall=wall,
            host=self._host,
            tree=tree,
            project=self._store.project_of(agent.key.workspace),
        )


def _where(key: AgentKey) -> dict[str, object]:
    return {"workspace": key.recorded_workspace}
