"""Being told by Redis of changed keys: CLIENT TRACKING in broadcast mode, redirected to a subscription.

Needs no configuration of the server, and its ``notify-keyspace-events`` stays as it is. Two connections are
in it: the one that tracks, and one of its own that hears; the first must live as long as the second.
https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import monotonic

from coordd.redislink.session import RedisLost, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.asking import LONGEST_KEY

CHANNEL = b"__redis__:invalidate"
PATIENCE = 5.0
"""Seconds of silence, pings unanswered, after which the subscription counts as lost."""


class NotPermitted(Exception):
    """The server does not track, for this user or at all, or takes no second connection; says why."""


class TrackingSubscription:
    """The connection that hears of changes; made by :func:`track`."""

    def __init__(self, wire: RedisSession) -> None:
        self._wire = wire
        self._heard = monotonic()

    async def changed(self) -> Collection[bytes] | None:
        """Wait for the next keys that changed, as the server names them; None: anything may have (a flush).

        Raises:
            RedisLost: the subscription is no more.
        """
        while True:
            reply = await self._wire.receive(largest=LONGEST_KEY + 1)
            self._heard = monotonic()
            if not isinstance(reply, list) or len(reply) < 3 or reply[:2] != [b"message", CHANNEL]:
                continue  # the answer to a ping, if only that the disk is full
            if not isinstance(reply[2], list):
                return None
            return [key for key in reply[2] if isinstance(key, bytes)]

    async def ping(self) -> None:
        """Ask for a sign of life; to be called every few seconds.

        Raises:
            RedisLost: there was none for :data:`PATIENCE` seconds, or the connection failed.
        """
        if monotonic() - self._heard > PATIENCE:
            await self._wire.close()
            raise RedisLost("does not answer in time")
        await self._wire.send("PING")

    async def close(self) -> None:
        """Let go."""
        await self._wire.close()


async def track(url: str, wire: RedisSession, prefixes: Sequence[bytes]) -> TrackingSubscription:
    """Begin to be told of keys that begin with one of the prefixes, none of which may begin another.

    Args:
        wire: the connection that tracks; it must be alive as long as the subscription is used.

    Raises:
        NotPermitted: the server refuses one of the steps.
        RedisLost: a connection failed after it was made.
    """
    try:
        listener = await RedisSession.open(url)
    except RedisLost as lost:
        raise NotPermitted(f"a second connection: {lost}") from None
    try:
        refusal = await _subscribe(listener, wire, prefixes)
    except BaseException:
        await listener.close()
        raise
    if refusal is not None:
        await listener.close()
        raise NotPermitted(refusal)
    return TrackingSubscription(listener)


async def _subscribe(listener: RedisSession, wire: RedisSession, prefixes: Sequence[bytes]) -> str | None:
    """Take all steps; the one that was refused, and why, or None."""
    number = (await listener.call(("CLIENT", "ID")))[0]
    if not isinstance(number, int):
        return _refusal(number, "CLIENT ID")
    subscribed = (await listener.call(("SUBSCRIBE", CHANNEL)))[0]
    if not isinstance(subscribed, list):
        return _refusal(subscribed, "SUBSCRIBE")
    command: list[bytes | str | int] = ["CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST"]
    for prefix in prefixes:
        command += ["PREFIX", prefix]
    tracking = (await wire.call(command))[0]
    return None if tracking == b"OK" else _refusal(tracking, "CLIENT TRACKING")


def _refusal(reply: object, command: str) -> str:
    return f"{command}: {reply.text if isinstance(reply, ServerError) else 'not understood'}"
