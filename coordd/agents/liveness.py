"""Decide whether an agent lives: one table, in which the first row that fits decides.

Pure: the evidence is passed in, with every duration already measured. The table is the documentation; the
README and ``coordctl why`` print it from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from coordd.model import Reason, Status

LAST_BREATH = 5.0
"""Seconds within which the order of two signs is left out of account: a hook that runs beside its agent ends
after it, and two sources are read up to two seconds apart."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a verdict on one agent depends on; durations are seconds.

    ``silence`` is the time since the last beat on the observed clock of its source (runtime/clocks.py), None
    when no beat was ever seen. ``readable`` is true while the source that knows the agent can be read.

    ``process`` is ``alive``; or ``killed`` when a process that coordd once saw alive is gone without an
    orderly end, ``killed_age`` seconds ago; None where no process is known, and after one that ended in
    order: that is ``end_age`` alone.

    ``end_age`` is the time since the agent last ended in order: it deregistered, its session or its process
    ended in order, or the machine was restarted. It is None where that never was, or where its source says
    that it has begun again. ``beat_age`` is the time since the last beat on the same real clock, None where
    ``silence`` is that: a source that could not be read for a while counts less silence than time has passed,
    and a beat before an end within that while would look younger than the end.

    ``doubtful`` is true when what was found at first sight contradicts itself: by one of its times the agent
    beat within the timeout, by the other it did not. ``silence`` then is what is known otherwise.

    ``quiet`` is true when what this source last heard was a hook which said that a call is open, that the
    agent waits, or that its turn is over: no further hook is due then, however long it takes.
    """

    silence: float | None
    timeout: float
    readable: bool = True
    process: Literal["alive", "killed"] | None = None
    end_age: float | None = None
    beat_age: float | None = None
    quiet: bool = False
    killed_age: float | None = None
    doubtful: bool = False

    @property
    def last_beat(self) -> float | None:
        """The real time since the last beat; None when no beat was ever seen."""
        return self.silence if self.beat_age is None else self.beat_age

    @property
    def ended(self) -> bool:
        """Whether an orderly end is the last that was heard of the agent.

        An end counts until a beat comes after it, by more than :data:`LAST_BREATH`: who beats has not ended,
        or is there again, whichever source tells the beat and whichever the end.
        """
        if self.end_age is None:
            return False
        return self.last_beat is None or self.last_beat >= self.end_age - LAST_BREATH


def combine(every: Sequence[Evidence]) -> Evidence:
    """Combine what several sources tell of one agent, so that a sign of life in any of them counts.

    The last beat of all, the last orderly end of all, a live process before a killed one, and readable if all
    of them are. So a later beat undoes an end, whichever sources tell the two; who was killed stays killed,
    for a loop that beats may outlive its agent. It is quiet if the quiet word is the last that any of them
    heard: an agent that went on beating in another source, and then stopped, is silent.
    """
    if len(every) == 1:
        return every[0]
    processes = {one.process for one in every}
    dated = any(one.beat_age is not None for one in every)
    last_beat = _least([one.last_beat for one in every])
    return Evidence(
        silence=_least([one.silence for one in every]),
        timeout=every[0].timeout,
        readable=all(one.readable for one in every),
        process="alive" if "alive" in processes else "killed" if "killed" in processes else None,
        killed_age=_least([one.killed_age for one in every]),
        end_age=_least([one.end_age for one in every]),
        beat_age=last_beat if dated else None,
        quiet=_is_quiet(every, last_beat),
        doubtful=any(one.doubtful for one in every),
    )


def _is_quiet(every: Sequence[Evidence], last_beat: float | None) -> bool:
    quiet = [one for one in every if one.quiet]
    if last_beat is None:
        return bool(quiet)
    return any(one.last_beat is not None and one.last_beat <= last_beat + LAST_BREATH for one in quiet)


def _least(durations: Sequence[float | None]) -> float | None:
    return min((one for one in durations if one is not None), default=None)


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
        "deregistered, its session or its process ended in order, or the machine was restarted since, "
        "and no live process",
        lambda e: e.ended and e.process != "alive",
        Verdict("inactive", "ended"),
    ),
    VerdictRow(
        2,
        "a process coordd saw alive is gone",
        lambda e: e.process == "killed",
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
    VerdictRow(
        6,
        "its last hook said that a call is open, that it waits, or that its turn is over, "
        "and nothing else tells of it",
        lambda e: e.quiet,
        Verdict("unknown", "quiet"),
    ),
    VerdictRow(
        7,
        "silence longer",
        lambda e: e.silence is not None and not e.silence < e.timeout and not e.doubtful,
        Verdict("inactive", "silent"),
    ),
    VerdictRow(
        8,
        "nothing readable, or times that contradict each other",
        lambda e: e.silence is None or e.doubtful,
        Verdict("unknown", "no-heartbeat"),
    ),
)


_BEATS = TABLE[3].verdict


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict of the first row that fits; of rows 4, 7 and 8 one always does."""
    silence = math.inf if evidence.silence is None else evidence.silence
    if silence < evidence.timeout and evidence.process is None and evidence.end_age is None:
        return _BEATS  # as each beat asks: trying rows 1 to 3 as well costs
    return deciding_row(evidence).verdict


def deciding_row(evidence: Evidence) -> VerdictRow:
    """Return the row that decides, to explain a verdict."""
    for row in TABLE:
        if row.fits(evidence):
            return row
    raise AssertionError("one of the rows 4, 7 and 8 fits always")
