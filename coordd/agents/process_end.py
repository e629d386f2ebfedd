"""Judge the end of an agent's process once, when it is told of: did it end in order, or was it killed?

Pure. One table, in which the first row that fits decides; it is the documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

OrderlySign = Literal["deregistration", "session-file", "turn"]

SIGNS: dict[str | None, OrderlySign] = {
    None: "deregistration",
    "claude-code": "session-file",
    "codex": "turn",
    "copilot": "session-file",
}
"""How a kind of agent shows that it ends in order; None: what is known from coordination traces alone.

A kind that is not named shows it in no way.
"""


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """What is known of the end of a process that was once seen alive.

    ``kind`` is that of the agent, None where only a registration tells of it. ``deregistered`` is whether it
    deregistered, said that it ended, or its session did (a SessionEnd hook). ``session_present`` is whether
    its session's own file lies there still. ``in_turn`` is whether its last turn was neither completed nor
    aborted; one that had no turn at all is in none. ``watched`` is whether coordd ran when it ended,
    ``same_boot`` whether the machine has been up since it was last seen.
    """

    kind: str | None = None
    deregistered: bool = False
    session_present: bool = False
    in_turn: bool = False
    watched: bool = True
    same_boot: bool = True

    @property
    def sign(self) -> OrderlySign | None:
        """How an agent of this kind shows that it ends in order, None if in no way."""
        return SIGNS.get(self.kind)


@dataclass(frozen=True, slots=True)
class EndRow:
    """One row: the condition in words (``when``) and in code (``fits``), and whether it is an orderly end."""

    number: int
    when: str
    fits: Callable[[ProcessEnd], bool]
    orderly: bool


TABLE: tuple[EndRow, ...] = (
    EndRow(1, "the machine was restarted since", lambda end: not end.same_boot, True),
    EndRow(2, "it deregistered, or its session said that it ended", lambda end: end.deregistered, True),
    EndRow(
        3,
        "it ended while coordd was down, and its session file still lies there",
        lambda end: not end.watched and end.sign == "session-file" and end.session_present,
        False,
    ),
    EndRow(4, "it ended while coordd was down", lambda end: not end.watched, True),
    EndRow(
        5,
        "its session file is gone",
        lambda end: end.sign == "session-file" and not end.session_present,
        True,
    ),
    EndRow(
        6,
        "it is a Codex whose last turn was completed or aborted",
        lambda end: end.sign == "turn" and not end.in_turn,
        True,
    ),
    EndRow(7, "it is of a kind without signs of an orderly end", lambda end: end.sign is None, True),
    EndRow(8, "nothing tells of an orderly end", lambda _: True, False),
)


def judge_end(end: ProcessEnd) -> EndRow:
    """Return the first row that fits: whether the end was orderly, and why in words."""
    return next(row for row in TABLE if row.fits(end))
