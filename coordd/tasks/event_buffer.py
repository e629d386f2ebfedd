"""What happens to tasks, and to agents because of them, kept until somebody asks. Pure values that change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coordd.model import Status

MAX_NEWS = 1000
"""So much news is kept for whoever asks next; more is counted only."""


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task (``subject``) held by ``agent_id``, or to an agent (``subject``)."""

    kind: Literal["task.claimed", "task.released", "claim.orphaned", "agent.stalled"]
    workspace: str | None
    subject: str
    agent_id: str | None = None
    holder: Status | None = None
    tasks: tuple[str, ...] = ()
    idle: float | None = None


class EventBuffer:
    """The news since it was last taken."""

    def __init__(self) -> None:
        self._news: list[TaskEvent] = []
        self._missed = 0

    def __bool__(self) -> bool:
        return bool(self._news)

    def tell(self, news: TaskEvent) -> None:
        """Keep it, or count it where there is no room."""
        if len(self._news) < MAX_NEWS:
            self._news.append(news)
        else:
            self._missed += 1

    def take(self) -> tuple[list[TaskEvent], int]:
        """What happened since it was last asked, and how much more was not kept."""
        news, missed = self._news, self._missed
        self._news, self._missed = [], 0
        return news, missed
