"""Buffer the events of tasks until they are taken. Pure state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coordd.model import Status

MAX_EVENTS = 1000
"""The number of events that are kept; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """An event of a task (``subject``) held by ``agent_id``.

    ``holder`` is the status of the holder of an orphaned claim.
    """

    kind: Literal["task.claimed", "task.released", "claim.orphaned"]
    workspace: str | None
    subject: str
    agent_id: str | None = None
    holder: Status | None = None


class EventBuffer:
    """Keep the events since they were last taken, up to :data:`MAX_EVENTS`."""

    def __init__(self) -> None:
        self._events: list[TaskEvent] = []
        self._missed = 0

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, event: TaskEvent) -> None:
        """Keep the event, or count it when the buffer is full."""
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
        else:
            self._missed += 1

    def take(self) -> tuple[list[TaskEvent], int]:
        """Return the events since the last call, and the number of those that were dropped."""
        events, missed = self._events, self._missed
        self._events, self._missed = [], 0
        return events, missed
