"""Decide whose requests are answered next: a few milliseconds at a time, in turns of users and processes.

Otherwise a thousand clients that each send a thousand requests at once would keep the event loop for seconds,
without a sample or an answer to anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from coordd.control.fair_queue import FairQueue
from coordd.control.peer import Peer

SLICE = 0.005
"""Seconds of answering after which the event loop goes on to something else."""
GAP = 0.0005
"""Seconds without an answer after which the loop must have done something else."""


class Turns:
    """Share out the time that one event loop spends on answers."""

    def __init__(self) -> None:
        self._until = 0.0
        self._last = 0.0
        self._queue: FairQueue[Callable[[], None]] = FairQueue()
        self._running = False

    def granted(self) -> bool:
        """Return whether a request may be answered now; if not, wait with :meth:`later`."""
        now = monotonic()
        if self._running:
            return now < self._until
        if self._queue:
            return False
        if now - self._last >= GAP:
            self._until = now + SLICE
            return True
        return now < self._until

    def answered(self) -> None:
        """Record that a request was answered; called after each one."""
        self._last = monotonic()

    def later(self, peer: Peer, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when the turn of this peer's process has come."""
        if not self._queue and not self._running:
            asyncio.get_running_loop().call_soon(self._next)
        self._queue.put((peer.uid, peer.pid), go_on)

    def _next(self) -> None:
        self._until = monotonic() + SLICE
        self._running = True
        try:
            while monotonic() < self._until and (go_on := self._queue.take()):
                go_on()
        finally:
            self._running = False
            self._last = monotonic()
            if self._queue:
                asyncio.get_running_loop().call_soon(self._next)
