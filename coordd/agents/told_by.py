"""Name the sources that each row of both tables rests on, for ``coordctl why``. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coordd.agents.observation import Observation
from coordd.agents.work import session_among


def verdict_sources(observations: Sequence[Observation]) -> dict[int, str]:
    """Return the kinds of the sources by the number of the verdict's row.

    Ends and processes are told by who names the process, silence by who saw the last beat.
    """
    processes = _kinds(one for one in observations if one.process is not None)
    beaten = [one for one in observations if one.beat_mono is not None]
    last = max(beaten, key=lambda one: one.beat_mono or -math.inf, default=None)
    found = dict.fromkeys((1, 2, 3), processes)
    found |= dict.fromkeys((4, 7), "" if last is None else last.source.kind)
    found[5] = found[8] = _kinds(observations)
    return {row: kinds for row, kinds in found.items() if kinds}


def activity_sources(observations: Sequence[Observation]) -> dict[int, str]:
    """Return the same for the rows of the activity: a session tells of turns, else who has tasks."""
    one = session_among(observations)
    if one is not None:
        return dict.fromkeys(range(1, 9), one.source.kind)
    return dict.fromkeys((5, 7, 8), _kinds(observations))


def with_sources(rows: Iterable[Mapping[str, Any]], sources: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return explained rows, each with its ``source``; None where no source tells of it."""
    return [{**row, "source": sources.get(row["row"])} for row in rows]


def _kinds(observations: Iterable[Observation]) -> str:
    return ", ".join(dict.fromkeys(one.source.kind for one in observations))
