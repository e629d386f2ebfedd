"""Start, stop and restart coordd in the background, without a service manager: a classic daemon."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from coordd import __version__
from coordd.commands.detached import start as start_detached
from coordd.commands.holder import find_holder
from coordd.commands.launch import run_here
from coordd.commands.options import takes_beside, takes_log, takes_sources
from coordd.config.layout import check_project_directories
from coordd.errors import StartError
from coordd.service.log_file import default_log_file

if TYPE_CHECKING:
    from coordd.config.build import Config
    from coordd.config.file import ConfigSources


@click.command(
    epilog="""\b
Examples:
  coordd start                               the project you stand in
  coordd start -w '~/src/*' --layout user    your projects, from anywhere
  coordd start --log-file /var/tmp/coordd.log
  coordd start --alerts                      and tell you what needs you
Then:
  coordctl status
  coordd stop""",
)
@takes_sources
@takes_log
@takes_beside
def start(sources: ConfigSources, *, log_file: str | None, alerts: bool) -> None:
    """Start in the background, where there is no service manager; return when it answers.

    Logs to coordd.log in the log directory, 10 MiB at most, and five old ones; with --alerts, coordd-alert to
    coordd-alert.log beside it. One that runs already is fine.
    """
    _start(sources, sources.load(), log_file, alerts=alerts)


@click.command(
    epilog="""\b
Examples:
  coordd stop
  coordd stop -w ~/src/app
  coordd stop --layout user""",
)
@takes_sources
def stop(sources: ConfigSources) -> None:
    """End the coordd of this place; wait until its last record is written.

    Which one that is follows from the same options as for 'start'. One that does not run is fine.
    """
    _stop(sources, sources.load())


@click.command(
    epilog="""\b
Examples:
  coordd restart
  coordd restart -w '~/src/*' --layout user""",
)
@takes_sources
@takes_log
@takes_beside
def restart(sources: ConfigSources, *, log_file: str | None, alerts: bool) -> None:
    """Stop and start; with a configuration that cannot be used, the old one goes on running."""
    settings = sources.load()
    _stop(sources, settings)
    _start(sources, settings, log_file, alerts=alerts)


def _start(sources: ConfigSources, settings: Config, log_file: str | None, *, alerts: bool) -> None:
    check_project_directories(sources.layout)
    running = find_holder(settings.storage.metrics_dir)
    if running is not None:
        click.echo(f"coordd runs already, pid {running.pid}")
        return
    path = os.path.abspath(log_file) if log_file else default_log_file(sources.layout, settings)
    umask = 0o027 if sources.layout.name == "system" else 0o077
    started = start_detached(
        lambda notifier: run_here(
            sources,
            settings,
            log_file=path,
            notifier=notifier,
            alerts=alerts,
            alerts_log=os.path.join(os.path.dirname(path), "coordd-alert.log"),
        ),
        umask=umask,
    )
    if started.pid is None:
        click.echo(f"coordd: {started.output}\nIt may have said more in {path}", err=True)
        sys.exit(started.code)
    click.echo(f"coordd {__version__} runs, pid {started.pid}; it logs to {path}")


def _stop(sources: ConfigSources, settings: Config) -> None:
    check_project_directories(sources.layout)  # a link would lead to another project's daemon
    running = find_holder(settings.storage.metrics_dir)
    if running is None:
        click.echo(f"coordd does not run here (nobody holds {settings.storage.metrics_dir}/.lock)")
        return
    unit = running.manager()
    if unit is not None:
        raise StartError(
            f"coordd with pid {running.pid} is run by systemd, which might start it again: "
            f"systemctl stop {unit}, or systemctl --user stop {unit}"
        )
    drained = running.stop()
    click.echo(f"coordd is stopped, pid {running.pid}{'' if drained else '; it had to be told twice'}")
