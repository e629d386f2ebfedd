"""Bound how much untrusted content is kept in memory, over all sources together.

Values beyond a bound are left out and counted; the readers report it, and what depends on them is unknown.
Each bound is a :class:`Budget`, shared by the readers of all workspaces, which run in several threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

from coordd.agents.traces import Claim, Progress, Registration

T = TypeVar("T")

MAX_NAMED = 10_000
"""Task ids kept for one agent's list, and for one source's available tasks; more are only counted."""
_SMALLEST = 76
"""Bytes of an empty text that holds any character."""


class Budget:
    """A number of units that are taken and given back; thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = limit
        self._lock = Lock()

    @property
    def left(self) -> int:
        """The units that can still be taken."""
        return self._left

    def take(self, count: int) -> bool:
        """Take ``count`` units if there are as many; return whether they were taken."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def take_some(self, count: int) -> int:
        """Take up to ``count`` units; return how many were taken."""
        with self._lock:
            taken = max(0, min(count, self._left))
            self._left -= taken
            return taken

    def give(self, count: int) -> None:
        """Give units back."""
        with self._lock:
            self._left += count


@dataclass(frozen=True, slots=True)
class Bounds:
    """The budgets of one daemon.

    ``agents``, ``claims`` and ``progress`` count entries of each kind; ``files`` the agents' trace files, up
    to three each, and of a session's hooks eight more; ``listed`` the task ids in agents' lists, ``offered``
    those of available tasks. ``text`` is in bytes: descriptions, messages and other texts.
    """

    agents: Budget = field(default_factory=lambda: Budget(100_000))
    files: Budget = field(default_factory=lambda: Budget(300_000))
    claims: Budget = field(default_factory=lambda: Budget(100_000))
    progress: Budget = field(default_factory=lambda: Budget(100_000))
    listed: Budget = field(default_factory=lambda: Budget(200_000))
    offered: Budget = field(default_factory=lambda: Budget(200_000))
    text: Budget = field(default_factory=lambda: Budget(64 << 20))


class Quota(Generic[T]):
    """Decide which values of one kind are kept; this base class keeps all."""

    def admit(self, value: T) -> T | None:
        """Charge a value to the budgets; return the part of it that fits, None if nothing does."""
        return value

    def release(self, value: T) -> None:
        """Give back what an admitted value was charged."""


class TextQuota(Quota[T]):
    """Charge the texts of claims, progress and registrations to a budget of bytes."""

    def __init__(self, text: Budget) -> None:
        self._text = text

    def admit(self, value: T) -> T | None:
        """Charge all texts of the value; None if they do not fit."""
        return value if self._text.take(weight(value)) else None

    def release(self, value: T) -> None:
        """Give back the bytes of the value's texts."""
        self._text.give(weight(value))


def weight(value: object) -> int:
    """Return the bytes that the texts of a trace take at most; 0 for a value without texts.

    It is the same for equal values at any time; sys.getsizeof grows once a text has been encoded.
    """
    if isinstance(value, Claim):
        texts: tuple[str | None, ...] = (value.agent_id, value.status, value.description, value.problem)
    elif isinstance(value, Progress):
        texts = (value.message,)
    elif isinstance(value, Registration):
        texts = (value.status, value.hostname)
    else:
        return 0
    return sum(_SMALLEST + len(text) * (1 if text.isascii() else 4) for text in texts if text is not None)
