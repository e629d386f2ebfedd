"""Hold one agent together with its verdict at one moment, and what each source tells of it. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.agents.doing import NOTHING, Doing
from coordd.agents.join import Agent
from coordd.agents.liveness import Evidence, Verdict
from coordd.agents.observation import Observation
from coordd.host.trees import TreeUse


@dataclass(frozen=True, slots=True)
class ShownAgent:
    """One agent at the moment of asking: what is known of it, and its verdict now.

    ``age`` is the real time in seconds since its last beat, None when there was none. The silence in the
    ``evidence`` is the part of that time in which its sources could be observed. ``doing`` is what it does
    now, ``tree`` what its processes use, as last measured.
    """

    agent: Agent
    verdict: Verdict
    evidence: Evidence
    age: float | None
    doing: Doing = NOTHING
    tree: TreeUse | None = None

    @property
    def fell(self) -> float | None:
        """When it went inactive, in epoch seconds: the end of its process, or its last beat; else None."""
        if self.verdict.status != "inactive":
            return None
        process = self.agent.process
        if self.verdict.reason in ("killed", "ended") and process is not None and process.end is not None:
            return process.end.wall
        return self.agent.beat_wall

    @property
    def waiting_for(self) -> str | None:
        """What it waits for, in a known phrase; None while it does not wait."""
        return self.agent.waiting_for or "input" if self.doing.activity == "waiting" else None


@dataclass(frozen=True, slots=True)
class ShownObservation:
    """What one source alone tells of an agent at the moment of asking; fields as in :class:`ShownAgent`."""

    observation: Observation
    evidence: Evidence
    age: float | None
