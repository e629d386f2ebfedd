"""Define the options that several commands have; those that choose a daemon work before and after one."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordd.cli.common import LAYOUTS, LONGEST_TIMEOUT, DaemonTarget, parse_timeout
from coordd.cli.complete import agents_named
from coordd.cli.typed import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Callback = TypeVar("Callback", bound=Callable[..., Any])


def socket_option(function: Callback) -> Callback:
    """Add the option ``--socket PATH`` to a command."""
    return click.option("--socket", metavar="PATH", help="Ask the daemon behind this socket, and no other.")(
        function
    )


def place_options(function: Callback) -> Callback:
    """Add the options ``-w DIR`` and ``--layout`` to a command, passed on as ``directory`` and ``layout``."""
    return click.option(
        "-w",
        "directory",
        metavar="DIR",
        help="Ask as from this directory: its project's daemon first.",
    )(
        click.option(
            "--layout", type=click.Choice(LAYOUTS), help="Ask the daemon of this layout, and no other."
        )(function)
    )


def timeout_option(function: Callback) -> Callback:
    """Add the option ``--timeout SECONDS`` to a command."""
    return click.option(
        "--timeout",
        callback=_seconds,
        metavar="SECONDS",
        help=f"Wait this long for an answer (default {DaemonTarget.TIMEOUT:g}).",
    )(function)


def keep_target(
    ctx: click.Context,
    socket: str | None,
    timeout: float | None,
    *,
    directory: str | None = None,
    layout: str | None = None,
) -> DaemonTarget:
    """Return the target of this context: its own options, else those of an outer command."""
    outer = ctx.find_object(DaemonTarget) or DaemonTarget()
    target = DaemonTarget(
        outer.socket if socket is None else socket,
        outer.timeout if timeout is None else timeout,
        directory=outer.directory if directory is None else directory,
        layout=outer.layout if layout is None else layout,
    )
    ctx.obj = target
    return target


def target_of(place: Mapping[str, str | None]) -> DaemonTarget:
    """Return the target of a command with a ``--timeout`` of its own; ``place`` are its other options."""
    return keep_target(
        click.get_current_context(),
        place["socket"],
        None,
        directory=place["directory"],
        layout=place["layout"],
    )


def takes_target(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that choose a daemon to a command, and pass it the :class:`DaemonTarget` first."""

    @functools.wraps(function)
    def with_target(
        *, socket: str | None, timeout: float | None, directory: str | None, layout: str | None, **others: Any
    ) -> int:
        context = click.get_current_context()
        return function(keep_target(context, socket, timeout, directory=directory, layout=layout), **others)

    return socket_option(place_options(timeout_option(with_target)))


def json_option(words: str = "One JSON document, with all fields.") -> Callable[[Callback], Callback]:
    """Return the option ``--json``, which is passed on as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=words)


def utc_option(function: Callback) -> Callback:
    """Add the option ``--utc`` to a command."""
    return click.option("--utc", is_flag=True, help="Times in UTC, in place of local time.")(function)


def workspace_option(words: str) -> Callable[[Callback], Callback]:
    """Return the option ``--workspace DIR``, passed on as the daemon knows it; "" for Redis alone."""

    def key(_ctx: click.Context, _param: click.Parameter, directory: str | None) -> str | None:
        return typed(os.path.abspath(os.path.expanduser(directory))) if directory else directory

    return click.option("--workspace", metavar="DIR", callback=key, help=f"{words}; '' for Redis alone.")


def takes_agent(function: Callable[..., int]) -> Callable[..., int]:
    """Add what :func:`takes_named_agent` adds, and ``--json``, to a command."""
    return takes_named_agent(json_option("One JSON document.")(function))


def takes_named_agent(function: Callable[..., int]) -> Callable[..., int]:
    """Add what names an agent, and the options of :func:`takes_target`, to a command."""
    return named_agent(takes_target(function))


def named_agent(function: Callable[..., int]) -> Callable[..., int]:
    """Add the argument ``agent_id`` and the option ``--workspace`` to a command."""
    for option in (
        workspace_option("Its workspace, if several have this id"),
        click.argument("agent_id", metavar="ID", shell_complete=agents_named),
    ):
        function = option(function)
    return function


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    seconds = parse_timeout(value)
    if seconds is None:
        raise click.BadParameter(
            f"{value!r} is not a time to wait: more than 0, at most {LONGEST_TIMEOUT:.0f} seconds.",
            ctx,
            param,
        )
    return seconds
