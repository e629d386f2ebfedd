"""Share what commands that run a daemon need: options that say which one, and running it in this process.

The command line is read before anything heavy is imported; the service is imported by :func:`run_here`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import click

from coordd.config.file import ConfigSources
from coordd.config.layout import LayoutName, choose_layout
from coordd.config.schema import Level

if TYPE_CHECKING:
    from coordd.config.build import Config
    from coordd.util.sdnotify import Notifier


def takes_sources(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options --workspace, --layout, --config and --socket; pass on :class:`ConfigSources`."""

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
        function(_sources(workspaces, layout, config, socket, log_level), **others)

    for option in (
        click.option("--socket", "-S", metavar="PATH", help="Answer on this Unix socket.", type=click.Path()),
        click.option(
            "--config", metavar="FILE", help="Read this file instead of the layout's.", type=click.Path()
        ),
        click.option(
            "--layout",
            type=click.Choice(get_args(LayoutName)),
            help="Where configuration, socket and records lie.",
        ),
        click.option(
            "--workspace",
            "-w",
            "workspaces",
            multiple=True,
            metavar="DIR",
            help="Watch this project; may be repeated, and may be a pattern such as '~/src/*'.",
        ),
    ):
        with_sources = option(with_sources)
    return with_sources


def takes_log(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options --log-level and --log-file to a command that takes sources."""
    for option in (
        click.option(
            "--log-file", metavar="FILE", help="Log to this file, which rotates itself.", type=click.Path()
        ),
        click.option(
            "--log-level",
            type=click.Choice(get_args(Level)),
            help="The least important message that is logged.",
        ),
    ):
        function = option(function)
    return function


def _sources(
    workspaces: tuple[str, ...],
    layout: str | None,
    config: str | None,
    socket: str | None,
    log_level: str | None,
) -> ConfigSources:
    """Return what the configuration is made from: the options and the environment."""
    environ = dict(os.environ)
    cwd = os.getcwd()
    named = config or environ.get("COORDD_CONFIG")
    chosen = choose_layout(
        name=layout or environ.get("COORDD_LAYOUT"),
        workspaces=workspaces,
        cwd=cwd,
        environ=environ,
        platform=sys.platform,
    )
    # A project is known by its canonical path from here on, so that it is never watched twice.
    named_workspaces = [chosen.root] if chosen.root is not None and workspaces else list(workspaces)
    flags: dict[str, object] = {
        "coordination.workspaces": named_workspaces or None,
        "control.socket": socket,
        "log.level": log_level,
    }
    return ConfigSources(
        layout=chosen,
        config_file=os.path.join(cwd, named) if named else None,
        environ=environ,
        flags=flags,
        cwd=cwd,
    )


def run_here(
    sources: ConfigSources, settings: Config, *, log_file: str | None = None, notifier: Notifier | None = None
) -> int:
    """Run the daemon in this process, to its end; return the exit code."""
    url = settings.coordination.redis_url
    if url is None or not url.startswith("rediss:"):
        from coordd.runtime.footprint import import_asyncio_without_ssl

        import_asyncio_without_ssl()
    import faulthandler
    import logging

    from coordd.config.rights import Rights
    from coordd.service import logs
    from coordd.service.daemon import run as run_daemon

    if notifier is None:
        faulthandler.enable(2)  # a watchdog's SIGABRT shows where every thread hung
    rights = Rights.of(sources.layout, settings)
    logs.set_up(settings.log.level, os.environ, file=log_file, mode=rights.file, root=rights.root)
    for warning in (*settings.warnings, *settings.problems):
        logging.getLogger("coordd").warning("%s", warning)
    return run_daemon(sources, settings, notifier=notifier)
