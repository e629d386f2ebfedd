"""Say when the progress of a turn is recorded: each 15 s of an agent at most, and the last of it surely.

A transcript grows by several lines a second; two hundred busy agents would fill the disk's share of records
in days. Pure state: monotonic time is passed in.
"""

from __future__ import annotations

from coordd.agents.key import AgentKey

EVERY = 15.0
"""Seconds between two records of an agent that only its progress makes."""


class ProgressPace:
    """Hold when each agent was last recorded, and whose progress has not been since."""

    def __init__(self) -> None:
        self._recorded: dict[AgentKey, float] = {}
        self._held_back: dict[AgentKey, float] = {}

    def recorded(self, key: AgentKey, mono: float) -> None:
        """Note that an agent was recorded, whatever for."""
        self._recorded[key] = mono
        self._held_back.pop(key, None)

    def may(self, key: AgentKey, mono: float) -> bool:
        """Return whether progress may be recorded now; otherwise it is held back until it may."""
        due = self._recorded.get(key, -EVERY) + EVERY
        if due <= mono:
            return True
        self._held_back[key] = due
        return False

    def take(self, mono: float) -> list[AgentKey]:
        """Return the agents whose held back progress is to be recorded now; it counts as recorded."""
        due = [key for key, at in self._held_back.items() if at <= mono]
        for key in due:
            self.recorded(key, mono)
        return due

    def forget(self, key: AgentKey) -> None:
        """Forget an agent that is shown no longer."""
        self._recorded.pop(key, None)
        self._held_back.pop(key, None)

    @property
    def due(self) -> float | None:
        """The monotonic time of the first held back progress, None where there is none."""
        return min(self._held_back.values(), default=None)
