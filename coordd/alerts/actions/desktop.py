r"""Tell a message on the desktop: by notify-send(1) on a session bus, or by osascript(1) on macOS.

What the programs make of their arguments, and what is done about it::

    notify-send   options up to "--"; a title is plain text; a body is markup (&, <, >) with C escapes (\033)
    osascript     options up to the first other argument, here the word "coordd"; title and text are
                  arguments of the script, never part of it
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from coordd.alerts.actions import programs
from coordd.alerts.actions.child import ChildRunner
from coordd.alerts.actions.exec import DEADLINE, run_program
from coordd.alerts.actions.shortening import shortened
from coordd.alerts.actions.urgency import urgent
from coordd.alerts.message import Message
from coordd.util.text import escape, escape_lines

_TITLE = 200
_TEXT = 1500
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "\\\\"})
_SCRIPT = (
    "on run argv",
    "display notification (item 3 of argv) with title (item 1 of argv) subtitle (item 2 of argv)",
    "end run",
)


class DesktopAction:
    """Show each message on the desktop of this user.

    Args:
        environ: of the program that shows it.
        platform: as sys.platform has it.
        deadline: seconds.
    """

    label = "desktop"

    def __init__(
        self, *, environ: Mapping[str, str], platform: str = sys.platform, deadline: float = DEADLINE
    ) -> None:
        self._mac = platform == "darwin"
        self._program = "osascript" if self._mac else "notify-send"
        self._environ = dict(environ)
        self._deadline = deadline
        self._runner = ChildRunner(kept_stderr=4096)
        if not self._mac and "DBUS_SESSION_BUS_ADDRESS" not in environ:
            # else libraries that find none may start a bus of their own, which nobody looks at
            self._environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={_usual_bus(environ)}"

    async def perform(self, message: Message) -> None:
        """Show the message.

        Raises:
            ActionFailed: there is no desktop, or its program says so.
        """
        argv = osascript(message) if self._mac else notify_send(message)
        await run_program(
            self._runner,
            argv,
            name=self._program,
            environ=self._environ,
            stdin=b"",
            seconds=self._deadline,
            trouble=self.check,
        )

    def check(self) -> str | None:
        """Return why there is no desktop here."""
        if programs.trouble_with(self._program, self._environ) is not None:
            advice = "" if self._mac else " (Debian: apt install libnotify-bin)"
            return f"there is no {self._program} in PATH{advice}"
        address = self._environ.get("DBUS_SESSION_BUS_ADDRESS", "")
        if self._mac or not address.startswith("unix:path="):
            return None
        path = address.removeprefix("unix:path=").partition(",")[0].partition(";")[0]
        if os.path.exists(path):
            return None
        return f"there is no session bus at {escape(path)}: is anybody logged in to a desktop?"


def notify_send(message: Message) -> list[str]:
    """Return the command line of notify-send(1)."""
    low = message.state == "resolved"
    urgency = "critical" if urgent(message) else "low" if low else "normal"
    title = shortened(escape(message.title), _TITLE)
    text = shortened(escape_lines(message.text), _TEXT).translate(_MARKUP)
    return ["notify-send", "--app-name=coordd", f"--urgency={urgency}", "--", title, text]


def osascript(message: Message) -> list[str]:
    """Return the command line of osascript(1)."""
    script = [word for line in _SCRIPT for word in ("-e", line)]
    title = shortened(escape(message.title), _TITLE)
    return ["osascript", *script, "coordd", title, shortened(escape_lines(message.text), _TEXT)]


def _usual_bus(environ: Mapping[str, str]) -> str:
    return f"{environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.getuid()}'}/bus"
