"""Count the memory that connections take, and choose which one to drop when it is too much. Pure.

One request of 1 MiB, or one answer of 40 MiB that is not read yet, is fine; a thousand of them are not.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, Protocol, TypeVar

from coordd.protocol.admission import Caller


class ShareHolder(Protocol):
    """A connection that takes memory for its client."""

    caller: Caller


H = TypeVar("H", bound=ShareHolder)


class Memory(Generic[H]):
    """Count bytes by connection; ``most`` is what all may take together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: dict[H, int] = {}
        self._total = 0

    def holds(self, holder: H, size: int) -> None:
        """Set how many bytes a connection takes now."""
        self._total += size - self._sizes.get(holder, 0)
        if size:
            self._sizes[holder] = size
        else:
            self._sizes.pop(holder, None)

    def heaviest(self) -> H | None:
        """Return the largest holder of the process that holds most; None while there is room."""
        if self._total <= self._most:
            return None
        processes: Counter[object] = Counter()
        for holder, size in self._sizes.items():
            processes[holder.caller.key] += size
        return max(self._sizes, key=lambda one: (processes[one.caller.key], self._sizes[one]))
