"""Decide whether an agent lives: one table, in which the first row that fits decides.

Pure: the evidence is passed in, with every duration already measured. The table is the documentation; the
README and ``coordctl why`` print it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from coordd.model import Reason, Status


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a verdict on one agent depends on.

    ``silence`` is the time in seconds since the last beat, on the observed clock of its source
    (runtime/clocks.py), None when no beat was ever seen. ``readable`` is true while the source that knows the
    agent can be read. ``process`` is the state of a process that coordd once saw alive, None when it never
    saw one. ``ended`` is true when the agent deregistered or its session ended. ``ended_for`` is the seconds
    since the end of a process that is gone.
    """

    silence: float | None
    timeout: float
    readable: bool = True
    ended: bool = False
    process: Literal["alive", "gone"] | None = None
    ended_for: float | None = None


def combine(every: Sequence[Evidence]) -> Evidence:
    """Combine what several sources tell of one agent: the shortest silence, readable if all of them are."""
    if len(every) == 1:
        return every[0]
    silences = [one.silence for one in every if one.silence is not None]
    processes = {one.process for one in every}
    return Evidence(
        silence=min(silences, default=None),
        timeout=every[0].timeout,
        readable=all(one.readable for one in every),
        ended=any(one.ended for one in every),
        process="alive" if "alive" in processes else "gone" if "gone" in processes else None,
        ended_for=min((one.ended_for for one in every if one.ended_for is not None), default=None),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of an agent and its reason, as records and answers carry them."""

    status: Status
    reason: Reason


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One row of the table: the condition in words (``when``) and in code (``fits``), and its ``verdict``."""

    number: int
    when: str
    fits: Callable[[Evidence], bool]
    verdict: Verdict


TABLE: tuple[VerdictRow, ...] = (
    VerdictRow(
        1,
        "deregistered or its session ended, and no live process",
        lambda e: e.ended and e.process != "alive",
        Verdict("inactive", "ended"),
    ),
    VerdictRow(
        2,
        "a process coordd saw alive is gone",
        lambda e: e.process == "gone",
        Verdict("inactive", "killed"),
    ),
    VerdictRow(3, "its process lives", lambda e: e.process == "alive", Verdict("active", "process")),
    VerdictRow(
        4,
        "silence shorter than agents.timeout",
        lambda e: e.silence is not None and e.silence < e.timeout,
        Verdict("active", "heartbeat"),
    ),
    VerdictRow(
        5,
        "the source that knows it cannot be read",
        lambda e: not e.readable,
        Verdict("unknown", "unreachable"),
    ),
    VerdictRow(6, "silence longer", lambda e: e.silence is not None, Verdict("inactive", "silent")),
    VerdictRow(7, "nothing readable", lambda _: True, Verdict("unknown", "no-heartbeat")),
)


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict of the first row that fits; row 7 fits always."""
    return deciding_row(evidence).verdict


def deciding_row(evidence: Evidence) -> VerdictRow:
    """Return the row that decides, to explain a verdict."""
    for row in TABLE:
        if row.fits(evidence):
            return row
    raise AssertionError("the last row fits always")
