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
        # by process, for all of them are compared when it is too much
        self._sizes: dict[object, dict[H, int]] = {}
        self._of_process: Counter[object] = Counter()
        self._total = 0

    def holds(self, holder: H, size: int) -> None:
        """Set how many bytes a connection takes now."""
        process = holder.caller.key
        sizes = self._sizes.get(process)
        if sizes is None:
            if not size:
                return
            sizes = self._sizes[process] = {}
        more = size - sizes.get(holder, 0)
        self._total += more
        self._of_process[process] += more
        if size:
            sizes[holder] = size
        else:
            sizes.pop(holder, None)
            if not sizes:
                del self._sizes[process], self._of_process[process]

    def heaviest(self) -> H | None:
        """Return the largest holder of the process that holds most; None while there is room."""
        if self._total <= self._most:
            return None
        sizes = self._sizes[max(self._of_process, key=self._of_process.__getitem__)]
        return max(sizes, key=sizes.__getitem__)
