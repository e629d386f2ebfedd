"""Remember the last known state of the daemon for the time in which it is down.

Answers that this process received count first; a dashboard that was started without a daemon looks for the
snapshot that the daemon left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from coordd.protocol.snapshot import Snapshot

LOOK_AGAIN = 5.0
"""Seconds after which the snapshot is looked for again."""
DEADLINE = 2.0
"""Seconds for reading the snapshot: a file system may hang."""


@dataclass(frozen=True, slots=True)
class LastKnownState:
    """A status document and a list of agents, encoded, and their age in seconds (None: unknown)."""

    age: float | None
    status: bytes
    agents: bytes | None


class LastKnown:
    """Keep the newest known state; ``read_snapshot`` blocks, so it runs in a thread."""

    def __init__(self, *, read_snapshot: Callable[[], Snapshot | None]) -> None:
        self._read = read_snapshot
        self._status: bytes | None = None
        self._agents: bytes | None = None
        self._heard_at = 0.0
        self._found: Snapshot | None = None
        self._looked_at: float | None = None

    def heard_status(self, status: bytes) -> None:
        """Take a status document that the daemon has just answered."""
        self._status, self._heard_at = status, time.monotonic()

    def heard_agents(self, agents: bytes) -> None:
        """Take the daemon's agents, as an encoded list."""
        self._agents = agents

    async def state(self) -> LastKnownState | None:
        """Return the newest known state; None if nothing is known."""
        if self._status is not None:
            return LastKnownState(time.monotonic() - self._heard_at, self._status, self._agents)
        now = time.monotonic()
        if self._looked_at is None or now - self._looked_at > LOOK_AGAIN:
            self._looked_at = now
            try:
                async with asyncio.timeout(DEADLINE):
                    self._found = await asyncio.to_thread(self._read)
            except TimeoutError:
                self._found = None
        found = self._found
        if found is None:
            return None
        age = None if found.age is None else found.age + now - self._looked_at
        agents = [{"id": agent.get("agent_id"), **agent} for agent in found.agents]
        return LastKnownState(age, _encoded(found.status), _encoded(agents))


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
