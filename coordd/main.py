"""The command ``coordd``: runs the daemon, or checks what it would run with; imports the rest when called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import ClassVar

import click

from coordd import __version__
from coordd.errors import CoorddError
from coordd.launch import log_options, run_here, sources_of, where_options
from coordd.text import escape_lines

_ORDER = ("run", "start", "stop", "restart", "check-config", "service")


class _Commands(click.Group):
    """The group, with commands that are imported when they are wanted."""

    _late: ClassVar[dict[str, tuple[str, str]]] = {
        "start": ("coordd.background", "start"),
        "stop": ("coordd.background", "stop"),
        "restart": ("coordd.background", "restart"),
        "service": ("coordd.installer.command", "service"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which the help teaches them."""
        return sorted([*super().list_commands(ctx), *self._late], key=_ORDER.index)

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
  coordd service install              as a service: after every boot, watched
  coordd start                        in the background, without a service manager
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
@where_options
@log_options
def run(
    *,
    workspaces: tuple[str, ...],
    layout: str | None,
    config: str | None,
    socket: str | None,
    log_level: str | None,
    log_file: str | None,
) -> None:
    """Run in the foreground; log to stderr, or to a file.

    Inside a project (a directory with .claude/coordination, or --workspace DIR) socket and records lie in its
    .claude; elsewhere, and with several workspaces, they lie in your home directory.

    Stop it with Ctrl-C or SIGTERM. SIGHUP reads the configuration again.
    """
    sources = sources_of(workspaces, layout, config, socket, log_level)
    sys.exit(run_here(sources, sources.load(), log_file=log_file))


@app.command(
    "check-config",
    epilog="""\b
Examples:
  coordd check-config
  coordd check-config --layout system
  coordd check-config --config new.toml && mv new.toml ~/.config/coordd/coordd.toml
  coordd check-config -w ~/src/app | grep timeout""",
)
@where_options
def check_config(
    *, workspaces: tuple[str, ...], layout: str | None, config: str | None, socket: str | None
) -> None:
    """Check the configuration and print what it amounts to, each value with its origin.

    Exit code 78 means that it cannot be used; the error says where and why.
    """
    from coordd.config import effective

    sources = sources_of(workspaces, layout, config, socket, None)
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
