"""What every command needs: which daemon is meant, and how its words reach the terminal or the pipe.

Light: ``coordctl status`` imports it before it may cost anything.
"""

from __future__ import annotations

import os
import sys

from coordd.errors import CannotTell, CoorddError
from coordd.protocol.paths import address_problem, socket_candidates
from coordd.util.text import escape, escape_lines

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from coordd.protocol.client import Client
    from coordd.protocol.paths import DaemonLocation

LONGEST_TIMEOUT = 86400.0


class BadUsage(CoorddError):
    """A command line that means nothing, found after it was parsed."""

    exit_code = 2


class OutputClosed(Exception):
    """Whoever read our output went away."""


class DaemonTarget:
    """Which daemon is asked, and how long an answer may take (seconds)."""

    TIMEOUT = 5.0

    __slots__ = ("_root", "socket", "timeout")

    def __init__(
        self, socket: str | None = None, timeout: float = TIMEOUT, *, root: str | None = None
    ) -> None:
        self.socket = socket
        self.timeout = timeout
        self._root = root  # of a socket that was found in a project, and is asked again

    def places(self) -> list[DaemonLocation]:
        """Where it may be, in the order of search."""
        places = socket_candidates(self.socket, os.environ, working_directory(), sys.platform)
        if self._root is not None:
            places[0].root = self._root
        return places

    def connect(self) -> Client:
        """A connection to it.

        Raises:
            DaemonNotRunning, CannotTell: as client.connect.
            BadUsage: the socket named by the user is none that can exist.
        """
        from coordd.protocol.client import connect

        places = self.places()
        if places[0].explicit:
            problem = address_problem(places[0].socket, sys.platform)
            if problem is not None:
                raise BadUsage(f"{places[0].layout} {escape(places[0].socket)}: {problem}")
        return connect(places, self.timeout)


def working_directory() -> str | None:
    """The current directory; None where it no longer exists."""
    try:
        return os.getcwd()
    except OSError:
        return None


def parse_timeout(text: str) -> float | None:
    """Seconds from the command line; None for what is no time to wait."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_TIMEOUT else None


def colour_wanted() -> bool:
    """Whether stdout takes SGR colours: a terminal, and nobody said no (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout is not None and sys.stdout.isatty()


def say(text: str) -> None:
    """Write a text and a line break to stdout, whatever its encoding.

    Raises:
        OutputClosed: nobody reads it any more.
        CannotTell: it cannot be written (a full disk).
    """
    if sys.stdout is None:  # started with >&-
        return
    try:
        sys.stdout.write(text + "\n")
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        say(text.encode(encoding, "backslashreplace").decode(encoding))
    except OSError as error:
        raise output_error(error) from error


def say_json(document: object) -> None:
    """Write a document as JSON for people and programs: indented by two, ASCII, so safe on any terminal."""
    import json

    say(json.dumps(document, indent=2))


def flush() -> None:
    """Hand over what is buffered. Raises as :func:`say`."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise output_error(error) from error


def complain(text: str) -> None:
    """Write an error to stderr, escaped, with our name before it; if even that fails, silence is left."""
    try:
        sys.stderr.write(f"coordctl: {escape_lines(text)}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):
        pass


def output_error(error: OSError) -> OutputClosed | CannotTell:
    """What to raise for an error from writing to stdout, from which on nothing more is written there.

    The interpreter flushes stdout once more at exit; what is still buffered would fail again, with a
    complaint and an exit code of its own.
    """
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return OutputClosed()
    return CannotTell(f"the output cannot be written: {error.strerror or error}")
