"""The command ``coordd``: runs the daemon, or checks what it would run with.

The command line is read before anything heavy is imported; the service is imported by the command that runs
it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import click

from coordd import __version__
from coordd.configfile import Sources
from coordd.errors import CoorddError
from coordd.layout import choose_layout
from coordd.text import escape_lines

Decorated = Callable[..., Any]


def _where_options(function: Decorated) -> Decorated:
    for option in (
        click.option("--socket", "-S", metavar="PATH", help="Answer on this Unix socket.", type=click.Path()),
        click.option(
            "--config", metavar="FILE", help="Read this file instead of the layout's.", type=click.Path()
        ),
        click.option(
            "--layout",
            type=click.Choice(["project", "user", "system"]),
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
        function = option(function)
    return function


class _Commands(click.Group):
    """The group, with commands that are imported when they are wanted."""

    _late: ClassVar[dict[str, tuple[str, str]]] = {"service": ("coordd.installer.command", "service")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which the help teaches them."""
        return [*super().list_commands(ctx), *self._late]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in self._late:
            return super().get_command(ctx, cmd_name)
        module, name = self._late[cmd_name]
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  coordd run                          watch the project you stand in
  coordd run -w ~/src/app -w ~/src/b  watch several
  coordd check-config                 what it would run with, and why
Then ask it:
  coordctl status

\b
Exit codes: 0 ended as asked, 1 it cannot start (another one runs, or it has no
right to a directory), 2 usage, 78 a configuration that cannot be used.""",
)
@click.version_option(__version__, prog_name="coordd")
def app() -> None:
    """The daemon that knows which coding agents are alive and keeps the record."""


@app.command(
    epilog="""\b
Examples:
  coordd run                                  the project you stand in
  coordd run --workspace ~/src/app            this one, from anywhere
  coordd run -w '~/src/*' --layout user       all below, also those that come later
  coordd run --layout system                  as the service does: /etc, /run, /var
  coordd run --log-level debug 2>coordd.log   to see what it sees

\b
coordctl finds it from inside the project or as the same user; 'coordctl doctor'
says what keeps it from being found.""",
)
@_where_options
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The least important message that is logged.",
)
def run(
    workspaces: tuple[str, ...],
    layout: str | None,
    config: str | None,
    socket: str | None,
    log_level: str | None,
) -> None:
    """Run in the foreground; log to stderr.

    Inside a project (a directory with .claude/coordination, or --workspace DIR) socket and records lie in its
    .claude; elsewhere, and with several workspaces, they lie in your home directory.

    Stop it with Ctrl-C or SIGTERM. SIGHUP reads the configuration again.
    """
    sources = _sources(workspaces, layout, config, socket, log_level)
    settings = sources.load()
    url = settings.coordination.redis_url
    if url is None or not url.startswith("rediss:"):
        from coordd.lean import import_asyncio_without_ssl

        import_asyncio_without_ssl()
    import faulthandler
    import logging

    from coordd import logs
    from coordd.daemon import run as run_daemon

    faulthandler.enable()  # a watchdog's SIGABRT shows where every thread hung
    logs.set_up(settings.log.level, os.environ)
    for warning in settings.warnings:
        logging.getLogger("coordd").warning("%s", warning)
    sys.exit(run_daemon(sources, settings))


@app.command(
    "check-config",
    epilog="""\b
Examples:
  coordd check-config
  coordd check-config --layout system
  coordd check-config --config new.toml && mv new.toml ~/.config/coordd/coordd.toml
  coordd check-config -w ~/src/app | grep timeout""",
)
@_where_options
def check_config(
    workspaces: tuple[str, ...], layout: str | None, config: str | None, socket: str | None
) -> None:
    """Check the configuration and print what it amounts to, each value with its origin.

    Exit code 78 means that it cannot be used; the error says where and why.
    """
    from coordd.config import effective

    sources = _sources(workspaces, layout, config, socket, None)
    settings = sources.load()
    for warning in settings.warnings:
        click.echo(f"coordd: warning: {warning}", err=True)
    exists = os.path.exists(sources.path)
    click.echo(f"# layout {sources.layout.name}; file {sources.path}{'' if exists else ' (does not exist)'}")
    section = ""
    for name, value, origin in effective(settings):
        head, _, key = name.partition(".")
        if head != section:
            section = head
            click.echo(f"[{section}]")
        click.echo(f"{f'{key} = {value}' if value is not None else f'# {key} is not set':<48}  # {origin}")


def _sources(
    workspaces: tuple[str, ...],
    layout: str | None,
    config: str | None,
    socket: str | None,
    log_level: str | None,
) -> Sources:
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
    flags: dict[str, object] = {
        "coordination.workspaces": list(workspaces) or None,
        "control.socket": socket,
        "log.level": log_level,
    }
    return Sources(
        layout=chosen,
        config_file=os.path.join(cwd, named) if named else None,
        environ=environ,
        flags=flags,
        cwd=cwd,
    )


def _open_standard_streams() -> None:
    """Started with a standard stream closed, the lock or the socket would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one


def main() -> None:
    """The entry point of the console script."""
    _open_standard_streams()
    try:
        app(prog_name="coordd")
    except CoorddError as error:
        lines = f"coordd: {escape_lines(str(error))}"
        if os.environ.get("JOURNAL_STREAM"):
            from coordd.logs import for_journal

            lines = for_journal(lines, os.environ)
        click.echo(lines, err=True)
        sys.exit(error.exit_code)
