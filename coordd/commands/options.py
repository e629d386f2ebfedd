"""Make click options of the table of options, for the commands that are about a daemon."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from coordd.commands.launch import sources_of
from coordd.commands.plain_options import BESIDE, LOG, WHERE, PlainOption

Decorated = Callable[..., Any]


def takes_sources(function: Callable[..., None]) -> Decorated:
    """Add --workspace, --layout, --config and --socket to a command; pass on :class:`ConfigSources`."""

    @functools.wraps(function)
    def with_sources(
        *,
        workspaces: tuple[str, ...],
        layout: str | None,
        config: str | None,
        socket: str | None,
        log_level: str | None = None,
        **others: Any,
    ) -> None:
        function(sources_of(workspaces, layout, config, socket, log_level), **others)

    return _add(WHERE, with_sources)


def takes_log(function: Decorated) -> Decorated:
    """Add the options --log-level and --log-file to a command that takes sources."""
    return _add(LOG, function)


def takes_beside(function: Decorated) -> Decorated:
    """Add --alerts to a command that runs a daemon."""
    return _add(BESIDE, function)


def _add(options: tuple[PlainOption, ...], function: Decorated) -> Decorated:
    for option in options:
        function = click.option(
            *option.flags,
            option.name,
            metavar=option.metavar,
            help=option.help,
            multiple=option.multiple,
            is_flag=option.flag or None,  # False would make the value of an option optional
            type=click.Choice(option.choices) if option.choices else click.Path() if option.path else None,
        )(function)
    return function
