"""Build the command line of ``coordd`` with click: all commands, their options and their help."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import click

from coordd import __version__
from coordd.commands.launch import run_here
from coordd.commands.options import takes_beside, takes_log, takes_sources
from coordd.commands.rules import check_rules
from coordd.config.redis_url import public_url
from coordd.errors import CoorddError
from coordd.util.text import escape
from coordd.util.usage import USAGE, usage_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from coordd.config.build import Config
    from coordd.config.file import ConfigSources

_ORDER = ("run", "start", "stop", "restart", "check-config", "check-redis", "purge-records", "service")


class _Commands(click.Group):
    """Group the commands, and import some of them only when they are called."""

    _late: ClassVar[dict[str, tuple[str, str]]] = {
        "start": ("coordd.commands.background", "start"),
        "stop": ("coordd.commands.background", "stop"),
        "restart": ("coordd.commands.background", "restart"),
        "purge-records": ("coordd.commands.purge", "purge_records"),
        "service": ("coordd.installer.command", "service"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the help."""
        return sorted([*super().list_commands(ctx), *self._late], key=_ORDER.index)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name; None for an unknown name."""
        if cmd_name not in self._late:
            return super().get_command(ctx, cmd_name)
        module, name = self._late[cmd_name]
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  coordd run                          watch the project you stand in
  coordd run -w ~/src/app -w ~/src/b  watch several
  coordd check-config                 what it would run with, and why
  coordd check-redis                  whether its Redis has what it needs
  coordd service install              as a service: after every boot, watched
  coordd start                        in the background, without a service manager
Then ask it:
  coordctl status

\b
Exit codes: 0 ended as asked, 1 it cannot start (another one runs, or it has no
right to a directory), 2 usage, 78 a configuration that cannot be used.""",
)
@click.version_option(__version__, prog_name="coordd", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """The daemon that knows which coding agents are alive and keeps the record."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


class WrongUsage(CoorddError):
    """A command line that means nothing."""

    exit_code = USAGE


def run_app(arguments: Sequence[str]) -> NoReturn:
    """Run the command that the arguments name, and end the process with its exit code.

    Raises:
        WrongUsage: the command line is wrong.
        CoorddError: as the command does.
    """
    try:
        code = app.main(list(arguments), prog_name="coordd", standalone_mode=False)
    except click.UsageError as error:
        context = error.ctx or _context_of(arguments)
        words = usage_words(error.format_message(), context.get_usage(), context.command_path)
        raise WrongUsage(words) from None
    except click.ClickException as error:
        raise CoorddError(error.format_message()) from None
    except click.Abort:
        click.echo("Aborted!", err=True)
        sys.exit(1)
    sys.exit(code)


def _context_of(arguments: Sequence[str]) -> click.Context:
    """Return the context of the command that is named, for an error that has none of its own."""
    context = click.Context(app, info_name="coordd")
    for word in arguments:
        group = context.command
        command = group.get_command(context, word) if isinstance(group, click.Group) else None
        if command is not None:
            context = click.Context(command, info_name=word, parent=context)
    return context


@app.command(
    "run",
    epilog="""\b
Examples:
  coordd run                                  the project you stand in
  coordd run --workspace ~/src/app            this one, from anywhere
  coordd run -w '~/src/*' --layout user       all below, also those that come later
  coordd run --layout system                  as the service does: /etc, /run, /var
  coordd run --alerts                         and tell you what needs you
  coordd run --log-level debug 2>coordd.log   to see what it sees

\b
coordctl finds it from inside the project or as the same user; 'coordctl doctor'
says what keeps it from being found.""",
)
@takes_sources
@takes_log
@takes_beside
def run_command(sources: ConfigSources, *, log_file: str | None, alerts: bool) -> None:
    """Run in the foreground; log to stderr, or to a file.

    Inside a project (a directory with .claude/coordination, or --workspace DIR) socket and records lie in its
    .claude; elsewhere, and with several workspaces, they lie in your home directory.

    Stop it with Ctrl-C or SIGTERM. SIGHUP reads the configuration again; with --alerts, 'coordctl alerts
    reload' the rules. One coordd-alert of yours runs at a time: where one does, that is said.
    """
    sys.exit(run_here(sources, sources.load(), log_file=log_file, alerts=alerts))


@app.command(
    "check-config",
    epilog="""\b
Examples:
  coordd check-config
  coordd check-config --layout system
  coordd check-config --config new.toml && mv new.toml ~/.config/coordd/coordd.toml
  coordd check-config -w ~/src/app | grep timeout""",
)
@takes_sources
def check_config(sources: ConfigSources) -> None:
    """Check the configuration and print what it amounts to, each value with its origin.

    Exit code 78 means that it cannot be used; the error says where and why.
    """
    from coordd.config.build import effective

    settings = sources.load()
    tell_warnings(settings)
    exists = os.path.exists(sources.path)
    path = escape(sources.path)
    click.echo(f"# layout {sources.layout.name}; file {path}{'' if exists else ' (does not exist)'}")
    section = ""
    for name, value, origin in effective(settings):
        head, _, key = name.partition(".")
        if head != section:
            section = head
            click.echo(f"[{section}]")
        said = f"{key} = {escape(value)}" if value is not None else f"# {key} is not set"
        click.echo(f"{said:<48}  # {escape(origin)}")
    sys.exit(check_rules(sources))


@app.command(
    "check-redis",
    epilog="""\b
Examples:
  coordd check-redis
  coordd check-redis --layout system
  COORDD_REDIS_URL=redis://other:6379/0 coordd check-redis
  coordd check-redis --json | jq -r '.checks[] | select(.state != "ok") | .fix'

\b
It changes nothing there. 'coordctl doctor' runs it as well.

\b
Exit codes: 0 nothing fails, 1 something does, 78 a configuration that cannot be used.""",
)
@takes_sources
@click.option("--json", "as_json", is_flag=True, help="One JSON document: check, state, detail, fix.")
def check_redis(sources: ConfigSources, *, as_json: bool) -> None:
    """Ask the configured Redis for all that coordd needs of it: a line a check.

    Reachability, version, the right to be told of changes, to read each kind of trace and to write samples,
    eviction policy, memory, and how far its clock is from this machine's.
    """
    import asyncio
    import json
    import time
    from dataclasses import asdict

    from coordd.sources.redis.check import failed, probe

    settings = sources.load()
    tell_warnings(settings)
    where = settings.coordination
    checks = []
    if where.redis_url is not None:
        looking = probe(
            where.redis_url,
            prefix=where.redis_prefix,
            reads=where.mode != "file",
            writes=where.redis_writable,
            wall=time.time,
        )
        checks = asyncio.run(looking)
    if as_json:
        url = public_url(where.redis_url) if where.redis_url is not None else None
        click.echo(json.dumps({"schema": 1, "url": url, "checks": [asdict(check) for check in checks]}))
    elif not checks:
        click.echo("no Redis is configured: coordination.redis_url or COORDD_REDIS_URL names one")
    margin = max((len(check.check) for check in checks), default=0)
    for check in checks if not as_json else ():
        click.echo(f"{check.state:<4}  {check.check:<{margin}}  {escape(check.detail)}")
        if check.fix is not None:
            click.echo(f"{'':<{margin + 6}}  fix: {escape(check.fix)}")
    sys.exit(failed(checks))


def tell_warnings(settings: Config) -> None:
    """Print what was passed over, on stderr, a line each; ``coordctl doctor`` reads these."""
    for warning in (*settings.warnings, *settings.problems):
        click.echo(f"coordd: warning: {escape(warning)}", err=True)
