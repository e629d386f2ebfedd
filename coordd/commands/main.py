"""Provide the entry point of ``coordd``: run the daemon, or leave the command line to click.

``coordd run`` with plain options is read without click, which would stay in the daemon's memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from coordd.commands.launch import run
from coordd.commands.plain_options import BESIDE, LOG, WHERE, read_plainly
from coordd.errors import DEBUG, CoorddError, unexpected
from coordd.util.text import escape, escape_lines


def main() -> None:
    """Run the command line; the entry point of the console script."""
    _open_standard_streams()
    try:
        _run(sys.argv[1:])
    except CoorddError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        import logging

        words = unexpected("coordd", error)
        if logging.getLogger().handlers:  # a daemon's end belongs in its log, with the traceback
            logging.getLogger("coordd").critical("%s", words, exc_info=error)
        else:
            _say(f"coordd: {escape(words)}")
        sys.exit(1)


def _run(arguments: Sequence[str]) -> None:
    """Run the command that the arguments name; raises SystemExit with its exit code."""
    plain = read_plainly(arguments[1:], (*WHERE, *LOG, *BESIDE)) if arguments[:1] == ["run"] else None
    if plain is not None:
        try:
            sys.exit(run(**plain))
        except KeyboardInterrupt:  # before the daemon takes signals itself; click says and does the same
            _say("\nAborted!")
            sys.exit(1)
    from coordd.commands.app import run_app

    run_app(arguments)


def complain(text: str) -> None:
    """Write an error to stderr, escaped, after the program's name; to the journal with its level."""
    lines = f"coordd: {escape_lines(text)}"
    if os.environ.get("JOURNAL_STREAM"):
        from coordd.service.logs import for_journal

        lines = for_journal(lines, os.environ)
    _say(lines)


def _open_standard_streams() -> None:
    """Open closed standard streams on /dev/null, or the lock or the socket would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one


def _say(lines: str) -> None:
    import click

    click.echo(lines, err=True)
