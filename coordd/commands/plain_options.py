"""List the options of commands that are about a daemon, and read them where they are plainly written.

What is not plainly written, from ``--help`` to a mistake, is left to click (options.py), which says what is
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from coordd.config.layout import LayoutName
from coordd.config.schema import Level


@dataclass(frozen=True, slots=True)
class PlainOption:
    """One option: ``name`` is that of the parameter, ``choices`` are all values there are, if not any.

    A ``flag`` has no value: it is True where it was given.
    """

    name: str
    flags: tuple[str, ...]
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    multiple: bool = False
    path: bool = False
    flag: bool = False


WHERE = (
    PlainOption("socket", ("--socket", "-S"), "Answer on this Unix socket.", metavar="PATH", path=True),
    PlainOption(
        "config", ("--config",), "Read this file instead of the layout's.", metavar="FILE", path=True
    ),
    PlainOption(
        "layout",
        ("--layout",),
        "Where configuration, socket and records lie.",
        choices=get_args(LayoutName),
    ),
    PlainOption(
        "workspaces",
        ("--workspace", "-w"),
        "Watch this project; may be repeated, and may be a pattern such as '~/src/*'.",
        metavar="DIR",
        multiple=True,
    ),
)
"""Which daemon, and where it finds what it needs; the last one is the first in the help."""

LOG = (
    PlainOption(
        "log_file", ("--log-file",), "Log to this file, which rotates itself.", metavar="FILE", path=True
    ),
    PlainOption(
        "log_level",
        ("--log-level",),
        "The least important message that is logged.",
        choices=get_args(Level),
    ),
)
"""What it logs, and where."""

BESIDE = (
    PlainOption(
        "alerts",
        ("--alerts",),
        "Run coordd-alert beside it, which tells you what needs you, and ends with it.",
        flag=True,
    ),
)
"""What runs beside it."""


def read_plainly(arguments: Sequence[str], options: Sequence[PlainOption]) -> dict[str, Any] | None:
    """Return the parameters that click would pass for these arguments; None if click has to read them.

    Plain are ``--option value``, ``--option=value`` and ``-o value``, each with a value that begins with no
    dash.
    """
    found: dict[str, Any] = {
        option.name: () if option.multiple else False if option.flag else None for option in options
    }
    by_flag = {flag: option for option in options for flag in option.flags}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        option = by_flag.get(flag)
        if option is not None and option.flag and not equals:
            found[option.name] = True
            continue
        if not equals:
            value = next(rest, "-")
        if (
            option is None
            or option.flag
            or value.startswith("-")
            or (option.choices and value not in option.choices)
        ):
            return None
        found[option.name] = (*found[option.name], value) if option.multiple else value
    return found
