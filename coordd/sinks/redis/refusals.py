"""What a Redis that takes no samples says, in words, and what it means for the samples that it has. Pure."""

from __future__ import annotations

from coordd.redislink.trouble import ServerError

CATCHING_UP = "Redis takes samples again; what it missed is still being written"

_MAY_HAVE_LOST = frozenset({"OOM", "READONLY"})
_OF_ONE_KEY = frozenset({"WRONGTYPE"})


def refusal(topic: str, error: ServerError) -> str:
    """Why samples of a topic are not taken."""
    if error.code == "NOPERM":
        return (
            f"Redis does not permit this user to write metrics:{topic}:* "
            "(ACL SETUSER … ~metrics:* +set +hset +expire)"
        )
    return f"Redis {error}"


def may_have_lost(error: ServerError) -> bool:
    """Whether samples that Redis had may be gone when it takes some again.

    A memory that is full evicts before it refuses, our keys among the first (they have a time to live); a
    replica takes on its master's data.
    """
    return error.code in _MAY_HAVE_LOST


def is_of_one_key(error: ServerError) -> bool:
    """Whether somebody else uses the key for something: trying again never helps, and others may do."""
    return error.code in _OF_ONE_KEY
