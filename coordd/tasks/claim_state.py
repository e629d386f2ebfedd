"""What a claim is worth: a table, the first row that fits decides; and which claims count at all.

Pure: the evidence is passed in, with every duration already measured. Knows nothing of files, Redis or of how
the holder's own verdict came about (liveness.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordd.model import ClaimState, Status

RELEASED = frozenset(
    {"released", "available", "open", "unclaimed", "cancelled", "canceled", "abandoned", "returned"}
)
"""Words in a claim's ``status`` that give the task back: it counts as available where ``tasks/`` has it."""

FINISHED = frozenset(
    {"done", "completed", "complete", "finished", "closed", "resolved", "merged", "success", "failed"}
)
"""Words that say the work is over: the task is neither claimed nor available."""


def is_released(status: str | None) -> bool:
    """Whether a claim of this status gives its task back."""
    return _word(status) in RELEASED


def is_over(status: str | None) -> bool:
    """Whether a claim of this status counts no more. Every word that is not known to say so counts."""
    word = _word(status)
    return word in RELEASED or word in FINISHED


@dataclass(frozen=True, slots=True)
class ClaimEvidence:
    """All that the state of a claim rests on.

    ``holder`` is the verdict on the agent that the claim names, None where no such agent left a trace (or the
    claim names none). ``absent`` is the time in seconds for which the named holder has been without a trace,
    as its source's clock counts it; None while it has one, and where the claim names nobody. ``left`` is the
    time in seconds until the claim's own time has passed, None where it has none that can be read.
    """

    holder: Status | None
    absent: float | None
    left: float | None
    timeout: float


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One row of the table: ``when`` in words, ``fits`` in code, ``state`` if it fits."""

    when: str
    fits: Callable[[ClaimEvidence], bool]
    state: ClaimState


TABLE: tuple[ClaimRow, ...] = (
    ClaimRow("its holder is inactive", lambda h: h.holder == "inactive", "orphaned"),
    ClaimRow(
        "its holder has left no trace for agents.timeout",
        lambda h: h.holder is None and h.absent is not None and h.absent >= h.timeout,
        "orphaned",
    ),
    ClaimRow("its time has passed", lambda h: h.left is not None and h.left <= 0, "expired"),
    ClaimRow("nothing speaks against it", lambda _: True, "held"),
)


def claim_state(hold: ClaimEvidence) -> ClaimState:
    """The state by the first row that fits; the last always does."""
    return next(row for row in TABLE if row.fits(hold)).state


def next_change(hold: ClaimEvidence) -> float | None:
    """Seconds after which the state can be another by time alone; None: never."""
    if claim_state(hold) == "orphaned":
        return None
    waits = []
    if hold.holder is None and hold.absent is not None:
        waits.append(hold.timeout - hold.absent)
    if hold.left is not None and hold.left > 0:
        waits.append(hold.left)
    return min(waits, default=None)


def _word(status: str | None) -> str:
    return (status or "").strip().lower()
