"""Find the daemon that is meant, and write output and errors; shared by all commands.

Imports little: ``coordctl status`` loads this module and has to start fast.
"""

from __future__ import annotations

import os
import sys

from coordd.cli.view import View
from coordd.errors import CannotTell, CoorddError, DaemonNotRunning
from coordd.protocol.paths import DaemonLocation, address_problem, socket_candidates
from coordd.util.text import escape, escape_lines

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from coordd.protocol.client import Client

LONGEST_TIMEOUT = 86400.0
LAYOUTS = ("project", "user", "system")
USUAL_COLUMNS = 80
"""Columns to assume for a terminal that reports 0 columns (a serial line, a container's)."""


class BadUsage(CoorddError):
    """A wrong command line that is found only after it was parsed."""

    exit_code = 2


class OutputClosed(Exception):
    """The reader of the output went away."""


class DaemonTarget:
    """The daemon to ask, and the seconds that an answer may take.

    ``socket``, ``directory`` and ``layout`` are what was given with ``--socket``, ``-w`` and ``--layout``;
    None where that was not.
    """

    TIMEOUT = 5.0

    __slots__ = ("_found", "_told", "directory", "layout", "socket", "timeout")

    def __init__(
        self,
        socket: str | None = None,
        timeout: float = TIMEOUT,
        *,
        directory: str | None = None,
        layout: str | None = None,
        found: DaemonLocation | None = None,
    ) -> None:
        self.socket = socket
        self.timeout = timeout
        self.directory = directory
        self.layout = layout
        self._found = found
        self._told: str | None = None

    def locations(self) -> list[DaemonLocation]:
        """Return where its socket may be, in the order of search.

        Raises:
            BadUsage: the directory that was named does not exist, or there is no project.
        """
        if self._found is not None:
            return [self._found]
        cwd = working_directory()
        if self.directory is not None and not os.path.isdir(os.path.join(cwd or "/", self.directory)):
            raise BadUsage(f"-w {escape(self.directory)}: there is no such directory.")
        locations = socket_candidates(
            self.socket, os.environ, cwd, sys.platform, directory=self.directory, layout=self.layout
        )
        if not locations:
            raise BadUsage(
                "--layout project: no project is at or above this directory; name one with -w DIR."
            )
        return locations

    def sound_locations(self) -> list[DaemonLocation]:
        """Return the same; raises BadUsage also if the user named a socket that cannot exist."""
        locations = self.locations()
        if locations[0].explicit:
            problem = address_problem(locations[0].socket, sys.platform)
            if problem is not None:
                raise BadUsage(f"{locations[0].layout} {escape(locations[0].socket)}: {problem}")
        return locations

    def connect(self, *, advise: bool = True, tell: bool = True) -> Client:
        """Connect to it; ``tell`` says on stderr, once, if another daemon is asked in its place.

        Without ``advise`` an error does not say what to do on this machine, which takes a while to find out.

        Raises:
            DaemonNotRunning, CannotTell: as :func:`coordd.protocol.search.find_daemon`.
            BadUsage: the user named a socket that cannot exist.
        """
        from coordd.protocol.search import find_daemon

        locations = self.sound_locations()
        try:
            client = find_daemon(locations, self.timeout, environ=os.environ, cwd=self.where())
        except DaemonNotRunning as error:
            if not advise:
                raise
            from coordd.cli.advice import advised

            explicit = self._found is None and locations[0].explicit
            raise advised(error, explicit=explicit, where=self.where()) from error
        if tell and client.note not in (None, self._told):  # a command may connect several times
            self._told = client.note
            complain(client.note or "")
        return client

    def where(self) -> str | None:
        """Return the directory that is meant: ``-w``, else the current one; None if that no longer exists."""
        cwd = working_directory()
        return cwd if self.directory is None else os.path.realpath(os.path.join(cwd or "/", self.directory))

    def hurried(self, seconds: float) -> DaemonTarget:
        """Return the same target with at most these seconds for an answer."""
        return DaemonTarget(
            self.socket, min(self.timeout, seconds), directory=self.directory, layout=self.layout
        )

    def staying(self, client: Client) -> DaemonTarget:
        """Return a target that is the daemon behind this client's socket, and no other, from now on."""
        same = DaemonLocation("--socket", client.path, None, None, None, root=client.root, own=client.own)
        return DaemonTarget(None, self.timeout, directory=self.directory, found=same)


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
