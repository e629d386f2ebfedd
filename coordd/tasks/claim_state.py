"""Decide the state of a claim: a table, in which the first row that fits decides; and which claims count.

Pure: the evidence is passed in, with every duration already measured. It knows nothing of files, of Redis, or
of how the holder's verdict was reached (liveness.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordd.model import ClaimState, Status

RELEASED = frozenset(
    {"released", "available", "open", "unclaimed", "cancelled", "canceled", "abandoned", "returned"}
)
"""Words in a claim's ``status`` that give the task back: it is available where ``tasks/`` has it."""

FINISHED = frozenset(
    {"done", "completed", "complete", "finished", "closed", "resolved", "merged", "success", "failed"}
)
"""Words that say the work is over: the task is neither claimed nor available."""


def is_released(status: str | None) -> bool:
    """Return whether a claim with this status gives its task back."""
    return _word(status) in RELEASED


def is_over(status: str | None) -> bool:
    """Return whether a claim with this status has ended; an unknown word does not end it."""
    word = _word(status)
    return word in RELEASED or word in FINISHED


@dataclass(frozen=True, slots=True)
class ClaimEvidence:
    """Everything that the state of a claim depends on; durations are seconds.

    ``holder`` is the status of the agent that the claim names, None where that agent left no trace or the
    claim names none. ``absent`` is how long the named holder has been without a trace, on its source's clock;
    None while it has one, and where the claim names no holder. ``left`` is the time until the claim expires,
    None where it has no readable expiry. ``timeout`` is agents.timeout.
    """

    holder: Status | None
    absent: float | None
    left: float | None
    timeout: float


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One row of the table: the condition in words (``when``) and in code (``fits``), and the ``state``."""

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


def claim_state(evidence: ClaimEvidence) -> ClaimState:
    """Return the state of the first row that fits; the last row fits always."""
    return next(row for row in TABLE if row.fits(evidence)).state


def next_change(evidence: ClaimEvidence) -> float | None:
    """Return the seconds after which time alone can change the state, None where it cannot."""
    if claim_state(evidence) == "orphaned":
        return None
    waits = []
    if evidence.holder is None and evidence.absent is not None:
        waits.append(evidence.timeout - evidence.absent)
    if evidence.left is not None and evidence.left > 0:
        waits.append(evidence.left)
    return min(waits, default=None)


def _word(status: str | None) -> str:
    return (status or "").strip().lower()
