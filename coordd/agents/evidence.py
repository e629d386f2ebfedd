"""List the evidence behind a verdict, signal by signal, as ``agents.get`` and ``coordctl why`` show it.

Pure. The ``age`` of a heartbeat is the time since it happened; its ``silence``, which decides, is the part of
that time in which coordd could observe the agent. An agent that several sources see has the signals of each.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordd.agents.shown import ShownObservation
from coordd.util.timestamps import format_utc


def evidence_of(
    observations: Iterable[ShownObservation],
    *,
    stall: tuple[str, float] | None,
    stall_after: float,
    wall: float,
) -> list[dict[str, object]]:
    """Return one entry for each signal: ``signal``, ``source``, ``value``, ``age`` and ``threshold``.

    ``source`` is None for a signal that belongs to no single source. Ages and thresholds are seconds.

    Args:
        observations: what each source alone tells of the agent.
        stall: the tasks that it holds, in words, and the seconds since its last progress; None: no tasks.
        stall_after: the setting agents.stall_after.
        wall: now, in epoch seconds.
    """
    evidence: list[dict[str, object]] = []
    for one in observations:
        evidence += _of_source(one, wall)
    if stall is not None:
        evidence.append(
            {
                "signal": "progress",
                "source": None,
                "value": f"holds {stall[0]}",
                "age": round(stall[1], 3),
                "threshold": stall_after,
            }
        )
    return evidence


def _of_source(one: ShownObservation, wall: float) -> Iterable[dict[str, object]]:
    observation = one.observation
    source = observation.source.kind
    yield {
        "signal": "heartbeat",
        "source": source,
        "value": None if observation.beat_wall is None else format_utc(observation.beat_wall),
        "age": _rounded(one.age),
        "silence": _rounded(one.evidence.silence),
        "threshold": one.evidence.timeout,
    }
    yield {
        "signal": "source",
        "source": source,
        "value": "readable" if one.evidence.readable else "unreadable",
        "age": None,
        "threshold": None,
    }
    registration = observation.traces.registration if observation.traces else None
    if registration is None:
        return
    times = [time for time in (registration.started_at, registration.updated_at) if time is not None]
    if times:
        yield {
            "signal": "registration",
            "source": source,
            "value": format_utc(max(times)),
            "age": round(max(0.0, wall - max(times)), 3),
            "threshold": one.evidence.timeout,
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
