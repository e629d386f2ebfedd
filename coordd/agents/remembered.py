"""Turn what the records say of an agent back into an agent and its observations, for a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from coordd.agents.beats import Restored
from coordd.agents.declared import says_ended
from coordd.agents.doing import NOTHING, Doing
from coordd.agents.join import Agent, join
from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.liveness import Evidence, Verdict
from coordd.agents.observation import Observation
from coordd.agents.seen_process import End, SeenProcess
from coordd.agents.source import SourceState
from coordd.model import Cause
from coordd.runtime.clocks import Moment


@dataclass(frozen=True, slots=True)
class RememberedAgent:
    """One agent as it was last recorded.

    ``verdict`` and ``cause`` are those of its last record, ``sources`` the kinds of the sources that saw it.
    ``beat_wall`` is the time of its last beat as it was shown, ``run_since`` that of the first beat of the
    unbroken run (epoch seconds, None for none). ``restored`` is what else the record says, ``doing`` what it
    says of the activity. ``dormant`` is true of one that was forgotten: it is not shown before its next beat.
    """

    key: AgentKey
    verdict: Verdict
    cause: Cause
    sources: tuple[str, ...]
    restored: Restored
    beat_wall: float | None = None
    run_since: float | None = None
    doing: Doing = NOTHING
    dormant: bool = False

    def observations(
        self, sources: Mapping[tuple[str, str], Sequence[SourceState]], moment: Moment
    ) -> list[Observation]:
        """Return what each of its sources told of it, in the order of their ranks.

        Of several sources of one kind the record does not say which one told: each is taken for it until it
        is read.

        Args:
            sources: the sources that are read now, by kind and workspace; what others told is left out.
            moment: now, on whose clock the last beat is dated.
        """
        seen = self.restored.seen
        at = None if seen is None else moment.mono - max(0.0, moment.wall - seen)
        places = ((kind, place) for kind in self.sources for place in (self.key.workspace, NO_WORKSPACE))
        found = {state.name: state for place in places for state in sources.get(place, ())}
        return [
            Observation(
                source=state.name,
                key=self.key if state.names_workspaces else AgentKey(state.workspace, self.key.agent_id),
                traces=None,
                beat_wall=self.beat_wall,
                beat_at=at,
                beat_mono=at,
                run_since=self.run_since,
                restored=replace(self.restored, quiet=self.verdict.reason == "quiet"),
                dormant=self.dormant,
                process=self._process(moment),
                ended_mono=self._ended(moment),
                doubtful=self.verdict.reason == "no-heartbeat" and self.beat_wall is not None,
            )
            for state in sorted(found.values(), key=lambda state: (state.rank, state.name))
        ]

    def agent(self, observations: Sequence[Observation]) -> Agent:
        """Return the agent as its last record shows it, with these observations."""
        agent = join(self.key, observations, Evidence(silence=None, timeout=0.0))
        return replace(agent, verdict=self.verdict, cause=self.cause, doing=self.doing)

    def _process(self, moment: Moment) -> SeenProcess | None:
        """Return the agent's process: whether it still lives is not clear before somebody has looked."""
        process, wall = self.restored.process, self.restored.ended
        if process is None or self.dormant:
            return None
        if wall is None and self.verdict.reason not in ("ended", "killed"):
            return SeenProcess(process, clear=False)
        if wall is None:
            return SeenProcess(process, End(self.verdict.reason != "killed", *self._recorded(moment)))
        mono = moment.mono - max(0.0, moment.wall - wall)
        return SeenProcess(process, End(self.verdict.reason != "killed", wall, mono))

    def _ended(self, moment: Moment) -> float | None:
        """Return when the agent's registration said that it has ended, on the monotonic clock."""
        return self._recorded(moment)[1] if says_ended(self.restored.status) else None

    def _recorded(self, moment: Moment) -> tuple[float, float]:
        """Return when the last record was written, by the wall clock and on the monotonic one."""
        wall = moment.wall if self.restored.wall is None else self.restored.wall
        return wall, moment.mono - max(0.0, moment.wall - wall)


def by_place(sources: Iterable[SourceState]) -> dict[tuple[str, str], list[SourceState]]:
    """Return sources by kind and workspace, as :meth:`RememberedAgent.observations` looks for them."""
    found: dict[tuple[str, str], list[SourceState]] = {}
    for state in sources:
        found.setdefault((state.name.kind, state.workspace), []).append(state)
    return found
