"""Decide when an agent has come into a state that somebody waits for. Pure, on monotonic time.

A state counts once it has held, as it does for events: many a prompt answers itself, and between two turns
an agent is idle for a moment. What the daemon has seen for longer than that already counts at once.

=====================  ===============================================================================
outcome                when
=====================  ===============================================================================
``reached``            it is in one of the states that are waited for
``over``               it will not come into one: it was killed, has fallen silent, ended, or is gone
(none)                 any other, for now
=====================  ===============================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from coordd.cli.agent_words import doing, state_of
from coordd.util.text import epoch_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

STATES = ("idle", "waiting", "blocked", "stalled", "working", "ended")
"""What can be waited for."""
HOLD = 1.0
"""Seconds for which a state has to hold; an end holds."""
HOLD_WAITING = 3.0
"""The same of an agent that waits for a human."""
GONE = ("killed", "silent", "inactive", "ended")


_PREDICATES = {
    "killed": "was killed",
    "silent": "has fallen silent",
    "ended": "has ended",
    "gone": "has left the list",
}
"""What became of an agent, as a sentence about it goes on."""


class Outcome(NamedTuple):
    """How the waiting ended; ``words`` say what the agent does: ``waiting: permission prompt``."""

    how: Literal["reached", "over"]
    words: str


class AwaitedState:
    """Follow one agent until it is in one of the states ``until``."""

    def __init__(self, until: Collection[str]) -> None:
        self.words = ""
        """What the agent does, as it was seen last: ``waiting: permission prompt``; empty before it was."""
        self._until = until
        self._state: str | None = None
        self._counts_at = 0.0

    def see(self, agent: Mapping[str, Any] | None, mono: float) -> None:
        """Note what the daemon says of the agent now; None: it is not listed."""
        state = None if agent is None else state_of(agent)
        if agent is None:
            self._state, self.words, self._counts_at = "gone", "gone", mono
            return
        more = doing(agent, later=None)
        self.words = f"{state}: {more}" if more and state in ("waiting", "unknown") else str(state)
        if state != self._state:
            self._state = state
            self._counts_at = mono + max(0.0, _hold(state) - _held(agent))

    def outcome(self, mono: float) -> Outcome | None:
        """Return how the waiting has ended by now; None while it goes on."""
        if self._state is None or mono < self._counts_at:
            return None
        if self._state in self._until:
            return Outcome("reached", self.words)
        return Outcome("over", self.words) if self._state in (*GONE, "gone") else None

    def predicate(self, mono: float) -> str:
        """Return what the agent does by now, as a sentence about it goes on: ``is idle``, ``was killed``."""
        state, _, more = self.words.partition(": ")
        words = _PREDICATES.get(str(self._state)) or f"is {state}" + (f" ({more})" if more else "")
        if self._state in self._until and mono < self._counts_at:
            words += f", for less than {_hold(self._state):.0f} s"
        return words

    @property
    def unknown(self) -> bool:
        """Whether nobody can say now what the agent does."""
        return self._state == "unknown"

    def due(self, mono: float) -> float | None:
        """Return the seconds until the present state counts; None where it does, or none is known."""
        left = self._counts_at - mono
        return left if self._state is not None and left > 0 else None


def _hold(state: str | None) -> float:
    if state in GONE:
        return 0.0
    return HOLD_WAITING if state == "waiting" else HOLD


def _held(agent: Mapping[str, Any]) -> float:
    """Return for how many seconds the daemon has seen the activity already, by its own clock."""
    at, since = epoch_of(agent.get("timestamp")), epoch_of(agent.get("activity_since"))
    return 0.0 if at is None or since is None else max(0.0, at - since)
