"""Say what a reload of the configuration is asked of, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a reload: the keys that changed, those that need a restart, and what was ignored."""

    changed: list[str]
    restart_required: list[str]
    problems: list[str]


class Reloader(Protocol):
    """Reload the configuration; service/reloading.py implements it."""

    async def reload(self) -> Reloaded:
        """Take a new configuration."""
        ...
