"""Limit how often one kind of log line is written: show some, count the rest, then report the count.

A kind is the logger, the level and the message before its values are filled in, so a client that changes an
id with each request makes no new kind. :data:`MOST` lines of each kind are shown within :data:`WINDOW`
seconds, tracebacks included; at the end of the window one line says how many more there were, and what the
last of them said: the message without its values (``agent %s``) is for no reader. At most
:data:`KINDS` kinds are counted separately; all others of the same level are counted as one.
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
"""Characters of the last message that are repeated in the line that reports the count."""

log = logging.getLogger(__name__)

Kind = tuple[str, int, str]


class _Window:
    """How often one kind of line was logged since ``begun`` (monotonic seconds), and the last not shown."""

    __slots__ = ("begun", "hidden", "last", "shown")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.shown = 0
        self.hidden = 0
        self.last: tuple[object, Any] = (
            "",
            None,
        )  # what the record itself holds more is a traceback's frames

    def hide(self, record: logging.LogRecord) -> None:
        """Count a record that is not shown."""
        self.hidden += 1
        self.last = (record.msg, record.args)

    def words(self) -> str:
        """What the last record said that was not shown."""
        message, values = self.last
        try:
            return (str(message) % values if values else str(message))[:_SHOWN]
        except (TypeError, ValueError, KeyError):  # a fault of whoever logged it; it must cost no other line
            return "a message that cannot be put together"


class Limited(logging.Handler):
    """Pass a limited number of records of each kind on to another handler.

    Keeps the open windows, in the order in which they began; a timer runs only while a count is still to be
    reported.
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
            window.hide(record)
            if self._timer is None:
                self._tell_at(window.begun + WINDOW, now)

    def flush(self) -> None:
        """Flush the other handler."""
        self.target.flush()

    def close(self) -> None:
        """Report what was counted, and close the other handler."""
        with self._guard:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._tell(float("inf"))
        self.target.close()
        super().close()

    def _due(self) -> None:
        """Report the windows that have ended; runs in the timer's thread."""
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
        """Close the windows that have ended, and report what each counted."""
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if now < window.begun + WINDOW:
                return
            del self._windows[kind]
            if window.hidden:
                self.target.handle(_summary(kind, window))


def _summary(kind: Kind, window: _Window) -> logging.LogRecord:
    name, level, _ = kind
    which = f"of these in {WINDOW:.0f} s, the last: {window.words()}" if name else f"lines in {WINDOW:.0f} s"
    text = f"… {window.hidden:,} more {which}"
    return logging.LogRecord(name or __name__, level, "", 0, text, None, None)


def log_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log errors of callbacks and of tasks that nobody awaits as a single kind of line.

    asyncio's own message holds the task's number and arguments, and would be a new kind each time.
    """
    loop.set_exception_handler(_failed)


def _failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.error("the event loop: %s", str(context.get("message"))[:1000], exc_info=error)
