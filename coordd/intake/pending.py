"""Collect the keys of Redis that were announced as changed, until they are read.

The rule: at most :data:`MAX_PENDING` keys wait; beyond that, and when Redis does not name the keys,
everything has to be read. Pure state; it knows neither connection nor clock.
"""

from __future__ import annotations

from collections.abc import Collection

from coordd.sources.redis.requests import LONGEST_KEY

MAX_PENDING = 50_000
"""The number of announced keys that may wait to be read; beyond it everything is read."""


class PendingKeys:
    """Hold the announced keys; true while anything waits to be read."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._everything = False

    def __bool__(self) -> bool:
        return self._everything or bool(self._keys)

    def add(self, keys: Collection[bytes] | None) -> None:
        """Add the keys that changed; None means that anything may have changed."""
        if keys is None or len(self._keys) > MAX_PENDING:
            self._keys.clear()
            self._everything = True
        else:
            self._keys.update([key for key in keys if len(key) <= LONGEST_KEY])

    def take(self) -> Collection[bytes] | None:
        """Return and forget the keys that wait; None where everything has to be read."""
        keys, everything = self._keys, self._everything
        self.clear()
        return None if everything else keys

    def clear(self) -> None:
        """Forget all that waits."""
        self._keys = set()
        self._everything = False
