"""Read the status that a registration gives its agent: which words say that it has ended. Pure."""

from __future__ import annotations

from coordd.agents.traces import Registration

_ENDED = frozenset({"ended", "dead", "offline", "stopped", "completed", "deregistered"})


def declares_end(registration: Registration | None) -> bool:
    """Return whether a registration says that its agent has ended in order."""
    return registration is not None and says_ended(registration.status)


def says_ended(status: str | None) -> bool:
    """Return whether this word says that an agent has ended in order."""
    return (status or "").strip().lower() in _ENDED
