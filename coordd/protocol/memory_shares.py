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
        self._sizes: dict[object, dict[H, int]] = {}  # by process, for all are looked at when it is too much
        self._of_who: Counter[object] = Counter()
        self._total = 0

    def holds(self, holder: H, size: int) -> None:
        """So many bytes lie there for it now."""
        who = holder.caller.who
        sizes = self._sizes.get(who)
        if sizes is None:
            if not size:
                return
            sizes = self._sizes[who] = {}
        more = size - sizes.get(holder, 0)
        self._total += more
        self._of_who[who] += more
        if size:
            sizes[holder] = size
        else:
            sizes.pop(holder, None)
            if not sizes:
                del self._sizes[who], self._of_who[who]

    def heaviest(self) -> H | None:
        """Who has to let go: of the process that holds most, who holds most; None while all have room."""
        if self._total <= self._most:
            return None
        sizes = self._sizes[max(self._of_who, key=self._of_who.__getitem__)]
        return max(sizes, key=sizes.__getitem__)
