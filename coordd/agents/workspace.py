"""Describe one source of agents as it is shown: how it is followed and what cannot be read of it.

A value that changes; it knows no files and no Redis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordd.runtime.clocks import ObservedClock


@dataclass(slots=True)
class Workspace:
    """One source of agents, a workspace or Redis: its path, how it is followed, and what fails right now.

    ``path`` is "" for Redis. ``state`` is ``inotify``, ``poll`` or ``read`` while the source is read,
    ``waiting`` while there is nothing to read yet, ``unreadable`` with ``error``. ``malformed`` maps traces
    that cannot be used to the reason; ``malformed_unnamed`` is the number of further ones. ``over_limit``
    maps each kind of trace of which more exist than are read to a sentence that says so.
    """

    path: str
    clock: ObservedClock
    state: str = "waiting"
    error: str | None = None
    malformed: dict[str, str] = field(default_factory=dict)
    malformed_unnamed: int = 0
    over_limit: Mapping[str, str] = field(default_factory=dict)
