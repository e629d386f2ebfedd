"""Say in which phase what a rule tells is, and which step leads from one to another: one table.

========  =====================================================================
phase     meaning
========  =====================================================================
pending   it fires, and has not held for long enough
renewed   it was told, and is about something else now that has not held yet
due       it fires and has held: the next message tells it
over      it had held and is over, untold: the next message tells it as over
told      it fires, and was told
ending    it was told and is over: the next message says so
resting   all is told; remembered, so that what comes back soon makes no flood
gone      it is not remembered
========  =====================================================================

Pure values.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """A phase; the module has what each means."""

    PENDING = "pending"
    RENEWED = "renewed"
    DUE = "due"
    OVER = "over"
    TOLD = "told"
    ENDING = "ending"
    RESTING = "resting"
    GONE = "gone"


class Step(StrEnum):
    """What happens to something.

    It begins to fire; it is about something else; it has held for long enough; it ends; it leaves the list
    without being over (somebody has acknowledged it, or it is too old); it is in a message.
    """

    BEGINS = "begins"
    CHANGES = "changes"
    HOLDS = "holds"
    ENDS = "ends"
    LEAVES = "leaves"
    TELLS = "tells"


P, S = Phase, Step

TABLE: dict[tuple[Phase, Step], Phase] = {
    (P.GONE, S.BEGINS): P.PENDING,
    (P.RESTING, S.BEGINS): P.PENDING,
    (P.OVER, S.BEGINS): P.DUE,
    (P.ENDING, S.BEGINS): P.RENEWED,
    (P.PENDING, S.CHANGES): P.PENDING,
    (P.RENEWED, S.CHANGES): P.RENEWED,
    (P.DUE, S.CHANGES): P.DUE,
    (P.TOLD, S.CHANGES): P.RENEWED,
    (P.PENDING, S.HOLDS): P.DUE,
    (P.RENEWED, S.HOLDS): P.DUE,
    (P.PENDING, S.ENDS): P.RESTING,
    (P.RENEWED, S.ENDS): P.ENDING,
    (P.DUE, S.ENDS): P.OVER,
    (P.TOLD, S.ENDS): P.ENDING,
    (P.PENDING, S.LEAVES): P.RESTING,
    (P.RENEWED, S.LEAVES): P.RESTING,
    (P.DUE, S.LEAVES): P.OVER,
    (P.TOLD, S.LEAVES): P.RESTING,
    (P.DUE, S.TELLS): P.TOLD,
    (P.OVER, S.TELLS): P.RESTING,
    (P.ENDING, S.TELLS): P.RESTING,
}
"""The phase to which a step leads; what is not listed cannot happen, and changes nothing."""

FIRING = frozenset({P.PENDING, P.RENEWED, P.DUE, P.TOLD})
"""It fires now."""
WAITING = frozenset({P.PENDING, P.RENEWED, P.DUE, P.OVER, P.ENDING})
"""Time, or a message, leads on from here."""
UNTOLD = frozenset({P.PENDING, P.RENEWED, P.DUE, P.OVER})
"""As it is now, nobody was told of it."""
READY = frozenset({P.DUE, P.OVER, P.ENDING})
"""The next message has it."""


def after(phase: Phase, step: Step) -> Phase:
    """Return the phase after a step."""
    return TABLE.get((phase, step), phase)
