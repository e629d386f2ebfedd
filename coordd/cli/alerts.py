"""Implement ``coordctl alerts``: what coordd-alert tells, what fires, what was told and how it went."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from coordd.cli.alert_outcomes import last_outcomes
from coordd.cli.alerts_text import alerts_text
from coordd.cli.common import BadUsage, complain, own_view, say, say_json
from coordd.cli.complete import agents_named
from coordd.cli.muted_agent import muted_agent
from coordd.cli.options import json_option, utc_option
from coordd.cli.times import moment_words
from coordd.cli.typed import typed
from coordd.errors import CoorddError, RpcError
from coordd.protocol.client import attempt
from coordd.protocol.paths import ALERTS_SOCKET, DaemonLocation, alerts_directory
from coordd.util.text import escape, shown
from coordd.util.units import parse_duration
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordd.protocol.client import Client

WITHIN = 10.0
TRIAL = 150.0
"""Seconds that the actions of a rule may take: a webhook has three tries."""


class AlertsDown(CoorddError):
    """No coordd-alert answers."""

    exit_code = 3


class NotTold(CoorddError):
    """A trial of a rule failed."""


def place_of_alerts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which coordd-alert is asked."""
    for option in (
        click.option("--state", metavar="DIR", help="Its state directory, if it was started with --state."),
        click.option(
            "--layout",
            type=click.Choice(("user", "system")),
            help="Whose: this user's (the default), or the system's.",
        ),
    ):
        function = option(function)
    return function


def connect(state: str | None, layout: str | None, within: float = WITHIN) -> Client:
    """Return a connected client of coordd-alert.

    Raises:
        AlertsDown: none runs there.
        CannotTell: it does not answer.
    """
    folder = state or alerts_directory(layout, os.environ, sys.platform)
    path = os.path.join(os.path.abspath(folder), ALERTS_SOCKET)
    # That of the system runs as a user of its own, and root asks it.
    found = attempt(DaemonLocation("--state", path, None, None, None, own=layout != "system"), within)
    if not isinstance(found, str):
        return found
    raise AlertsDown(
        f"coordd-alert is not running: {escape(path)}: {found}.\n"
        "Start it with 'coordd-alert run', beside a coordd in the foreground with 'coordd run --alerts', or "
        "as a service with 'coordd service install --alerts'."
    )


@click.group(
    "alerts",
    invoke_without_command=True,
    epilog="""\b
Examples:
  coordctl alerts                       rules, what fires, what was told
  coordctl alerts test needs-me         do it for real, once
  coordctl alerts mute 2h --agent api-3
  coordctl alerts --json | jq .firing

\b
Rules are [[alert]] tables in your own coordd.toml (README). Exit codes: 0 all is
well, 1 an action failed or cannot work, 3 coordd-alert is not running.""",
)
@json_option()
@utc_option
@place_of_alerts
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, utc: bool, state: str | None, layout: str | None) -> int:
    """Show what coordd-alert tells, and how it went; try a rule; mute."""
    ctx.obj = (state, layout)
    if ctx.invoked_subcommand is not None:
        return 0
    with connect(state, layout) as client:
        document = as_dict(client.call("status"))
    if as_json:
        say_json(document)
    else:
        for line in alerts_text(document, own_view(utc=utc)):
            say(line)
    return 1 if troubled(document) else 0


def troubled(document: dict[str, Any]) -> bool:
    """Return whether something is wrong: a problem, an action that cannot work, or that failed last. Pure."""
    if document.get("problems"):
        return True
    if any(
        action.get("problem")
        for rule in dicts(document.get("rules"))
        for action in dicts(rule.get("actions"))
    ):
        return True
    return any(outcome.get("error") for outcome in last_outcomes(document).values())


def rule_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001  # click's signature
    """Return the names of rules that begin with the typed text."""
    outer = ctx.parent.params if ctx.parent is not None else {}
    try:
        with connect(outer.get("state"), outer.get("layout"), 0.5) as client:
            rules = dicts(as_dict(client.call("status")).get("rules"))
    except CoorddError:
        return []
    return sorted(str(one.get("name")) for one in rules if str(one.get("name")).startswith(incomplete))


@command.command(
    "test",
    epilog="""\b
Examples:
  coordctl alerts test needs-me         the program runs, the webhook is called""",
)
@click.argument("name", metavar="RULE", shell_complete=rule_names)
@click.pass_obj
def test_command(place: tuple[str | None, str | None], name: str) -> int:
    """Do the actions of a RULE for real, with a message that says that it is a trial."""
    with connect(*place, TRIAL) as client:
        outcomes = dicts(as_dict(client.call("test", {"name": typed(name)})).get("outcomes"))
    for one in outcomes:
        error = one.get("error")
        say(f"{shown(one.get('action'))}: {'told' if error is None else f'not told: {shown(error)}'}")
    failed = [one for one in outcomes if one.get("error") is not None]
    if failed:
        raise NotTold(f"{len(failed)} of {len(outcomes)} actions of rule {shown(name)} failed.")
    return 0


@command.command(
    "mute",
    epilog="""\b
Examples:
  coordctl alerts mute 2h
  coordctl alerts mute 30m --rule needs-me
  coordctl alerts mute 1d --agent api-3""",
)
@click.argument("duration", metavar="DURATION")
@click.option("--rule", metavar="RULE", shell_complete=rule_names, help="Only what this rule tells.")
@click.option(
    "--agent",
    metavar="ID",
    shell_complete=agents_named,
    help="Only what is told of this agent, by id or name, or a beginning.",
)
@click.pass_obj
def mute_command(
    place: tuple[str | None, str | None], duration: str, rule: str | None, agent: str | None
) -> int:
    """Tell nothing for a DURATION such as 2h; what still fires afterwards is told then."""
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise BadUsage(f"{error}; such as 2h, 30m or 1h30m") from error
    params: dict[str, object] = {"seconds": seconds}
    params |= {"rule": typed(rule)} if rule is not None else {}
    note = None
    with connect(*place) as client:
        if agent is not None:
            agent, note = muted_agent(_followed(client), agent)
            params["agent"] = agent
        answer = as_dict(client.call("mute", params))
    whom = (
        " ".join([f"rule {rule}" if rule else "", f"agent {agent}" if agent else ""]).strip() or "everything"
    )
    until = moment_words(answer.get("until"), utc=False)
    say(f"Muted until {until}: {shown(whom)}. End it: coordctl alerts unmute")
    if note is not None:
        complain(f"{note}\nIt is muted once it comes.")
    return 0


def _followed(client: Client) -> str | None:
    socket = as_dict(as_dict(client.call("status")).get("daemon")).get("socket")
    return socket if isinstance(socket, str) else None


@command.command(
    "unmute",
    epilog="""\b
Examples:
  coordctl alerts unmute                all that is muted
  coordctl alerts unmute --agent api-3""",
)
@click.option("--rule", metavar="RULE", shell_complete=rule_names, help="Only mutes of this rule.")
@click.option("--agent", metavar="ID", shell_complete=agents_named, help="Only mutes of this agent.")
@click.pass_obj
def unmute_command(place: tuple[str | None, str | None], rule: str | None, agent: str | None) -> int:
    """End what is muted."""
    params = {"rule": typed(rule)} if rule is not None else {}
    with connect(*place) as client:
        if agent is not None:
            params["agent"], _ = muted_agent(_followed(client), agent)
        ended = as_dict(client.call("unmute", params)).get("ended")
    say(f"{ended} {'mute has' if ended == 1 else 'mutes have'} ended." if ended else "Nothing was muted.")
    return 0


@command.command(
    "reload",
    epilog="""\b
Examples:
  coordd-alert check && coordctl alerts reload""",
)
@click.pass_obj
def reload_command(place: tuple[str | None, str | None]) -> int:
    """Read the rules again; the old ones stay if the new ones are bad."""
    with connect(*place) as client:
        try:
            rules = as_dict(client.call("reload")).get("rules")
        except RpcError as error:
            raise RpcError(error.code, f"The rules stay as they were. {error}", error.data) from error
    say(f"Rules: {', '.join(map(str, rules)) if isinstance(rules, list) else '-'}")
    return 0
