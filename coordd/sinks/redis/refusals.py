"""Say why Redis refuses samples. Pure."""

from __future__ import annotations

from coordd.redislink.trouble import ServerError

CATCHING_UP = "Redis takes samples again; what it missed is still being written"


def refusal(topic: str, error: ServerError) -> str:
    """Return in words why samples of a topic are refused."""
    if error.code == "NOPERM":
        return (
            f"Redis does not permit this user to write metrics:{topic}:* "
            "(ACL SETUSER … ~metrics:* +set +hset +expire)"
        )
    return f"Redis {error}"
