"""Run ``coordctl``, and turn errors into messages and exit codes.

``coordctl status`` stands in prompts and in loops, so it is answered before click is imported: a command line
that is plainly ``status`` goes straight to the function that the click command would call; every other one,
``--help`` and typing errors included, goes to click.
"""

from __future__ import annotations

import os
import sys

from coordd.cli.common import LAYOUTS, BadUsage, DaemonTarget, OutputClosed, complain, flush, parse_timeout
from coordd.errors import DEBUG, CoorddError, unexpected
from coordd.util.text import escape

INTERRUPTED = 130
"""128 + SIGINT: what a shell shows of a command that Ctrl-C ended."""
CLOSED = 141
"""128 + SIGPIPE: the reader of the output went away first, as in ``coordctl agents | head -1``."""

UNEXPECTED = 4
"""The exit code of an error that nobody foresaw: as for "cannot tell"."""


_VALUED = ("--socket", "--timeout", "--layout", "-w")


def main() -> int:
    """Run ``coordctl`` with ``sys.argv``; return the exit code."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        _start_again_in_utf8()
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        complain(escape(unexpected("coordctl", error)))
        return UNEXPECTED


def _start_again_in_utf8() -> None:
    """Run the same command line in Python's UTF-8 mode (PEP 540); the streams keep the locale's encoding.

    Paths and ids are UTF-8 to the daemon. Under a Latin-1 or plain ASCII locale Python would open other files
    than the daemon names.
    """
    out = sys.stdout
    encoding = {} if out is None else {"PYTHONIOENCODING": f"{out.encoding}:{out.errors}"}
    command = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execve(sys.executable, command, {**encoding, **os.environ})  # noqa: S606  # the interpreter itself


def _run(arguments: list[str]) -> int:
    try:
        plain = plain_status(arguments)
        if plain is not None and "_COORDCTL_COMPLETE" not in os.environ:
            code = _status(plain, arguments)
        else:
            from coordd.cli.app import run

            code = run(arguments)
        flush()
    except CoorddError as error:
        complain(str(error))
        return error.exit_code
    except OutputClosed:
        return CLOSED
    return code


def _status(plain: tuple[DaemonTarget, str], arguments: list[str]) -> int:
    from coordd.cli.status import show_brief, show_status

    target, form = plain
    try:
        return show_brief(target) if form == "--brief" else show_status(target, form == "--json")
    except BadUsage:  # click's way tells the usage as well
        from coordd.cli.app import run

        return run(arguments)


def plain_status(arguments: list[str]) -> tuple[DaemonTarget, str] | None:
    """Return the target and the form of a plain ``status``: ``--json``, ``--brief`` or ""; None for others.

    It accepts less than click does (no value that begins with a dash, for example), and nothing differently.
    """
    seen, form = False, ""
    values: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "status" and not seen:
            seen = True
        elif argument in ("--json", "--brief") and seen and form in ("", argument):
            form = argument
        elif name in _VALUED and (name != "-w" or not equals):
            if not equals:
                value = next(rest, "")
            if not value or value.startswith("-"):
                return None
            values[name] = value
        else:
            return None
    timeout = parse_timeout(values["--timeout"]) if "--timeout" in values else DaemonTarget.TIMEOUT
    layout = values.get("--layout")
    if not seen or timeout is None or layout not in (None, *LAYOUTS):
        return None
    return DaemonTarget(values.get("--socket"), timeout, directory=values.get("-w"), layout=layout), form
