"""Say why Redis refuses samples, and what that means for those it has. Pure."""

from __future__ import annotations

from coordd.redislink.trouble import ServerError

CATCHING_UP = "Redis takes samples again; what it missed is still being written"

_MAY_HAVE_LOST = frozenset({"OOM", "READONLY"})
_OF_ONE_KEY = frozenset({"WRONGTYPE"})


def refusal(topic: str, error: ServerError) -> str:
    """Return in words why samples of a topic are refused."""
    if error.code == "NOPERM":
        return (
            f"Redis does not permit this user to write metrics:{topic}:* "
            "(ACL SETUSER … ~metrics:* +set +hset +expire)"
        )
    return f"Redis {error}"


def may_have_lost(error: ServerError) -> bool:
    """Return whether samples that Redis had may be lost after this refusal.

    A full memory evicts keys before it refuses writes, first those with a time to live, as coordd's have; a
    replica replaces its data with its master's.
    """
    return error.code in _MAY_HAVE_LOST


def is_of_one_key(error: ServerError) -> bool:
    """Return whether only this key is refused, because something else uses it; trying again never helps."""
    return error.code in _OF_ONE_KEY
