"""Hearing of changes for as long as a connection lasts; where that is not to be had, asking for it again.

Rights are granted and connections become free while coordd runs: it asks again soon at first, later seldom,
for each time is a connection, and a line in the server's log of what it refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from coordd.redislink.session import RedisSession
from coordd.sources.redis.keys import BCAST_PREFIXES
from coordd.sources.redis.tracking import NotPermitted, TrackingSubscription, track

log = logging.getLogger(__name__)

AGAIN = (2.0, 30.0)
"""Seconds until it is asked for again: at first, and at the most; each time twice as long."""


class Listening:
    """One attempt after the other to be told of changes.

    Args:
        url: where the listening connection goes.
        told: is told of the keys that changed; None: anything may have.
    """

    def __init__(self, *, url: str, told: Callable[[Collection[bytes] | None], None]) -> None:
        self._url = url
        self._told = told
        self._said: str | None = None
        self._subscription: TrackingSubscription | None = None

    async def begin(self, wire: RedisSession) -> bool:
        """Ask to be told of the changes that ``wire`` is to track; whether that is granted.

        Raises:
            RedisLost: the connection failed.
        """
        await self.end()
        try:
            self._subscription = await track(self._url, wire, BCAST_PREFIXES)
        except NotPermitted as refused:
            if str(refused) != self._said:
                self._said = str(refused)
                log.warning("changes in Redis are found by polling: it does not announce them (%s)", refused)
            return False
        if self._said is not None:
            self._said = None
            log.info("changes in Redis are announced now")
        return True

    async def begin_at_last(self, wire: RedisSession) -> None:
        """Ask again and again; returns when it is granted.

        Raises:
            RedisLost: the connection failed.
        """
        pause, longest = AGAIN
        await asyncio.sleep(pause)
        while not await self.begin(wire):
            pause = min(2 * pause, longest)
            await asyncio.sleep(pause)

    async def listen(self) -> None:
        """Tell of changes, after :meth:`begin`; never returns.

        Raises:
            RedisLost: a connection failed.
        """
        while self._subscription is not None:
            self._told(await self._subscription.changed())

    async def ping(self) -> None:
        """Ask for a sign of life; to be called every few seconds.

        Raises:
            RedisLost: there is none.
        """
        if self._subscription is not None:
            await self._subscription.ping()

    async def end(self) -> None:
        """Let go."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
