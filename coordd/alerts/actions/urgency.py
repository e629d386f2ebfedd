"""Say how urgent a message is."""

from __future__ import annotations

from coordd.alerts.message import Message

_URGENT = frozenset({"killed", "mass", "daemon"})


def urgent(message: Message) -> bool:
    """Return whether something is lost that lasts: agents that died, or a daemon that does not answer."""
    return message.state == "firing" and any(
        entry.kind in _URGENT and entry.state == "firing" for entry in message.entries
    )
