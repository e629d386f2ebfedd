"""Subscribe to changed keys: CLIENT TRACKING in broadcast mode, redirected to a second connection.

Needs no configuration of the server; its ``notify-keyspace-events`` stays as it is. Two connections take
part: the caller's, which tracks, and a second one, which receives; the first must live as long as the second.
https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from coordd.redislink.session import RedisLost, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.requests import LONGEST_KEY

CHANNEL = b"__redis__:invalidate"
PATIENCE = 5.0
"""Seconds that the subscription may take to answer a ping; then it counts as lost."""


class NotPermitted(Exception):
    """Raised internally when the server does not track keys for this user, or takes no second connection."""


class TrackingSubscription:
    """Receive changed keys over a connection of its own; made by :func:`track`."""

    def __init__(self, session: RedisSession) -> None:
        self._session = session
        self._heard = asyncio.Event()

    async def changed(self) -> Collection[bytes] | None:
        """Wait for the next keys that changed; None means that any key may have (a flush).

        Raises:
            RedisLost: the subscription has ended.
        """
        while True:
            reply = await self._session.receive(largest=LONGEST_KEY + 1)
            self._heard.set()
            if not isinstance(reply, list) or len(reply) < 3 or reply[:2] != [b"message", CHANNEL]:
                continue  # the answer to a ping, which may be an error such as a full disk
            if not isinstance(reply[2], list):
                return None
            return [key for key in reply[2] if isinstance(key, bytes)]

    async def ping(self) -> None:
        """Check that the subscription still answers, while :meth:`changed` waits for what comes.

        Raises:
            RedisLost: nothing came within :data:`PATIENCE` seconds, or the connection failed.
        """
        self._heard.clear()
        await self._session.send("PING")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._heard.wait()
        except TimeoutError:
            await self._session.close()
            raise RedisLost("does not answer in time") from None

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()


async def track(url: str, session: RedisSession, prefixes: Sequence[bytes]) -> TrackingSubscription:
    """Subscribe to changes of keys with these prefixes, none of which may begin with another.

    Args:
        session: the connection that tracks; it must live as long as the subscription is used.

    Raises:
        NotPermitted: the server refuses one of the steps.
        RedisLost: a connection failed after it was established.
    """
    try:
        listener = await RedisSession.open(url)
    except RedisLost as lost:
        raise NotPermitted(f"a second connection: {lost}") from None
    try:
        refusal = await subscribe(listener, session, prefixes)
    except BaseException:
        await listener.close()
        raise
    if refusal is not None:
        await listener.close()
        raise NotPermitted(refusal)
    return TrackingSubscription(listener)


async def subscribe(listener: RedisSession, session: RedisSession, prefixes: Sequence[bytes]) -> str | None:
    """Take all steps of :func:`track` with connections at hand; return the one that was refused and why.

    Raises:
        RedisLost: a connection failed.
    """
    number = (await listener.call(("CLIENT", "ID")))[0]
    if not isinstance(number, int):
        return _refusal(number, "CLIENT ID")
    subscribed = (await listener.call(("SUBSCRIBE", CHANNEL)))[0]
    if not isinstance(subscribed, list):
        return _refusal(subscribed, "SUBSCRIBE")
    command: list[bytes | str | int] = ["CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST"]
    for prefix in prefixes:
        command += ["PREFIX", prefix]
    tracking = (await session.call(command))[0]
    return None if tracking == b"OK" else _refusal(tracking, "CLIENT TRACKING")


def _refusal(reply: object, command: str) -> str:
    return f"{command}: {reply.text if isinstance(reply, ServerError) else 'not understood'}"
