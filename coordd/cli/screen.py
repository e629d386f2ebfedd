"""Redraw a terminal in place, and restore it whatever ends the program.

The alternate screen, the cursor and line wrapping are switched with the private modes 1049, 25 and 7 (xterm,
https://invisible-island.net/xterm/ctlseqs/); with wrapping off the terminal cuts long lines itself, by its
own idea of a character's width. Text has to be escaped before.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
from typing import TYPE_CHECKING

from coordd.util.text import paint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType
    from typing import Any

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"

USUAL_ROWS = 24
"""Rows to assume for a terminal that reports 0 rows (a serial line, a container's)."""


class Ended(BaseException):
    """A signal asked the process to end; raised so that the terminal is restored first."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


def is_screen() -> bool:
    """Return whether stdout is a terminal that can be redrawn."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """Switch the terminal to a screen, as a context manager; inside, SIGTERM and SIGHUP raise :class:`Ended`.

    Keys are read if stdin is a terminal too. Ctrl-Z restores the terminal until the process goes on.
    """

    def __init__(self) -> None:
        self.redraw = True
        self._keys = sys.stdin is not None and sys.stdin.isatty()
        self._cooked: list[Any] | None = None
        self._wakeup = (-1, -1)
        self._handlers: dict[int, signal.Handlers] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Screen:
        self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        handlers = {
            signal.SIGWINCH: self._resized,
            signal.SIGTSTP: self._stopped,
            signal.SIGTERM: self._ended,
            signal.SIGHUP: self._ended,
        }
        try:
            for number, handler in handlers.items():
                if signal.getsignal(number) in (signal.SIG_DFL, None):  # else ignored: stays so
                    self._handlers[number] = signal.SIG_DFL
                    signal.signal(number, handler)
            self._take_terminal()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, termios.error):  # the terminal itself may be gone
            self._give_terminal_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        for descriptor in self._wakeup:
            os.close(descriptor)

    @property
    def room(self) -> int:
        """The lines above the footer, at least one."""
        return max(os.get_terminal_size(sys.stdout.fileno()).lines or USUAL_ROWS, 2) - 1

    def draw(self, lines: Sequence[str], footer: str) -> None:
        """Show as many lines as fit, and the footer below them."""
        room = self.room
        if len(lines) > room:
            hidden = len(lines) - (room - 1)
            words = "1 line does" if hidden == 1 else f"{hidden} lines do"
            lines = [*lines[: room - 1], f"… {words} not fit into this window; all of it: coordctl status"]
        blank = [""] * (room - len(lines))
        footer = paint(footer, "dim", colour=not os.environ.get("NO_COLOR"))
        text = f"{_REST_OF_LINE}\r\n".join([*lines, *blank, footer])
        self._write(_HOME + text + _REST_OF_LINE + _REST_OF_SCREEN)
        self.redraw = False

    def wait(self, descriptor: int, seconds: float) -> str:
        """Wait until a descriptor can be read, a key is pressed or a signal comes; return the keys.

        A ``descriptor`` of -1 is none.
        """
        poll = select.poll()
        poll.register(self._wakeup[0], select.POLLIN)
        if descriptor >= 0:
            poll.register(descriptor, select.POLLIN)
        if self._keys:
            poll.register(sys.stdin.fileno(), select.POLLIN)
        ready = {number for number, _ in poll.poll(max(0, seconds * 1000))}
        if self._wakeup[0] in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup[0], 4096)
        if not self._keys or sys.stdin.fileno() not in ready:
            return ""
        try:
            data = os.read(sys.stdin.fileno(), 1024)
        except OSError:
            data = b""
        self._keys = bool(data)
        return data.decode("utf-8", "replace")

    def _take_terminal(self) -> None:
        if self._keys:
            descriptor = sys.stdin.fileno()
            self._cooked = termios.tcgetattr(descriptor)
            mode = termios.tcgetattr(descriptor)
            mode[3] &= ~(termios.ICANON | termios.ECHO)  # signals stay: Ctrl-C and Ctrl-Z work
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
        self._write(_ENTER)
        self.redraw = True

    def _give_terminal_back(self) -> None:
        if self._cooked is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._cooked)
            self._cooked = None
        self._write(_LEAVE)

    def _write(self, text: str) -> None:
        out = sys.stdout.buffer
        out.write(text.encode(sys.stdout.encoding, "backslashreplace"))
        out.flush()

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.redraw = True

    def _stopped(self, _number: int, _frame: FrameType | None) -> None:
        self._give_terminal_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take_terminal()

    def _ended(self, number: int, _frame: FrameType | None) -> None:
        raise Ended(number)


def _pipe() -> tuple[int, int]:
    """Make a pipe as pipe2(2) does, which macOS lacks."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends
