"""Follow one thing of one rule: its phase, since when it fires, and when it was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coordd.alerts.conditions import Condition
from coordd.alerts.message import EntryState
from coordd.alerts.phases import FIRING, Phase, Step, after

End = Literal["over", "left"]
"""How something ends: it is over; or it is on the list no longer, and nobody says that it is over."""


@dataclass(slots=True)
class Track:
    """One thing that a rule follows.

    Times are monotonic. ``began`` is since when it fires, ``seen`` when that was heard of, ``ended`` when it
    ended, None while it fires. ``due_at`` is when it first had held since it was told last, ``told_at`` when
    it was told last that it fires; None for never. ``times`` counts how often it fired and was not told.
    ``unsaid``: it ended without being over.
    """

    condition: Condition
    phase: Phase
    began: float
    seen: float
    ended: float | None = None
    due_at: float | None = None
    told_at: float | None = None
    times: int = 1
    unsaid: bool = False

    @property
    def fires(self) -> bool:
        """Return whether it fires now."""
        return self.phase in FIRING

    def begin(self, condition: Condition, began: float, seen: float) -> None:
        """Note that it fires, or what is known of it by now."""
        same = condition.id == self.condition.id
        if self.fires:
            if not same:
                self.times = self.times + 1 if self.phase is Phase.DUE else 1
                self.began, self.seen = began, seen
                self.phase = after(self.phase, Step.CHANGES)
            self.condition = condition
            return
        if self.phase is Phase.ENDING and same:  # nobody was told that it was over, and it is not
            self.phase = Phase.TOLD
        else:
            self.times = self.times + 1 if self.phase is Phase.OVER else 1
            self.phase = after(self.phase, Step.BEGINS)
            self.began, self.seen = began, seen
        self.condition, self.ended, self.unsaid = condition, None, False

    def hold(self, until: float, hold: float) -> None:
        """Note that time has come to ``until``: what has fired for ``hold`` seconds has held."""
        if self.phase in (Phase.PENDING, Phase.RENEWED) and self.began + hold <= until:
            self.phase = after(self.phase, Step.HOLDS)
            if self.due_at is None:
                self.due_at = self._held(hold)

    def end(self, how: End, at: float) -> None:
        """Note that it ended."""
        if self.fires:
            self.phase = after(self.phase, Step.ENDS if how == "over" else Step.LEAVES)
            self.ended = at
            self.unsaid = how == "left"
            if self.phase is Phase.ENDING:  # what had not held counts for nothing
                self.times = 0

    def drop(self) -> None:
        """Tell nothing of it: it is muted."""
        if self.phase in (Phase.OVER, Phase.ENDING):
            self.phase = Phase.RESTING
            self.due_at = None

    def tell(self, at: float) -> EntryState:
        """Note that it is in a message; return how it stands there."""
        state: EntryState = "firing" if self.fires else "happened" if self.unsaid else "resolved"
        if self.phase is not Phase.ENDING and self.condition.kind != "finished":  # each turn counts
            self.told_at = at
        self.due_at = None
        self.phase = after(self.phase, Step.TELLS)
        self.times = 0
        return state

    def ready_at(self, hold: float, apart: float) -> float:
        """Return when it is ready to be told: once it has held, and not soon after the last time.

        Args:
            hold: seconds for which it fires before it is told.
            apart: seconds between two messages that tell that it fires.
        """
        if self.phase is Phase.ENDING:
            return self.began if self.ended is None else self.ended
        held = self._held(hold) if self.due_at is None else self.due_at
        return held if self.told_at is None else max(held, self.told_at + apart)

    def _held(self, hold: float) -> float:
        """Return when it has held, or had already when it was heard of."""
        return max(self.began + hold, self.seen)
