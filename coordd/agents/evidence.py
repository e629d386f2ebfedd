"""List the evidence behind a verdict, signal by signal, as ``agents.get`` and ``coordctl why`` show it.

Pure. The ``age`` of a heartbeat is the time since it happened; its ``silence``, which decides, is the part of
that time in which coordd could observe the agent. An agent that several sources see has the signals of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.process_end import SIGNS
from coordd.agents.shown import ShownObservation
from coordd.agents.source import with_remedy
from coordd.util.timestamps import format_utc

_NAMED = 5
"""Open calls, and pieces of work in the background, that are listed at most."""
_HOOK_WORDS = {
    "ended": "the session has ended",
    "over": "its turn is over",
    "asks": "it asks a human",
    "call": "a call is open",
    "works": "it is in a turn",
}


def evidence_of(
    observations: Iterable[ShownObservation],
    *,
    stall: tuple[str, float] | None,
    stall_after: float,
    wall: float,
    refusal: Callable[[ObservationKey], str | None] = lambda _place: None,
) -> list[dict[str, object]]:
    """Return one entry for each signal: ``signal``, ``source``, ``value``, ``age`` and ``threshold``.

    ``source`` is None for a signal that belongs to no single source. Ages and thresholds are seconds.

    Args:
        observations: what each source alone tells of the agent.
        stall: the tasks that it holds, in words, and the seconds since its last progress; None: no tasks.
        stall_after: the setting agents.stall_after.
        wall: now, in epoch seconds.
        refusal: says why a process that an observation names does not count; None: it does, or there is none.
    """
    evidence: list[dict[str, object]] = []
    for one in observations:
        evidence += _of_source(one, wall, refusal(one.observation.place))
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


def _of_source(one: ShownObservation, wall: float, refusal: str | None) -> Iterable[dict[str, object]]:
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
    if observation.traces is not None and observation.traces.hidden is not None:
        yield _signal("denied", source, with_remedy(observation.traces.hidden, source), None)
    yield {
        "signal": "source",
        "source": source,
        "value": "readable" if one.evidence.readable else "unreadable",
        "age": None,
        "threshold": None,
    }
    yield from _of_process(observation, source, wall, refusal)
    yield from _of_session(observation, source, wall)
    hooks = observation.hooks
    if hooks is not None and hooks.told:
        yield _signal("hooks", source, _HOOK_WORDS[hooks.word], _since(hooks.since or hooks.last, wall))
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


def _of_process(
    observation: Observation, source: str, wall: float, refusal: str | None
) -> Iterable[dict[str, object]]:
    process = observation.process
    if process is None:
        if refusal is not None:
            yield _signal("process", source, f"the one that is named does not count: {refusal}", None)
        return
    words = "lives" if process.clear else "cannot be told to live"
    if process.shared and not process.certain:
        words = "is that of several agents: its life proves nothing"
    if process.end is not None:
        words = "ended in order" if process.end.orderly else "is gone without an orderly end"
    age = None if process.end is None else wall - process.end.wall
    yield _signal("process", source, f"pid {process.process.pid} {words}", age)


def _of_session(observation: Observation, source: str, wall: float) -> Iterable[dict[str, object]]:
    session = observation.session
    if session is None or session.process_only:
        return
    said: str = session.declared or "nothing of what it does"
    if session.declared == "waiting":
        said = f"waiting: {session.waiting_for or 'input'}"
    if session.undeclarable is not None:
        said = f"{session.undeclarable!r}, which coordd does not know"
    if SIGNS.get(session.kind) == "session-file":
        words = f"says {said}" if session.present else "its record is not there"
        yield _signal("session", source, words, _since(session.declared_at, wall))
    elif not session.present:
        yield _signal("session", source, "is closed", None)
    turn = session.turn
    if turn is None:
        yield _signal("transcript", source, None, None)
        return
    state = {True: "a turn is open", False: "its turn is over", None: "no turn was found"}[turn.open]
    if not turn.recognised:
        state = "nothing in it is recognised"
    yield _signal("transcript", source, state, _since(turn.last, wall))
    for call in turn.calls[:_NAMED]:
        yield _signal("call", source, call.name, _since(call.since, wall))
    for work in turn.background[:_NAMED]:
        yield _signal("background", source, work.kind, _since(work.since, wall))
    if turn.refused is not None:
        yield _signal("refusal", source, turn.refused.why, _since(turn.refused.since, wall))


def _signal(signal: str, source: str, value: str | None, age: float | None) -> dict[str, object]:
    age = None if age is None else max(0.0, age)
    return {"signal": signal, "source": source, "value": value, "age": _rounded(age), "threshold": None}


def _since(time: float | None, wall: float) -> float | None:
    return None if time is None else wall - time


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
