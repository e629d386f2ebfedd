"""Keep one connection to a Redis alive, and tell its users when it comes and goes.

All of coordd's commands to Redis share this connection; only subscriptions have their own. If either fails,
both are closed and opened again, with at most one attempt a second. What is found, and when::

    the server closes or resets the connection, or ends        at once, by the loop
    its host or the network is gone                            within 8 s, by the kernel (SO_KEEPALIVE): no
                                                               command is sent, and this process sleeps
    the server is frozen, or what is in between answers        with the next command, at the latest with the
    for it                                                     exchange each :data:`CHECK_EVERY` seconds

Nothing is judged by a connection that is dead and not found yet: before an agent counts as silent, it is read
once more, and that finds it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Protocol

from coordd.config.redis_url import public_url, uses_tls
from coordd.redislink.facts import RedisFacts
from coordd.redislink.info import number_of, version_of
from coordd.redislink.server_info import ASKED, ServerInfo
from coordd.redislink.session import RedisLost, RedisSession
from coordd.redislink.target import parse_target
from coordd.runtime.backoff import Backoff
from coordd.runtime.footprint import import_redis_without_ssl

log = logging.getLogger(__name__)

CHECK_EVERY = 15.0
"""Seconds between two exchanges with the server (server_info.py): the only commands to a Redis in which
nothing changes. Whoever wants to know something of the server regularly has it from there (``exchanged``)."""
PAUSE = 1.0
"""The least number of seconds between two attempts; the backoff is added."""


class ConnectionUser(Protocol):
    """A part of coordd that uses the connection."""

    def up(self, session: RedisSession, facts: RedisFacts) -> None:
        """Take a new connection that answers; called on the loop, must not wait."""
        ...

    def down(self, trouble: str) -> None:
        """Handle the loss of the connection, or a failed first attempt; called again for a new reason."""
        ...


class RedisConnection:
    """Keep a connection to ``url``; ``on_change`` is called when it is established or lost.

    ``users`` are told when it comes and goes. ``exchanged`` are called with what each regular exchange told,
    the first time after ``up`` of the users.
    """

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
        self.users: list[ConnectionUser] = []
        self.exchanged: list[Callable[[ServerInfo], None]] = []
        self._database = parse_target(url).database
        self._on_change = on_change
        self._backoff = Backoff(random=random, first=0.1, longest=1.0)
        self._session: RedisSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._first = asyncio.Event()

    def load(self) -> None:
        """Import what connecting needs.

        This takes a fifth of a second, so it is for a thread, before :meth:`start`.
        """
        if not uses_tls(self.url):
            import_redis_without_ssl()
        import coordd.redislink.packed  # noqa: F401

    def start(self) -> None:
        """Begin to connect; needs a running loop."""
        self._task = asyncio.ensure_future(self._run())

    async def first_check(self) -> None:
        """Return when the first attempt to connect has succeeded or failed."""
        await self._first.wait()

    async def stop(self) -> None:
        """Disconnect, without telling the users."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._disconnect()

    def report_lost(self, lost: RedisLost) -> None:
        """Reconnect, since a user's own connection to this Redis has failed."""
        if self._session is not None and self.facts.connected:
            self._mark_down(lost)
            self._wake.set()

    def check_soon(self) -> None:
        """Check the connection now instead of at the next interval."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                self._session = session = await RedisSession.open(self.url)
                session.when_lost(self._wake.set)
                await self._begin(session)
                self._backoff.reset()
                while self.facts.connected:
                    # before Python 3.12 wait_for loses a cancellation that arrives together with the wake-up
                    with suppress(TimeoutError):
                        async with asyncio.timeout(CHECK_EVERY):
                            await self._wake.wait()
                    self._wake.clear()
                    if self.facts.connected:
                        await self._check(session)
            except RedisLost as lost:
                self._mark_down(lost)
            except Exception as error:  # a bug must not end the supervision; it is logged with a traceback
                log.exception("looking after Redis failed")
                self._mark_down(RedisLost(f"cannot be looked after: {type(error).__name__}"))
            await self._disconnect()
            await asyncio.sleep(PAUSE + self._backoff.next())

    async def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _begin(self, session: RedisSession) -> None:
        info, measured = await self._measure(session)
        self._set_facts(
            replace(
                measured,
                connected=True,
                since=monotonic(),
                version=version_of(info.fields),
                run_id=info.fields.get("run_id"),
            )
        )
        for user in self.users:
            if self.facts.connected:  # a user called before may have found it broken
                _call_safely(user.up, session, self.facts)
        self._tell(info)

    async def _check(self, session: RedisSession) -> None:
        info, measured = await self._measure(session)
        if self.facts.connected:
            self.facts = replace(
                self.facts,
                latency_ms=measured.latency_ms,
                keys=measured.keys,
                used_memory=measured.used_memory,
            )
            self._tell(info)

    def _tell(self, info: ServerInfo) -> None:
        for listener in self.exchanged:
            _call_safely(listener, info)

    async def _measure(self, session: RedisSession) -> tuple[ServerInfo, RedisFacts]:
        began = monotonic()
        info = ServerInfo.of(await session.call(*ASKED))
        latency = round((monotonic() - began) * 1000, 3)
        if info.trouble is not None and info.trouble.means.unusable:
            raise RedisLost(str(info.trouble), info.trouble.code)
        return info, RedisFacts(
            latency_ms=latency,
            keys=info.keys(self._database),
            used_memory=number_of(info.fields, "used_memory"),
        )

    def _mark_down(self, lost: RedisLost) -> None:
        was, first = self.facts, not self._first.is_set()
        facts = RedisFacts(
            error=str(lost),
            code=lost.code,
            since=was.since if was.since is not None and not was.connected else monotonic(),
            version=was.version,
        )
        if was.connected or first:
            self._set_facts(facts)
        else:
            self.facts = facts
            if facts.error == was.error:
                return
        for user in self.users:
            _call_safely(user.down, str(lost))

    def _set_facts(self, facts: RedisFacts) -> None:
        self.facts = facts
        self._first.set()
        _call_safely(self._on_change, facts)


def _call_safely(callback: Callable[..., None], *about: object) -> None:
    """Call a callback and log its failure, so that the others are called as well."""
    try:
        callback(*about)
    except Exception:
        log.exception("a callback for a change of the Redis connection failed")
