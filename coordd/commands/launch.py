"""Share what commands that run a daemon need: which one, by their options, and running it in this process.

The command line is read before anything heavy is imported; the service is imported by :func:`run_here`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from coordd.config.file import ConfigSources
from coordd.config.layout import choose_layout
from coordd.config.redis_url import uses_tls

if TYPE_CHECKING:
    from coordd.config.build import Config
    from coordd.util.sdnotify import Notifier


def sources_of(
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


def run(
    *,
    workspaces: tuple[str, ...],
    layout: str | None,
    config: str | None,
    socket: str | None,
    log_level: str | None,
    log_file: str | None,
    alerts: bool,
) -> int:
    """Run the daemon that these options name in this process, to its end; return the exit code.

    Raises:
        CoorddError: it cannot start.
    """
    sources = sources_of(workspaces, layout, config, socket, log_level)
    return run_here(sources, sources.load(), log_file=log_file, alerts=alerts)


def run_here(
    sources: ConfigSources,
    settings: Config,
    *,
    log_file: str | None = None,
    notifier: Notifier | None = None,
    alerts: bool = False,
    alerts_log: str | None = None,
) -> int:
    """Run the daemon in this process, to its end; return the exit code.

    With ``alerts`` coordd-alert runs beside it, and logs to standard error, or to the file ``alerts_log``.
    """
    from coordd.runtime.footprint import import_asyncio_without_ssl, share_one_heap

    share_one_heap()
    url = settings.coordination.redis_url
    if url is None or not uses_tls(url):
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
    if not alerts:
        return run_daemon(sources, settings, notifier=notifier)
    from coordd.commands.beside import Beside, at_ready, command_line
    from coordd.util.sdnotify import manager_of

    beside = Beside(command_line(sources, settings, log_file=alerts_log), os.environ)
    told = at_ready(notifier or manager_of(os.environ), beside.start)
    try:
        return run_daemon(sources, settings, notifier=told)
    finally:
        beside.end()
