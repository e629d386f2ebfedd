"""Make click options of the table of options, for the commands that are about a daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from coordd.commands.plain_options import LOG, WHERE, PlainOption

Decorated = Callable[..., Any]


def where_options(function: Decorated) -> Decorated:
    """Add the options --workspace, --layout, --config and --socket to a command."""
    return _add(WHERE, function)


def log_options(function: Decorated) -> Decorated:
    """Add the options --log-level and --log-file to a command."""
    return _add(LOG, function)


def _add(options: tuple[PlainOption, ...], function: Decorated) -> Decorated:
    for option in options:
        function = click.option(
            *option.flags,
            option.name,
            metavar=option.metavar,
            help=option.help,
            multiple=option.multiple,
            type=click.Choice(option.choices) if option.choices else click.Path() if option.path else None,
        )(function)
    return function
