"""Find the daemon that is meant, and write output and errors; shared by all commands.

Imports little: ``coordctl status`` loads this module and has to start fast.
"""

from __future__ import annotations

import os
import sys

from coordd.cli.view import View
from coordd.errors import CannotTell, CoorddError
from coordd.protocol.paths import address_problem, socket_candidates
from coordd.util.text import escape, escape_lines

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from coordd.protocol.client import Client
    from coordd.protocol.paths import DaemonLocation

LONGEST_TIMEOUT = 86400.0
USUAL_COLUMNS = 80
"""Columns to assume for a terminal that reports 0 columns (a serial line, a container's)."""


class BadUsage(CoorddError):
    """A wrong command line that is found only after it was parsed."""

    exit_code = 2


class OutputClosed(Exception):
    """The reader of the output went away."""


class DaemonTarget:
    """The daemon to ask, and the seconds that an answer may take."""

    TIMEOUT = 5.0

    __slots__ = ("_root", "socket", "timeout")

    def __init__(
        self, socket: str | None = None, timeout: float = TIMEOUT, *, root: str | None = None
    ) -> None:
        self.socket = socket
        self.timeout = timeout
        self._root = root  # the project's directory, when its socket was found before and is asked again

    def locations(self) -> list[DaemonLocation]:
        """Return where its socket may be, in the order of search."""
        locations = socket_candidates(self.socket, os.environ, working_directory(), sys.platform)
        if self._root is not None:
            locations[0].root = self._root
        return locations

    def connect(self) -> Client:
        """Connect to it.

        Raises:
            DaemonNotRunning, CannotTell: as :func:`coordd.protocol.client.connect`.
            BadUsage: the user named a socket that cannot exist.
        """
        from coordd.protocol.client import connect

        locations = self.locations()
        if locations[0].explicit:
            problem = address_problem(locations[0].socket, sys.platform)
            if problem is not None:
                raise BadUsage(f"{locations[0].layout} {escape(locations[0].socket)}: {problem}")
        return connect(locations, self.timeout)


def working_directory() -> str | None:
    """Return the current directory; None if it no longer exists."""
    try:
        return os.getcwd()
    except OSError:
        return None


def parse_timeout(text: str) -> float | None:
    """Return seconds from the command line; None if the text is not a time to wait."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_TIMEOUT else None


def colour_wanted() -> bool:
    """Return whether to write colours: stdout is a terminal and NO_COLOR is unset (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout is not None and sys.stdout.isatty()


def window_columns() -> int | None:
    """Return the width of the terminal that stdout is; None for anything else, which takes any length."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or USUAL_COLUMNS
    except OSError:
        return USUAL_COLUMNS


def own_view(*, colour: bool = True, utc: bool = False) -> View:
    """Return how a text is shown to whoever reads stdout, with colours if they want them."""
    return View(
        colour=colour and colour_wanted(), columns=window_columns(), home=os.environ.get("HOME"), utc=utc
    )


def say(text: str) -> None:
    """Write a text and a line break to stdout, whatever its encoding.

    Raises:
        OutputClosed: the reader of the output went away.
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
    """Write a document as JSON: indented by two, and ASCII only, so safe on any terminal."""
    import json

    say(json.dumps(document, indent=2))


def flush() -> None:
    """Flush stdout; raises as :func:`say` does."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise output_error(error) from error


def complain(text: str) -> None:
    """Write an error to stderr, escaped, after the program's name; a failure to write is ignored."""
    try:
        sys.stderr.write(f"coordctl: {escape_lines(text)}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):
        pass


def output_error(error: OSError) -> OutputClosed | CannotTell:
    """Return the error to raise after a failed write to stdout, and let nothing more be written there.

    The interpreter flushes stdout again at exit; what is still buffered would fail again, with a message and
    an exit code of the interpreter's.
    """
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return OutputClosed()
    return CannotTell(f"the output cannot be written: {error.strerror or error}")
