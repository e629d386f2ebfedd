"""What lies in memory for clients, and whose share of it is too much. Pure.

One request of 1 MiB and one answer of 40 MiB that is not read yet are in order; a thousand of them are not.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, Protocol, TypeVar

from coordd.protocol.admission import Caller


class ShareHolder(Protocol):
    """A client."""

    caller: Caller


H = TypeVar("H", bound=ShareHolder)


class Memory(Generic[H]):
    """Bytes by client. ``most`` is what all may hold together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: dict[H, int] = {}
        self._total = 0

    def holds(self, holder: H, size: int) -> None:
        """So many bytes lie there for it now."""
        self._total += size - self._sizes.get(holder, 0)
        if size:
            self._sizes[holder] = size
        else:
            self._sizes.pop(holder, None)

    def heaviest(self) -> H | None:
        """Who has to let go: of the process that holds most, who holds most; None while all have room."""
        if self._total <= self._most:
            return None
        whos: Counter[object] = Counter()
        for holder, size in self._sizes.items():
            whos[holder.caller.who] += size
        return max(self._sizes, key=lambda one: (whos[one.caller.who], self._sizes[one]))
