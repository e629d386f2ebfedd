"""A bound on what one kind of log line may fill: some are shown, the rest is counted and said in one line.

A kind is the logger, the level and the message before its values are put in, so that a reader who changes an
id with each request makes no new kind. Of each kind :data:`MOST` lines are shown within :data:`WINDOW`
seconds, tracebacks alike; when the window is over, one line tells how many more there were. At most
:data:`KINDS` kinds are told apart; all others of a level are one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

MOST = 10
WINDOW = 60.0
KINDS = 200
_SHOWN = 120
"""Characters of a message that are repeated where the rest is counted."""

log = logging.getLogger(__name__)

Kind = tuple[str, int, str]


class _Window:
    """How often a kind was met since ``begun``."""

    __slots__ = ("begun", "hidden", "shown")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.shown = 0
        self.hidden = 0


class Limited(logging.Handler):
    """Pass records on to another handler, of each kind so many.

    Keeps the windows that are open, in the order in which they began; a timer runs only while something is
    counted that nobody has been told of.
    """

    def __init__(self, target: logging.Handler, *, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self.target = target
        self._clock = clock
        self._windows: dict[Kind, _Window] = {}
        self._timer: threading.Timer | None = None
        self._guard = threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record on, or count it."""
        with self._guard:
            now = self._clock()
            self._tell(now)
            kind = (record.name, record.levelno, str(record.msg)[:1000])
            window = self._windows.get(kind)
            if window is None:
                if len(self._windows) >= KINDS:
                    kind = ("", record.levelno, "")
                window = self._windows.setdefault(kind, _Window(now))
            if window.shown < MOST:
                window.shown += 1
                self.target.handle(record)
                return
            window.hidden += 1
            if self._timer is None:
                self._tell_at(window.begun + WINDOW, now)

    def flush(self) -> None:
        """Flush the other handler."""
        self.target.flush()

    def close(self) -> None:
        """Say what was counted, and close the other handler."""
        with self._guard:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._tell(float("inf"))
        self.target.close()
        super().close()

    def _due(self) -> None:
        """Tell what is over; runs in the timer's thread."""
        with self._guard:
            self._timer = None
            now = self._clock()
            self._tell(now)
            ends = [window.begun + WINDOW for window in self._windows.values() if window.hidden]
            if ends:
                self._tell_at(min(ends), now)

    def _tell_at(self, moment: float, now: float) -> None:
        self._timer = threading.Timer(max(0.1, moment - now), self._due)
        self._timer.daemon = True
        self._timer.start()

    def _tell(self, now: float) -> None:
        """Close the windows that are over."""
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if now < window.begun + WINDOW:
                return
            del self._windows[kind]
            if window.hidden:
                self.target.handle(_summary(kind, window.hidden))


def _summary(kind: Kind, hidden: int) -> logging.LogRecord:
    name, level, message = kind
    which = f"of these in {WINDOW:.0f} s: {message[:_SHOWN]}" if name else f"lines in {WINDOW:.0f} s"
    text = f"… {hidden:,} more {which}"
    return logging.LogRecord(name or __name__, level, "", 0, text, None, None)


def log_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log what goes wrong in a callback or in a task that nobody awaits as one kind of line.

    asyncio's own message holds the task's number and arguments, and would be a new kind each time.
    """
    loop.set_exception_handler(_failed)


def _failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.error("the event loop: %s", str(context.get("message"))[:1000], exc_info=error)
