"""Implement ``coordctl status --watch``: show the status again at every change.

On a terminal it is one screen, on which ages grow as time passes; elsewhere a block of text, or with --json
one line, for each change.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from coordd.cli.common import DaemonTarget, flush, output_error, own_view, say
from coordd.cli.fitting import fitted
from coordd.cli.live_status import LiveStatus
from coordd.cli.look import Picture
from coordd.cli.screen import Ended, Screen, is_screen
from coordd.cli.status_text import lost_text, running_text
from coordd.cli.staying import Daemon
from coordd.cli.waiting import wait_for
from coordd.errors import DaemonNotRunning
from coordd.util.text import ago, duration, escape

if TYPE_CHECKING:
    from coordd.cli.view import View
    from coordd.protocol.snapshot import Snapshot

CONNECTING = 1.0
"""Seconds for which connecting may block the screen."""
TICK = 1.0


def watch_status(target: DaemonTarget, *, as_json: bool) -> int:
    """Show the status until ``q`` is pressed, or for ever; return 0.

    Raises:
        CannotTell: there is a daemon, but it refuses this user or gives no usable answer.
        OutputClosed: the reader of the output went away.
    """
    live = LiveStatus(connect=Daemon(target.hurried(CONNECTING)).connect, timeout=target.timeout)
    try:
        if as_json or not is_screen():
            _print_changes(live, Fallback(target), as_json=as_json)
        else:
            with Screen() as screen:
                _keep_drawn(live, Fallback(target), screen)
    except Ended as ended:
        signal.signal(ended.number, signal.SIG_DFL)
        os.kill(os.getpid(), ended.number)
    except OSError as error:  # the terminal is gone
        raise output_error(error) from error
    finally:
        live.close()
    return 0


class Fallback:
    """The last snapshot of a daemon that was down from the start."""

    def __init__(self, target: DaemonTarget) -> None:
        self._target = target
        self._found: Snapshot | None = None
        self._sought = False
        self._sought_at = 0.0

    def last(self, mono: float) -> tuple[Picture | None, float | None]:
        """Return what it shows and its age now; None for each that is not known."""
        if not self._sought:
            from coordd.protocol.left_behind import last_snapshot

            self._sought, self._sought_at = True, mono
            self._found = last_snapshot(
                self._target.locations(), os.environ, self._target.where(), time.time()
            )
        if self._found is None:
            return None, None
        age = self._found.age
        picture = Picture(self._found.status, self._found.agents)
        return picture, None if age is None else age + mono - self._sought_at


def trouble_words(live: LiveStatus, mono: float) -> str:
    """Return in one line what is wrong and since when."""
    if live.picture is None:
        return "coordd is not running, trying again"
    since = f"connection lost {ago(mono - live.lost_at)}, trying again"
    if isinstance(live.trouble, DaemonNotRunning):
        return f"{since}: coordd is not running."
    why = str(live.trouble).removeprefix(f"{escape(live.path or '')}: ")
    return f"{since}: {why.rstrip('.')}."


def _keep_drawn(live: LiveStatus, fallback: Fallback, screen: Screen) -> None:
    drawn, drawn_at = -1, 0.0
    while True:
        mono = time.monotonic()
        live.step(mono)
        mono = time.monotonic()
        if screen.redraw or live.version != drawn or mono - drawn_at >= TICK:
            footer = "q quits"
            if (waited := live.overdue(mono)) is not None and live.trouble is None:
                footer = f"no answer for {duration(waited)}  {footer}"
            lines = fitted(partial(_text, live, fallback, mono), own_view(), screen.room)
            screen.draw(lines, footer)
            drawn, drawn_at = live.version, mono
        keys = screen.wait(live.fileno(), min(live.due(mono), max(0.0, drawn_at + TICK - mono)))
        if "q" in keys or "Q" in keys:
            return
        live.read(time.monotonic())


def _print_changes(live: LiveStatus, fallback: Fallback, *, as_json: bool) -> None:
    printed = 0
    while True:
        live.step(time.monotonic())
        mono = time.monotonic()
        if live.changes != printed:
            if as_json:
                say(_line(live, fallback, mono))
            else:
                say(("\n" if printed else "") + _text(live, fallback, mono, own_view(colour=False)))
            flush()
            printed = live.changes
        wait_for(live.fileno(), live.due(mono))
        live.read(time.monotonic())


def _text(live: LiveStatus, fallback: Fallback, mono: float, view: View) -> str:
    if live.trouble is None and live.picture is not None:
        return running_text(live.picture, view, later=mono - live.heard_at, note=live.note)
    if live.trouble is None:
        return "connecting"
    picture, age = _last(live, fallback, mono)
    return lost_text(picture, trouble_words(live, mono), view, age=age, hints=_hints(live))


def _line(live: LiveStatus, fallback: Fallback, mono: float) -> str:
    import json

    if live.trouble is None:
        return json.dumps(None if live.picture is None else live.picture.document)
    picture, age = _last(live, fallback, mono)
    known = {"schema": 1} if picture is None else picture.document
    return json.dumps({**known, "daemon_running": False, "snapshot_age": age})


def _last(live: LiveStatus, fallback: Fallback, mono: float) -> tuple[Picture | None, float | None]:
    if live.picture is None:
        return fallback.last(mono)
    return live.picture, mono - live.heard_at


def _hints(live: LiveStatus) -> list[str]:
    return live.trouble.hints if isinstance(live.trouble, DaemonNotRunning) else []
