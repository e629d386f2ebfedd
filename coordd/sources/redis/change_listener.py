"""Subscribe to changes of keys for one connection after another; if refused, try again now and then.

Permissions may be granted and connections may become free while coordd runs. It asks again soon at first and
seldom later, since each attempt costs a connection and a line in the server's log of refusals.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from time import monotonic

from coordd.redislink.session import RedisSession
from coordd.sources.redis.tracking import NotPermitted, TrackingSubscription, track

log = logging.getLogger(__name__)

AGAIN = (2.0, 30.0)
"""Seconds until the next attempt: the first pause and the longest; each is twice as long as the last."""


class ChangeListener:
    """Keep a subscription to changes of keys, as far as the server grants it.

    Args:
        url: of the Redis that the listening connection goes to.
        tracked: what the keys begin with; none may begin with another.
        on_change: called with the keys that changed; None means that any key may have.
    """

    def __init__(
        self,
        *,
        url: str,
        tracked: Sequence[bytes],
        on_change: Callable[[Collection[bytes] | None], None],
    ) -> None:
        self._url = url
        self._tracked = tracked
        self._on_change = on_change
        self._last_refusal: str | None = None
        self._subscription: TrackingSubscription | None = None
        self._refused_by: RedisSession | None = None
        self._again = 0.0
        self._pause = AGAIN[0]

    async def begin_if_due(self, session: RedisSession) -> bool:
        """Ask for the changes of keys, unless this connection was refused a short while ago.

        Returns:
            Whether changes are announced from now on.

        Raises:
            RedisLost: the connection failed.
        """
        if session is not self._refused_by:
            self._pause = AGAIN[0]
        elif monotonic() < self._again:
            return False
        if await self.begin(session):
            self._refused_by = None
            return True
        self._refused_by = session
        self._again = monotonic() + self._pause
        self._pause = min(2 * self._pause, AGAIN[1])
        return False

    async def begin(self, session: RedisSession) -> bool:
        """Ask for the changes of keys that ``session`` is to track; return whether that is granted.

        Raises:
            RedisLost: the connection failed.
        """
        await self.end()
        try:
            self._subscription = await track(self._url, session, self._tracked)
        except NotPermitted as refused:
            if str(refused) != self._last_refusal:
                self._last_refusal = str(refused)
                log.warning("changes in Redis are found by polling: it does not announce them (%s)", refused)
            return False
        if self._last_refusal is not None:
            self._last_refusal = None
            log.info("changes in Redis are announced now")
        return True

    async def listen(self) -> None:
        """Report changes, after :meth:`begin`; never returns while the subscription lives.

        Raises:
            RedisLost: a connection failed.
        """
        subscription = self._subscription
        if subscription is None:
            return
        try:
            while True:
                self._on_change(await subscription.changed())
        finally:
            if self._subscription is subscription:
                self._subscription = None
            await subscription.close()

    async def ping(self) -> None:
        """Check that the subscription still answers; to be called now and then.

        Raises:
            RedisLost: it has not answered in time, or the connection failed.
        """
        if self._subscription is not None:
            await self._subscription.ping()

    async def end(self) -> None:
        """Close the subscription, if there is one."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
