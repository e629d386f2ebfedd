"""The watch over one Redis: connects, looks after the connection, tells who uses it when it comes and goes.

All of coordd's exchanges with Redis share this connection, but for the one that subscribes; whatever fails on
either, both are left and made anew, at most one try a second. Its own timer is the wait for the next look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Protocol

from coordd.config.redis_url import public_url
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import RedisLost, RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.runtime.backoff import Backoff
from coordd.runtime.footprint import import_redis_without_ssl

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at the connection: one that is half-open is found within three. One that the
other side closes is found at once."""
PAUSE = 1.0
"""Seconds between two tries at the least; the backoff comes on top."""

_UNUSABLE = frozenset({"NOAUTH", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"})
"""Errors that every command would get: such a Redis is there and yet cannot be used."""


class Tenant(Protocol):
    """Whoever uses the connection."""

    def up(self, wire: RedisSession, facts: RedisFacts) -> None:
        """A new connection is there and answers; called on the loop, must not wait."""
        ...

    def down(self, trouble: str) -> None:
        """It is lost, or could not be had for the first time; called again with other words."""
        ...


class RedisConnection:
    """Keeps a connection to ``url``; ``on_change`` is told of each turn between connected and not."""

    def __init__(
        self,
        *,
        url: str,
        random: Callable[[], float],
        on_change: Callable[[RedisFacts], None] = lambda _facts: None,
    ) -> None:
        self.url = url
        self.shown_url = public_url(url)
        self.facts = RedisFacts()
        self.tenants: list[Tenant] = []
        self._on_change = on_change
        self._backoff = Backoff(random=random, first=0.1, longest=1.0)
        self._wire: RedisSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._first = asyncio.Event()

    def load(self) -> None:
        """Import what connecting needs: a fifth of a second, so it is for a thread, before :meth:`start`."""
        if not self.url.startswith("rediss:"):
            import_redis_without_ssl()
        import coordd.redislink.packed  # noqa: F401

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._task = asyncio.ensure_future(self._run())

    async def first_look(self) -> None:
        """Return when it is connected, or is known not to be."""
        await self._first.wait()

    async def stop(self) -> None:
        """Disconnect; nobody is told."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._leave()

    def broken(self, lost: RedisLost) -> None:
        """A tenant saw a connection of its own to this Redis fail: begin anew."""
        if self._wire is not None and self.facts.connected:
            self._down(lost)
            self._wake.set()

    def look_soon(self) -> None:
        """Look after the connection now rather than at its next turn."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._wire = wire = await RedisSession.open(self.url)
                wire.when_lost(self._wake.set)
                await self._begin(wire)
                self._backoff.reset()
                while self.facts.connected:
                    # not wait_for: before Python 3.12 it lets a cancellation go that comes with a wake-up
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_EVERY):
                            await self._wake.wait()
                    self._wake.clear()
                    if self.facts.connected:
                        await self._look(wire)
            except RedisLost as lost:
                self._down(lost)
            except Exception as error:  # a bug must not end the watch; it is logged with its place
                log.exception("looking after Redis failed")
                self._down(RedisLost(f"cannot be looked after: {type(error).__name__}"))
            await self._leave()
            await asyncio.sleep(PAUSE + self._backoff.next())

    async def _leave(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def _begin(self, wire: RedisSession) -> None:
        measured = await self._measured(wire)
        server = (await wire.call(("INFO", "server")))[0]
        version = _told(server, "valkey_version") or _told(server, "redis_version")
        self._turn(
            replace(
                measured, connected=True, since=monotonic(), version=version, run_id=_told(server, "run_id")
            )
        )
        for tenant in self.tenants:
            if self.facts.connected:  # a tenant may have found it broken already
                _told_safely(tenant.up, wire, self.facts)

    async def _look(self, wire: RedisSession) -> None:
        measured = await self._measured(wire)
        if self.facts.connected:
            self.facts = replace(
                self.facts,
                latency_ms=measured.latency_ms,
                keys=measured.keys,
                used_memory=measured.used_memory,
            )

    async def _measured(self, wire: RedisSession) -> RedisFacts:
        began = monotonic()
        ping, keys, memory = await wire.call(("PING",), ("DBSIZE",), ("INFO", "memory"))
        latency = round((monotonic() - began) * 1000, 3)
        if isinstance(ping, ServerError) and ping.code in _UNUSABLE:
            raise RedisLost(str(ping), ping.code)
        return RedisFacts(
            latency_ms=latency,
            keys=keys if isinstance(keys, int) else None,
            used_memory=_number(_told(memory, "used_memory")),
        )

    def _down(self, lost: RedisLost) -> None:
        was, first = self.facts, not self._first.is_set()
        facts = RedisFacts(
            error=str(lost),
            code=lost.code,
            since=was.since if was.since is not None and not was.connected else monotonic(),
            version=was.version,
        )
        if was.connected or first:
            self._turn(facts)
        else:
            self.facts = facts
            if facts.error == was.error:
                return
        for tenant in self.tenants:
            _told_safely(tenant.down, str(lost))

    def _turn(self, facts: RedisFacts) -> None:
        self.facts = facts
        self._first.set()
        _told_safely(self._on_change, facts)


def _told_safely(callback: Callable[..., None], *about: object) -> None:
    """One who is told and fails keeps nobody else from being told."""
    try:
        callback(*about)
    except Exception:
        log.exception("telling of a turn of Redis failed")


def _told(info: Reply, name: str) -> str | None:
    """One field of an INFO reply."""
    if not isinstance(info, bytes):
        return None
    for line in info.splitlines():
        key, _, value = line.partition(b":")
        if key == name.encode():
            return value.decode("ascii", "replace").strip()[:100]
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None
