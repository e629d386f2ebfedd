"""Check the prefix of all keys that coordd reads in a Redis. Pure.

Any text without white space may be one; what is special in a pattern of Redis (``*``, ``[``) stands for
itself. Refused is a prefix behind which keys would mean something else to whoever shares the Redis and uses
none: ``agent:`` makes ``heartbeat:a`` of one what is ``agent:heartbeat:a`` of the other.
"""

from __future__ import annotations

LONGEST_PREFIX = 64
"""Characters; with the longest id a key then has less than 2 KiB."""

TRACES = (
    "agents:registry",
    "heartbeat:",
    "agent:heartbeat:",
    "agent:tasks:",
    "tasks:available",
    "work:available:",
    "tasks:priority_queue",
    "tasks:claimed:",
    "task:claim:",
    "task:progress:",
)
"""The keys that coordd reads where there is no prefix: a beginning with ``:`` at its end, else one key."""


def check_redis_prefix(prefix: str) -> str:
    """Return the prefix.

    Raises:
        ValueError: it cannot be one; the text says what was expected.
    """
    if len(prefix) > LONGEST_PREFIX or not prefix.isprintable() or " " in prefix:
        raise ValueError(f"expected at most {LONGEST_PREFIX} printable characters without white space")
    for mine in TRACES:
        other = _meant(prefix + mine) if prefix else None
        if other is not None:
            raise ValueError(
                f"expected another one: {prefix}{mine} would be read as {other} by those without a prefix"
            )
    return prefix


def _meant(key: str) -> str | None:
    """Return which keys without a prefix this one, or one that begins like it, belongs to."""
    return next((one for one in TRACES if one.endswith(":") and key.startswith(one)), None)
