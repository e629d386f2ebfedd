"""What the service manager hears of the daemon's life: ready, how it does, alive, reloading, ending.

Ready means the first sample of the host is taken, which comes after lock, sinks and socket. A sign of life is
given only while the loop turns on time and the last sample is fresh: a daemon that answers but measures
nothing is as good as hung, and the manager's restart is the remedy.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coordd.agents.store import AgentStore
from coordd.runtime.clocks import LoopMonitor, Moment
from coordd.runtime.schedule import Schedule, now
from coordd.util import sdnotify
from coordd.util.sdnotify import Notifier

log = logging.getLogger(__name__)

SHARE = 3
"""So many signs of life in a watchdog interval: of two, a pause of half of it before the next is fatal."""
RETRY = 1.0
"""Seconds after which a sign of life that could not be given is tried again."""


class Supervision:
    """Tells one service manager, through ``notifier``.

    ``watchdog`` is the manager's interval in seconds, None where it wants no signs of life. ``lateness``
    gives the seconds by which the host sample is late at a monotonic time, ``summary`` the line for people.
    """

    def __init__(
        self,
        *,
        notifier: Notifier,
        watchdog: float | None,
        schedule: Schedule,
        loop_monitor: LoopMonitor,
        store: AgentStore,
        lateness: Callable[[float], float],
        summary: Callable[[Moment], str],
    ) -> None:
        self._notifier = notifier
        self._watchdog = watchdog
        self._schedule = schedule
        self._loop_monitor = loop_monitor
        self._store = store
        self._lateness = lateness
        self._summary = summary
        self._ready = False
        self._ending = False
        self._withheld = False
        self._said = ""

    def say(self, text: str) -> None:
        """What it is doing, for ``systemctl status``."""
        self._notifier.send(sdnotify.status_line(text))

    def sampled(self) -> None:
        """To be called after each attempt at a sample of the host; the first sample makes it ready."""
        if self._ready:
            self._tell()
        elif self._store.system is not None and not self._ending:
            self._ready = True
            self._said = self._summary(now())
            self._notifier.send(sdnotify.ready(self._said))
            if self._watchdog is not None:
                share = self._watchdog / SHARE
                self._schedule.every("watchdog", share, self._sign_of_life, first=0.0)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around a reload, good or bad: the old configuration stands again or a new one does."""
        if not self._ready:
            yield
            return
        self._notifier.send(sdnotify.reloading(time.monotonic_ns()))
        try:
            yield
        finally:
            self._said = self._summary(now())
            self._notifier.send(sdnotify.ready(self._said))

    def stopping(self) -> None:
        """The end begins; there are no more signs of life, for draining has its own deadline."""
        self._schedule.cancel("watchdog")
        self._ready = False
        self._ending = True
        self._notifier.send(sdnotify.stopping())

    async def _sign_of_life(self) -> None:
        if not self._ready:
            return
        mono = now().mono
        late = self._lateness(mono)
        if late > 0 or self._loop_monitor.horizon(mono) < mono:
            if late > 0 and not self._withheld:
                self._withheld = True
                log.error(
                    "the host sample is %.0f s late: the service manager gets no sign of life until there "
                    "is one",
                    late,
                )
            self._schedule.once("watchdog.retry", RETRY, self._sign_of_life)
            return
        self._withheld = False
        self._notifier.send(sdnotify.watchdog())
        self._tell()

    def _tell(self) -> None:
        said = self._summary(now())
        if said != self._said:
            self._said = said
            self.say(said)
