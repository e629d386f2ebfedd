"""Tell the service manager that coordd-alert is ready, what it does, and that it lives (sd_notify).

::

    state      sent when                                   message
    ready      lock, state and control socket are had      READY=1, STATUS=
    changed    the status line has changed                 STATUS=
    alive      a third of the watchdog's interval passed   WATCHDOG=1
    reloading  the rules are read again                    RELOADING=1, then READY=1
    stopping   the end begins                              STOPPING=1
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from coordd.util import sdnotify
from coordd.util.sdnotify import NoNotifier, Notifier

SHARE = 3


class Supervision:
    """Tell one service manager; ``watchdog`` is its interval in seconds, None where it wants no signs."""

    def __init__(self, notifier: Notifier, watchdog: float | None) -> None:
        self._notifier = notifier
        self._watchdog = watchdog
        self._status: Callable[[], str] | None = None
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    def start(self, status: Callable[[], str]) -> None:
        """Report that the service is ready; ``status`` returns its line."""
        self._status = status
        self.ready()
        self._live()

    def ready(self) -> None:
        """Report that it is ready, at first or again."""
        if self._status is not None:
            self._last = self._status()
            self._notifier.send(sdnotify.ready(self._last))

    def changed(self) -> None:
        """Tell the status line if it has changed."""
        if self._status is None or isinstance(self._notifier, NoNotifier):
            return
        line = self._status()
        if line != self._last:
            self._last = line
            self._notifier.send(sdnotify.status_line(line))

    def reloading(self) -> None:
        """Report that the rules are read again."""
        if self._status is not None:
            self._notifier.send(sdnotify.reloading(time.monotonic_ns()))

    def stop(self) -> None:
        """Report the end, and give no sign of life any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._status = None
        self._notifier.send(sdnotify.stopping("what is being told is told"))

    def _live(self) -> None:
        if self._watchdog is not None and self._status is not None:
            self._notifier.send(sdnotify.watchdog())
            self._timer = asyncio.get_running_loop().call_later(self._watchdog / SHARE, self._live)
