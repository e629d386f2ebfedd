"""Build the click application: commands by name, each imported when it is called.

A command is a module with a function ``command`` decorated by click; its line in ``_COMMANDS`` is all that it
takes to add one. Errors of coordd pass through to cli.main; click's own become exit code 2 here.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

import click

from coordd import __version__
from coordd.cli.common import BadUsage, complain, say
from coordd.cli.options import keep_target, place_options, socket_option, timeout_option
from coordd.util.usage import USAGE, usage_words

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130

_COMMANDS = {
    "status": "coordd.cli.status_command",
    "agents": "coordd.cli.agents",
    "agent": "coordd.cli.agent",
    "why": "coordd.cli.why",
    "ack": "coordd.cli.ack",
    "forget": "coordd.cli.forget",
    "wait": "coordd.cli.wait",
    "goto": "coordd.cli.goto",
    "tasks": "coordd.cli.tasks",
    "orphans": "coordd.cli.orphans",
    "workspaces": "coordd.cli.workspaces",
    "history": "coordd.cli.history",
    "tail": "coordd.cli.tail",
    "records": "coordd.cli.records",
    "check": "coordd.cli.check",
    "alerts": "coordd.cli.alerts",
    "hooks": "coordd.cli.hooks.command",
    "doctor": "coordd.cli.doctor.command",
    "ping": "coordd.cli.ping",
    "reload": "coordd.cli.reload",
    "rpc": "coordd.cli.rpc",
    "completion": "coordd.cli.completion",
    "daemons": "coordd.cli.daemons",
    "dashboard": "coordd.cli.dashboard",
}


class Commands(click.Group):
    """A group that imports a command when it is needed, and suggests the nearest name for an unknown one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return all names in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # the same
        """Return the command of this name, None for an unknown one."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = import_module(module).command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with the nearest name in the error."""
        name = args[0] if args else ""
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, _COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{name}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  coordctl status                       all on one screen; exit code 0 is healthy
  coordctl agents --activity waiting    who waits for a human
  coordctl why reviewer-7               one agent's verdict, and what would change it
  coordctl tasks                        who holds what, orphaned claims first
  coordctl tail event -f                what happens, as it happens
  coordctl doctor                       what is wrong, and how to fix it
  coordctl status --json | jq .agents   the same for programs

\b
Exit codes: 0 healthy or done, 1 degraded or refused, 2 usage,
3 coordd is not running, 4 cannot tell (permission, timeout).

\b
The socket is looked for in this order: --socket, $COORDD_SOCKET (unless -w or
--layout is given), the project at or above -w DIR or the current directory, the
user's, the system's. The first place where a coordd has run is the one: if it
does not run there any more, no other answers in its place unsaid.""",
)
@socket_option
@place_options
@timeout_option
@click.version_option(__version__, prog_name="coordctl", message="%(prog)s %(version)s")
@click.pass_context
def app(
    ctx: click.Context,
    socket: str | None,
    timeout: float | None,
    directory: str | None,
    layout: str | None,
) -> None:
    """Ask coordd which coding agents are alive, what they hold, and how the machine does."""
    keep_target(ctx, socket, timeout, directory=directory, layout=layout)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def command_word(arguments: Sequence[str]) -> str | None:
    """Return the command that a command line names, whatever is wrong with it; None for none."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            return argument
        if argument in ("--socket", "--timeout", "--layout", "-w"):
            next(rest, None)
    return None


def _complain_of_usage(error: click.UsageError | BadUsage, arguments: Sequence[str]) -> int:
    """Say what is wrong with the command line; return the exit code."""
    context = (error.ctx if isinstance(error, click.UsageError) else None) or _context_of(arguments)
    message = error.format_message() if isinstance(error, click.UsageError) else str(error)
    if command_word(arguments) == "check":
        from coordd.cli.check import usage_line
        from coordd.cli.check_rules import UNKNOWN

        say(usage_line(message))
        return UNKNOWN
    complain(usage_words(message, context.get_usage(), context.command_path))
    return USAGE


def _context_of(arguments: Sequence[str]) -> click.Context:
    """Return the context of the command that is named, for an error that has none of its own."""
    outer = click.Context(app, info_name="coordctl")
    name = command_word(arguments) or ""
    command = app.get_command(outer, name)
    return outer if command is None else click.Context(command, info_name=name, parent=outer)


def run(arguments: Sequence[str]) -> int:
    """Run the application; return the exit code.

    Raises:
        CoorddError: as the command does.
    """
    try:
        code = app.main(
            list(arguments),
            prog_name="coordctl",
            complete_var="_COORDCTL_COMPLETE",
            standalone_mode=False,
        )
    except (click.UsageError, BadUsage) as error:
        return _complain_of_usage(error, arguments)
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else os.EX_OK
