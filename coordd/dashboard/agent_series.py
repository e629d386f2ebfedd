"""Put together what agents did over a range of time: bands of the records, and what is listed now. Pure.

An agent that has said nothing in the whole range left no record in it; what it does since before that is in
the list of agents. Time without samples of the host is a gap: coordd did not run, and nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from coordd.records.bands import state_of
from coordd.util.text import epoch_of

STEPS = 120
"""Steps of a range, in which a strip is drawn."""
_TOLD = ("agent_id", "workspace", "project", "name", "kind")


class Samples(msgspec.Struct):
    """What of the host's series tells when coordd ran."""

    since: float
    until: float
    gap: float
    times: list[float]


def agent_series(
    banded: Iterable[dict[str, Any]],
    present: Iterable[dict[str, Any]],
    samples: Samples,
    *,
    step: float,
    truncated: bool,
) -> bytes:
    """Return ``{"since", "until", "step", "gaps", "truncated", "agents"}``, encoded; in epoch seconds."""
    agents = list(banded)
    known = {_key(one) for one in agents}
    agents.extend(
        {**{name: one.get(name) for name in _TOLD}, "bands": [[_since(one, samples), state_of(one)]]}
        for one in present
        if _key(one) not in known
    )
    return msgspec.json.encode(
        {
            "since": samples.since,
            "until": samples.until,
            "step": step,
            "gaps": gaps(samples.times, samples.since, samples.until, samples.gap),
            "truncated": truncated,
            "agents": agents,
        }
    )


def gaps(times: Sequence[float], since: float, until: float, longest: float) -> list[tuple[float, float]]:
    """Return the times between two moments that are without samples for more than ``longest`` seconds."""
    edges = [since, *(time for time in times if since <= time <= until), until]
    return [(before, after) for before, after in pairwise(edges) if after - before > longest]


def _key(agent: dict[str, Any]) -> tuple[Any, Any]:
    return agent.get("workspace"), agent.get("agent_id")


def _since(agent: dict[str, Any], samples: Samples) -> float:
    """Return since when an agent is in its state, within the range; its begin where that is not known."""
    name = "activity_since" if agent.get("status") == "active" else "inactive_since"
    began = epoch_of(agent.get(name))
    return round(min(max(samples.since if began is None else began, samples.since), samples.until), 3)
