"""What is known of a Redis, as values: there also where no Redis is, and then all there is of redislink."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What is known of the Redis at the last look.

    ``error`` says of "Redis" what is wrong while it is not connected; ``since`` is the monotonic time of the
    last change between the two. ``latency_ms`` is the round trip of the last look. ``run_id`` is another one
    after each start of the server. What the server will not tell is None.
    """

    connected: bool = False
    error: str | None = None
    code: str | None = None
    since: float | None = None
    latency_ms: float | None = None
    used_memory: int | None = None
    keys: int | None = None
    version: str | None = None
    run_id: str | None = None
