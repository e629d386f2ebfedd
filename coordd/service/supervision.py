"""Tell the service manager the daemon's state, and give it signs of life (the watchdog).

::

    state        sent when                                          message
    starting     a step of the start begins                         STATUS=
    ready        the first sample of the host is taken, which is    READY=1, STATUS=
                 after lock, sinks and socket
    changed      something may have changed, and the status line    STATUS=
                 is another one: within half a second
    alive        a share of the watchdog's interval has passed,     WATCHDOG=1
                 the loop runs on time and the last sample is fresh
    reloading    a reload begins; ready again when it has ended     RELOADING=1
    stopping     the end begins; no more signs of life              STOPPING=1

A daemon that answers but measures nothing gets no sign of life: the manager restarts it. The status line has
the words of ``coordctl status``. It is looked at when something changes or is due, not at intervals.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coordd.agents.store import AgentStore
from coordd.runtime.clocks import LoopMonitor, Moment
from coordd.runtime.schedule import Schedule, now
from coordd.util import sdnotify
from coordd.util.sdnotify import NoNotifier, Notifier

log = logging.getLogger(__name__)

_SOON, _DUE = "status.line", "status.line.due"

SHARE = 3
"""Signs of life in a watchdog interval; with two, a pause of half the interval could end the daemon."""
PAUSE = 0.5
"""Seconds between two looks at the status line at least."""
RETRY = 1.0
"""Seconds after which a withheld sign of life is tried again."""


class Supervision:
    """Tell one service manager, through ``notifier``.

    ``watchdog`` is the manager's interval in seconds, None where it wants no signs of life. ``lateness``
    returns the seconds by which the host sample is late at a monotonic time, ``summary`` the status line, and
    ``summary_until`` when time alone may change that.
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
        summary_until: Callable[[Moment], float] = lambda _moment: math.inf,
    ) -> None:
        self._notifier = notifier
        self._watchdog = watchdog
        self._schedule = schedule
        self._loop_monitor = loop_monitor
        self._store = store
        self._lateness = lateness
        self._summary = summary
        self._summary_until = summary_until
        self._wanted = not isinstance(notifier, NoNotifier)
        self._looking = False
        self._looked = -math.inf
        self._ready = False
        self._ending = False
        self._withheld = False
        self._last_status = ""

    def say(self, text: str) -> None:
        """Set the status line of ``systemctl status``."""
        self._notifier.send(sdnotify.status_line(text))

    def changed(self) -> None:
        """Note that the status line may be another one: it is looked at once what goes on now is done."""
        if not self._wanted or not self._ready or self._looking:
            return
        self._looking = True
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Tell the status line if it has changed; if the last look was a moment ago, a moment later."""
        self._looking = False
        if not self._ready:
            return
        left = self._looked + PAUSE - now().mono
        if left <= 0:
            self._update_status()
        elif self._schedule.waiting(_SOON) is None:
            self._schedule.once(_SOON, left, self._look_again)

    async def _look_again(self) -> None:
        if self._ready:
            self._update_status()

    def sampled(self) -> None:
        """Report after an attempt at a sample of the host; the first sample makes the service ready."""
        if self._ready:
            self._update_status()
        elif self._store.system is not None and not self._ending:
            self._ready = True
            self._last_status = self._summary(now())
            self._notifier.send(sdnotify.ready(self._last_status))
            self._await_time()
            if self._watchdog is not None:
                share = self._watchdog / SHARE
                self._schedule.every("watchdog", share, self._sign_of_life, first=0.0)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload while the context lasts, and that the daemon is ready again after it."""
        if not self._ready:
            yield
            return
        self._notifier.send(sdnotify.reloading(time.monotonic_ns()))
        try:
            yield
        finally:
            self._last_status = self._summary(now())
            self._notifier.send(sdnotify.ready(self._last_status))

    def stopping(self) -> None:
        """Report the end, and stop the signs of life: draining has its own deadline."""
        for job in ("watchdog", _SOON, _DUE):
            self._schedule.cancel(job)
        self._ready = False
        self._ending = True
        self._notifier.send(sdnotify.stopping("writing the last records"))

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
        self._update_status()

    def _update_status(self) -> None:
        moment = now()
        self._looked = moment.mono
        status = self._summary(moment)
        if status != self._last_status:
            self._last_status = status
            self.say(status)
        self._await_time()

    def _await_time(self) -> None:
        """Set the timer to the moment at which time alone may change the status line."""
        moment = now()
        due = self._summary_until(moment) if self._wanted else math.inf
        if due == math.inf:
            self._schedule.cancel(_DUE)
        else:
            self._schedule.once(_DUE, max(due - moment.mono, PAUSE), self._look_again)
