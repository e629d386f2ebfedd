"""Run coordd-alert beside the daemon, for ``--alerts``: another process, which the daemon never imports.

The two are tied by a pipe, the child's standard input. However the daemon ends, kill -9 included, its end of
the pipe is closed, and then the child ends as it does when told to: what it is telling is told, and before
that, after a kill -9, that the daemon is gone::

    the child's end              what is done
    the daemon has ended         nothing; it has DRAIN seconds to tell what it is telling, then it is killed
    it ended by itself           it has said why; that nobody is told from here on is logged
    by a signal                  it is started again, after a pause that grows

It starts when the daemon is ready, so that it finds it. A thread waits for its end.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from coordd.util.sdnotify import NoNotifier, Notifier

if TYPE_CHECKING:
    from coordd.config.build import Config
    from coordd.config.file import ConfigSources

log = logging.getLogger(__name__)

DRAIN = 25.0
"""Seconds from the daemon's end to that of the child: an action of a rule may take ten, a webhook longer."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_OF_THE_DAEMON = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)
"""What a service manager says to the daemon alone."""


def command_line(sources: ConfigSources, settings: Config, *, log_file: str | None) -> list[str]:
    """Return the command line of a coordd-alert that follows the daemon with these settings.

    Its rules are those of the file that was named for the daemon, else the user's own, or the system's.
    """
    words = [sys.executable, "-P", "-m", "coordd.alerts.main", "run", "--until-eof"]
    words += ["--socket", settings.control.socket]
    words += ["--layout", "system"] if sources.layout.name == "system" else []
    words += ["--config", sources.config_file] if sources.config_file is not None else []
    return [*words, "--log-file", log_file] if log_file is not None else words


class Beside:
    """Run one child from :meth:`start` to :meth:`end`; its words go to this process's standard error."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], *, drain: float = DRAIN) -> None:
        self._argv = list(argv)
        self._environ = {name: value for name, value in environ.items() if name not in _OF_THE_DAEMON}
        self._drain = drain
        self._lock = Lock()
        self._ending = Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        """Start it, and keep it running; never blocks."""
        self._thread = Thread(target=self._keep, name="coordd-alert", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End it, and wait until it has ended."""
        with self._lock:
            self._ending.set()
            child = self._child
            if child is not None and child.stdin is not None:
                child.stdin.close()
        if self._thread is None:
            return
        try:
            self._thread.join(self._drain)
        finally:  # at a second Ctrl-C at once
            if self._thread.is_alive() and child is not None:
                child.kill()
                self._thread.join(self._drain)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while (child := self._begin()) is not None:
            code = child.wait()
            if self._ending.is_set():
                return
            if code >= 0:
                if code:
                    log.warning("coordd-alert has ended (exit code %d): nobody is told what needs them", code)
                return
            log.warning(
                "coordd-alert was ended by %s; it is started again in %g s", signal.Signals(-code).name, pause
            )
            self._ending.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _begin(self) -> subprocess.Popen[bytes] | None:
        """Start the child; return None if the daemon ends, or it cannot be started."""
        with self._lock:
            if self._ending.is_set():
                return None
            try:
                # a session of its own: Ctrl-C is the daemon's, which then ends it in order
                self._child = subprocess.Popen(
                    self._argv, stdin=subprocess.PIPE, env=self._environ, start_new_session=True
                )
            except OSError as error:
                log.warning("coordd-alert cannot be started, nobody is told: %s", error.strerror)
                return None
            return self._child


def at_ready(inner: Notifier, start: Callable[[], None]) -> Notifier:
    """Return a notifier that passes all on to another one, and calls ``start`` after the first READY."""
    once = _Once(start)
    return once if isinstance(inner, NoNotifier) else _Both(inner, once)


class _Once(NoNotifier):
    """Call a function at the first READY; nobody else listens."""

    def __init__(self, start: Callable[[], None]) -> None:
        self._start: Callable[[], None] | None = start

    def send(self, message: str) -> None:
        if self._start is not None and message.startswith("READY=1"):
            start, self._start = self._start, None
            start()


class _Both:
    """Pass each message on to two notifiers, in their order."""

    def __init__(self, first: Notifier, second: Notifier) -> None:
        self._first = first
        self._second = second

    def send(self, message: str) -> None:
        self._first.send(message)
        self._second.send(message)
