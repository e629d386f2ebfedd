"""Provide the command line of ``coordd-alert``: run it, or check its rules.

It is read without click or argparse, which would stay in the memory of a process that is there for good.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from coordd import __version__
from coordd.errors import DEBUG, CoorddError, unexpected
from coordd.util.text import escape, escape_lines
from coordd.util.usage import USAGE, usage_words

HELP = """\
Usage: coordd-alert run [OPTIONS]
       coordd-alert check [--config FILE]

Tell people what needs them: by a program, a webhook, apprise or the desktop.

  run     Follow a coordd, and tell what its [[alert]] rules say, until it is ended.
          SIGHUP reads the rules again; the old ones stay if the new ones are bad.
  check   Check the rules, and whether what they do can work here.

Options of run:
  --socket PATH        Follow the coordd behind this socket, and no other.
  -w, --workspace DIR  Follow the coordd of this project.
  --layout LAYOUT      Follow the coordd of this layout: project, user or system
                       (default: the user's).
  --config FILE        Read the rules from this file (default: coordd.toml of the
                       user, or of the system with --layout system).
  --state DIR          Keep what was told in this directory.
  --log-file FILE      Log into this file, which rotates itself, and not to stderr.
  --until-eof          End when standard input ends, with whoever holds the other end
                       of that pipe ('coordd run --alerts'). If one runs already, say so
                       and exit with 0.
  -h, --help           Show this text.
  --version            Show the version.

Examples:
  coordd-alert run                        for the user's coordd
  coordd-alert run -w ~/src/app           for that of a project
  coordd-alert check && coordctl alerts test needs-me

Without any rule, the desktop is told who waits, was killed or is stalled. Rules are
tables in your own coordd.toml, which only you may be able to write:

  [[alert]]
  name = "needs-me"
  on = ["waiting", "killed", "stalled", "mass", "finished"]
  exec = ["notify-send", "{title}", "{text}"]

Exit codes: 0 done, 1 it cannot run, 2 usage, 78 bad rules.
"""

_VALUED = {
    "--socket": "socket",
    "-w": "directory",
    "--workspace": "directory",
    "--layout": "layout",
    "--config": "config",
    "--state": "state",
    "--log-file": "log_file",
}
_FLAGS = {"--until-eof": "until_eof"}
_LAYOUTS = ("project", "user", "system")


class BadOptions(CoorddError):
    """A command line that means nothing."""

    exit_code = USAGE

    def __init__(self, message: str) -> None:
        super().__init__(usage_words(message, "Usage: coordd-alert run|check [OPTIONS]", "coordd-alert"))


def main() -> None:
    """Run the command line; the entry point of the console script."""
    try:
        sys.exit(run(sys.argv[1:]))
    except CoorddError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        _complain(escape(unexpected("coordd-alert", error)))
        sys.exit(1)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return the exit code.

    Raises:
        CoorddError: it cannot be done.
    """
    if any(one in ("-h", "--help") for one in arguments):
        sys.stdout.write(HELP)
        return 0
    if "--version" in arguments:
        sys.stdout.write(f"coordd-alert {__version__}\n")
        return 0
    if not arguments or arguments[0] not in ("run", "check"):
        raise BadOptions("expected run or check" if not arguments else f"no such command: {arguments[0]}")
    options = _options(arguments[1:])
    if arguments[0] == "check":
        return _check(options)
    _open_standard_streams()
    from coordd.util.asyncio_without_ssl import import_asyncio_without_ssl

    import_asyncio_without_ssl()
    from coordd.alerts.start import serve

    return serve(options)


def _options(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument in _FLAGS:
            found[_FLAGS[argument]] = "yes"
            continue
        name, equals, value = argument.partition("=")
        if name not in _VALUED or (equals and not name.startswith("--")):
            raise BadOptions(f"no such option: {escape(argument)}")
        if not equals:
            value = next(rest, "")
        if not value:
            raise BadOptions(f"{name} needs a value")
        found[_VALUED[name]] = value
    if found.get("layout") not in (None, *_LAYOUTS):
        raise BadOptions(f"--layout is one of {', '.join(_LAYOUTS)}")
    return found


def _check(options: dict[str, str]) -> int:
    """Check the rules, and say of each what it tells and by what."""
    from coordd.util.asyncio_without_ssl import import_asyncio_without_ssl

    import_asyncio_without_ssl()
    from coordd.alerts.start import check

    lines, sound = check(options)
    sys.stdout.write("\n".join(escape(line) for line in lines) + "\n")
    return 0 if sound else 1


def _complain(text: str) -> None:
    try:
        sys.stderr.write(f"coordd-alert: {escape_lines(text)}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):
        pass


def _open_standard_streams() -> None:
    """Open closed standard streams on /dev/null, or the lock or the socket would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one


if __name__ == "__main__":
    main()
