"""Bound how much of what strangers wrote is kept in memory, over all sources together.

What finds no room is passed over and counted; the readers say so, and what hangs on it is unknown then. Each
bound is a :class:`Budget`, shared by the readers of all workspaces, which run in several threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import getsizeof
from threading import Lock
from typing import Generic, TypeVar

from coordd.agents.traces import Claim, Progress, Registration

T = TypeVar("T")

MAX_NAMED = 10_000
"""Tasks that are named of one agent's own, and of those available in one source; the rest is counted."""


class Budget:
    """So many units, taken and given back; thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = limit
        self._lock = Lock()

    @property
    def left(self) -> int:
        """How many there are to be had."""
        return self._left

    def take(self, count: int) -> bool:
        """Take all of these or none; whether they were there."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def take_some(self, count: int) -> int:
        """Take as many of these as there are; how many that was."""
        with self._lock:
            taken = max(0, min(count, self._left))
            self._left -= taken
            return taken

    def give(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += count


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one daemon.

    ``agents``, ``claims``, ``progress`` count what is known of each; ``files`` the trace files of agents, of
    which each has up to three. ``listed`` and ``offered`` count task ids that are named: in agents' own
    lists, and as available. ``text`` is bytes of descriptions, messages and the like.
    """

    agents: Budget = field(default_factory=lambda: Budget(100_000))
    files: Budget = field(default_factory=lambda: Budget(300_000))
    claims: Budget = field(default_factory=lambda: Budget(100_000))
    progress: Budget = field(default_factory=lambda: Budget(100_000))
    listed: Budget = field(default_factory=lambda: Budget(200_000))
    offered: Budget = field(default_factory=lambda: Budget(200_000))
    text: Budget = field(default_factory=lambda: Budget(64 << 20))


class Shelf(Generic[T]):
    """Decides what of one kind is kept. This one keeps everything, and is the base of those that do not."""

    def admit(self, value: T) -> T | None:
        """Book a value, or as much of it as finds room; None where none of it does."""
        return value

    def release(self, value: T) -> None:
        """A value that was admitted is kept no more."""


class TextShelf(Shelf[T]):
    """Books the texts of claims, progress and registrations."""

    def __init__(self, text: Budget) -> None:
        self._text = text

    def admit(self, value: T) -> T | None:
        """Book all its texts, or none."""
        return value if self._text.take(weight(value)) else None

    def release(self, value: T) -> None:
        """Give them back."""
        self._text.give(weight(value))


def weight(value: object) -> int:
    """Bytes that the texts of a trace take; nothing for what has none."""
    if isinstance(value, Claim):
        texts: tuple[str | None, ...] = (value.agent_id, value.status, value.description)
    elif isinstance(value, Progress):
        texts = (value.message,)
    elif isinstance(value, Registration):
        texts = (value.status, value.project_type, value.hostname, *(value.capabilities or ()))
    else:
        return 0
    return sum(getsizeof(text) for text in texts if text is not None)
