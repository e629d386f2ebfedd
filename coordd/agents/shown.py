"""Hold one agent together with its verdict at one moment. Pure value."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.agents.liveness import Evidence, Verdict
from coordd.agents.reducer import KnownAgent


@dataclass(frozen=True, slots=True)
class ShownAgent:
    """One agent at the moment of asking: what is known of it, and its verdict now.

    ``age`` is the real time in seconds since its last beat, None when there was none. The silence in the
    ``evidence`` is the part of that time in which its source could be observed.
    """

    agent: KnownAgent
    verdict: Verdict
    evidence: Evidence
    age: float | None
