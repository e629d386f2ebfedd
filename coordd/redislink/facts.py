"""Define what is known of a Redis, as plain values; used even where no Redis is configured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What the last check found out about the Redis.

    ``error`` says of "Redis" what is wrong while it is not connected; ``since`` is the monotonic time at
    which it was last connected or lost. ``latency_ms`` is the round trip of the last check. ``run_id``
    changes with each start of the server. A value that the server does not reveal is None.
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
