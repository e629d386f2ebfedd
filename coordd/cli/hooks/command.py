"""Implement ``coordctl hooks``: put hooks of coordd into settings of Claude Code, or take them out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from coordd.cli.agent_places import short_path
from coordd.cli.common import complain, say, say_json
from coordd.cli.hooks import places, script, undo
from coordd.cli.hooks.edit import BOM, with_hooks, without_hooks
from coordd.cli.hooks.entries import settings
from coordd.cli.hooks.json_spans import BadJson, parse
from coordd.cli.hooks.settings_file import HooksError, SettingsFile, read, replace
from coordd.cli.hooks.switches import disables
from coordd.cli.options import takes_target
from coordd.util.digest import sha256_hex
from coordd.util.text import escape
from coordd.util.usage import USAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coordd.cli.common import DaemonTarget
    from coordd.cli.hooks.places import Settings


def takes_place(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say whose settings are meant."""
    function = click.option(
        "--project",
        "place",
        flag_value="project",
        help="The settings of this project alone: .claude/settings.local.json.",
    )(function)
    return click.option(
        "--user",
        "place",
        flag_value="user",
        default=True,
        help="The settings of each home of Claude Code that this user has (the usual).",
    )(function)


@click.group(
    "hooks",
    invoke_without_command=True,
    epilog="""\b
Examples:
  coordctl hooks install                for every session of this user
  coordctl hooks install --project      for those in this project alone
  coordctl hooks print                  what would be added, and nothing else
  coordctl hooks uninstall              the settings are what they were before

\b
Sessions of Claude Code are seen without hooks. Hooks tell of sessions that cannot be
looked at from outside, as in a container that shares the project.""",
)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Let Claude Code tell of its sessions by hooks, or no longer."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return USAGE
    return 0


@command.command(
    "install",
    epilog="""\b
Examples:
  coordctl hooks install
  coordctl -w ~/src/app hooks install --project

\b
Everything else in the settings stays as it is, and a backup is kept. Installing again
changes nothing. Sessions that run already go on without hooks until they are restarted.""",
)
@takes_place
@takes_target
def install(target: DaemonTarget, place: str) -> int:
    """Add the hooks to settings of Claude Code, beside those that are there."""
    places.check_user(os.environ, "install")
    path = script.path_of(os.environ)
    script.install(path)
    say(f"the hook is {_short(path)}")
    of_project = place == "project"
    return _each(_chosen(target, place), lambda one: _install(one, path, of_project=of_project))


@command.command(
    "uninstall",
    epilog="""\b
Examples:
  coordctl hooks uninstall
  coordctl -w ~/src/app hooks uninstall --project

\b
Where nobody has changed the settings since, they are what they were before, byte for
byte. That goes for all settings of this user that 'install' has changed, whatever
CLAUDE_CONFIG_DIR says now. Sessions that still have the hooks call a script that is
no longer there, which does nothing.""",
)
@takes_place
@takes_target
def uninstall(target: DaemonTarget, place: str) -> int:
    """Take the hooks out of settings of Claude Code, and nothing else."""
    places.check_user(os.environ, "uninstall")
    chosen = _chosen(target, place)
    code = _each(chosen, _uninstall)
    if place == "user":
        code |= _the_others(chosen)
    if code == 0 and undo.is_empty(undo.folder_of(os.environ)):
        script.remove(script.path_of(os.environ))
    return code


@command.command(
    "print",
    epilog="""\b
Examples:
  coordctl hooks print
  coordctl hooks print | jq '.hooks | keys'

\b
For settings that something else writes. The script that they name has to be there as
well: 'coordctl hooks install' puts it there.""",
)
@takes_place
@takes_target
def print_settings(target: DaemonTarget, place: str) -> int:  # noqa: ARG001  # the hooks are the same for both
    """Print the hooks as settings that hold nothing else, and change nothing."""
    places.check_user(os.environ, "print", writes=False)
    say_json(settings(script.path_of(os.environ)))
    return 0


def _chosen(target: DaemonTarget, place: str) -> list[Settings]:
    if place == "project":
        return [places.of_project(target)]
    return places.of_user(os.environ, places.known_to(target))


def _each(chosen: Sequence[Settings], act: Callable[[SettingsFile], str]) -> int:
    """Do something to each settings file, and say what; return 1 if that failed for any of them."""
    failed = 0
    for one in chosen:
        try:
            say(f"{_short(one.path)}: {act(read(one.path, within=one.within, owner=one.owner))}")
        except HooksError as error:
            complain(str(error))
            failed = 1
    return failed


def _the_others(done: Sequence[Settings]) -> int:
    """Take the hooks out of what else they were put into; return as :func:`_each` does."""
    folder, code = undo.folder_of(os.environ), 0
    targets = {os.path.realpath(one.path) for one in done}
    for kept in undo.kept_of_user(folder):
        if isinstance(kept, HooksError):
            complain(str(kept))
            code = 1
            continue
        target = os.path.realpath(kept)
        failed = 0
        if target not in targets:
            targets.add(target)
            failed = _each([places.Settings(kept)], _uninstall)
        if not failed and target != kept:  # settings that were moved, with a link in their place
            undo.drop(folder, kept)
        code |= failed
    return code


def _install(file: SettingsFile, path: str, *, of_project: bool) -> str:
    try:
        content = with_hooks(file.text, path).encode()
    except BadJson as error:
        raise HooksError(f"{escape(file.path)} {error}; it stays as it is") from error
    off = "; disableAllHooks is set there, which keeps all hooks from being called" if _off(content) else ""
    if content == file.content:
        return f"the hooks are there already{off}"
    folder = undo.folder_of(os.environ)
    backup = undo.find(folder, file.target)
    if backup is None or not backup.covers(file.content):  # what an older coordd wrote has its backup
        before = file.content
        if before is not None and (bare := without_hooks(file.text).encode()) != before:
            before = bare
        backup = undo.Backup(before, "")
    backup = backup._replace(written=sha256_hex(content))
    kept = undo.keep(folder, file.target, backup, of_project=of_project)
    replace(file, content)
    return "the hooks are in it" + (f"; its backup is {_short(kept)}" if kept else "; it is new") + off


def _off(content: bytes) -> bool:
    return disables(parse(content.decode().removeprefix(BOM))) is True


def _uninstall(file: SettingsFile) -> str:
    folder = undo.folder_of(os.environ)
    backup = undo.find(folder, file.target)
    if file.content is None:
        undo.drop(folder, file.target)
        return "there is no such file"
    if backup is not None and backup.covers(file.content):
        replace(file, backup.content)
        undo.drop(folder, file.target)
        return "is gone, as it was before" if backup.content is None else "is what it was before"
    try:
        content = without_hooks(file.text).encode()
    except BadJson as error:
        raise HooksError(f"{escape(file.path)} {error}; it stays as it is") from error
    if content == file.content:
        undo.drop(folder, file.target)
        return "no hook of coordd's is in it"
    replace(file, content)
    undo.drop(folder, file.target)
    return "the hooks are out of it; all else is as it was"


def _short(path: str) -> str:
    return short_path(path, os.environ.get("HOME"))
