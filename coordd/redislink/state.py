"""Show Redis in documents and records: the mode label, ``status.redis``, and what is wrong with it.

Each daemon has one :class:`RedisState`; without a Redis it says that none is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coordd.model import CoordMode
from coordd.redislink.codes import fix_of
from coordd.redislink.facts import RedisFacts
from coordd.runtime.clocks import Moment
from coordd.util.text import age

OnEvent = Callable[[str, str, str, Mapping[str, object]], None]


class RedisState:
    """What is known of the configured Redis, for documents and records.

    Args:
        url: without its password; None if no Redis is configured.
        labels: whether ``coord_mode`` follows the connection; with ``mode = "file"`` it does not.
        writes: whether samples are written to it.
        on_event: records an event: kind, subject, message, detail.
    """

    def __init__(self, *, url: str | None, labels: bool, writes: bool, on_event: OnEvent) -> None:
        self.url = url
        self.facts = RedisFacts()
        self.feed: Callable[[], str | None] = lambda: None
        self.troubles: Callable[[], Mapping[str, str]] = dict
        self.standstill: Callable[[], str | None] = lambda: None
        self._labels = labels
        self._writes = writes
        self._on_event = on_event
        self._looked = False
        self._look: Callable[[], RedisFacts] = lambda: self.facts

    def follow(self, look: Callable[[], RedisFacts]) -> None:
        """Take the present facts from ``look`` from now on."""
        self._look = look

    @property
    def mode(self) -> CoordMode:
        """The label ``coord_mode`` of this moment."""
        return "redis" if self._labels and self._look().connected else "file"

    @property
    def used_memory(self) -> int | None:
        """Bytes of memory that the server used at the last check; None if unknown."""
        return self._look().used_memory

    @property
    def keys(self) -> int | None:
        """The number of keys in the database at the last check; None if unknown."""
        return self._look().keys

    def changed(self, facts: RedisFacts) -> None:
        """Record an event for a connection that was established or lost."""
        first, self._looked = not self._looked, True
        before = self.facts.connected
        self.facts = facts
        if facts.connected == before and not first:
            return
        subject = self.url or ""
        if facts.connected:
            detail = {"version": facts.version}
            self._on_event("redis.up", subject, f"Redis {subject} answers", detail)
        else:
            detail = {"error": facts.error}
            self._on_event("redis.down", subject, f"Redis {subject} {facts.error}", detail)
        if self._labels and facts.connected != before:
            mode = "redis" if facts.connected else "file"
            words = f"the configured Redis {'answers' if facts.connected else 'does not answer'}"
            self._on_event("mode.changed", mode, f"coord_mode is now {mode}: {words}", {"mode": mode})

    def document(self) -> dict[str, object]:
        """Return the ``redis`` object of ``status``."""
        facts = self._look()
        error = facts.error or self.standstill()
        return {
            "configured": self.url is not None,
            "connected": facts.connected,
            "url": self.url,
            "used_memory": facts.used_memory,
            "keys": facts.keys,
            "latency_ms": facts.latency_ms,
            "feed": self.feed(),
            "error": None if error is None else f"Redis {error}",
            "fix": fix_of(facts.code) if self.url is not None and facts.error is not None else None,
            "writes": self._writes,
            "version": facts.version,
        }

    def explains(self, trouble: str | None) -> bool:
        """Return whether :meth:`problems` already covers what a sink reports of Redis."""
        standstill = self.standstill()
        return not self.facts.connected or bool(
            standstill and trouble and trouble.startswith(f"Redis {standstill.partition(':')[0]}")
        )

    def problems(self, now: Moment) -> list[str]:
        """Return what is wrong with Redis, in sentences."""
        facts = self._look()
        if self.url is None or not self._looked:
            return []
        if not facts.connected:
            since = "" if facts.since is None else f" (for {age(now.mono - facts.since)})"
            return [f"Redis {self.url} {facts.error}{since}"]
        standstill = self.standstill()
        found = [f"Redis {self.url} {standstill}; agents cannot beat there"] if standstill else []
        found += [f"{kind} in Redis cannot be read: it {words}" for kind, words in self.troubles().items()]
        return found
