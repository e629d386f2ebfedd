"""Read the status that a registration gives its agent: what it does, or that it has ended. Pure.

One table of words; any other word says nothing.
"""

from __future__ import annotations

from coordd.agents.session import DeclaredActivity
from coordd.agents.traces import Registration

_ENDED = frozenset({"ended", "dead", "offline", "stopped", "completed", "deregistered"})
_ACTIVITIES: dict[str, DeclaredActivity] = {
    **dict.fromkeys(("waiting", "waiting_for_input", "needs_input"), "waiting"),
    **dict.fromkeys(("idle", "ready", "available"), "idle"),
    **dict.fromkeys(("working", "busy", "running"), "working"),
}


def declares_end(registration: Registration | None) -> bool:
    """Return whether a registration says that its agent has ended in order."""
    return registration is not None and says_ended(registration.status)


def declared_activity(status: str | None) -> DeclaredActivity | None:
    """Return the activity that this word stands for, None where it stands for none."""
    return _ACTIVITIES.get((status or "").strip().lower())


def says_ended(status: str | None) -> bool:
    """Return whether this word says that an agent has ended in order."""
    return (status or "").strip().lower() in _ENDED
