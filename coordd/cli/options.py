"""Add ``--socket`` and ``--timeout`` before and after a command; the one after it wins."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordd.cli.common import LONGEST_TIMEOUT, DaemonTarget, parse_timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = TypeVar("Callback", bound=Callable[..., Any])


def socket_option(function: Callback) -> Callback:
    """Add the option ``--socket PATH`` to a command."""
    return click.option("--socket", metavar="PATH", help="Ask the daemon behind this socket, and no other.")(
        function
    )


def timeout_option(function: Callback) -> Callback:
    """Add the option ``--timeout SECONDS`` to a command."""
    return click.option(
        "--timeout",
        callback=_seconds,
        metavar="SECONDS",
        help=f"Wait this long for an answer (default {DaemonTarget.TIMEOUT:g}).",
    )(function)


def keep_target(ctx: click.Context, socket: str | None, timeout: float | None) -> DaemonTarget:
    """Return the target of this context: its own options, else those of an outer command."""
    outer = ctx.find_object(DaemonTarget) or DaemonTarget()
    target = DaemonTarget(
        outer.socket if socket is None else socket, outer.timeout if timeout is None else timeout
    )
    ctx.obj = target
    return target


def takes_target(function: Callable[..., int]) -> Callable[..., int]:
    """Add both options to a command, and pass it the :class:`DaemonTarget` as its first argument."""

    @functools.wraps(function)
    def with_target(*, socket: str | None, timeout: float | None, **others: Any) -> int:
        return function(keep_target(click.get_current_context(), socket, timeout), **others)

    return socket_option(timeout_option(with_target))


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


def workspace_key(directory: str | None) -> str | None:
    """Return a workspace as the daemon knows it: its absolute path; "" for agents of Redis alone."""
    return os.path.abspath(directory) if directory else directory
