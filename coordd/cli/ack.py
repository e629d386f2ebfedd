"""Implement ``coordctl ack``: take entries of "needs you" off until they are about something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.common import say
from coordd.cli.find_agent import meant
from coordd.cli.options import takes_target
from coordd.cli.pages import all_pages
from coordd.cli.typed import shown_forms, spellings, typed
from coordd.errors import CannotTell, CoorddError, RpcError
from coordd.protocol.jsonrpc import METHOD_NOT_FOUND
from coordd.util.text import number, shown
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.cli.common import DaemonTarget
    from coordd.protocol.client import Client

_MENTIONED = 8  # entries named at most in an error


class NoSuchEntry(CoorddError):
    """Nothing that needs a human is meant by the words that were typed."""


@click.command(
    "ack",
    epilog="""\b
Examples:
  coordctl ack                          all that needs you now
  coordctl ack api-3
  coordctl status --json | jq '.attention[] | {id, subject, text}'

\b
What is acknowledged is back as soon as it changes: an agent that waits for
something else, one that is killed again. Nothing is done to the agent. Only root
and the daemon's own user may acknowledge.""",
)
@click.argument("entry", required=False, metavar="[ENTRY]")
@takes_target
def command(target: DaemonTarget, entry: str | None) -> int:
    """Take entries of "needs you" off until they change.

    ENTRY is an agent, by id or name, a task, or the id of an entry. Without it, all
    are taken off.
    """
    with target.connect() as client:
        try:
            if entry is None:
                taken = _acknowledged(client, {})
            else:
                found = _named(target, client, entry)
                taken = sum(_acknowledged(client, {"entry": one.get("id")}) for one in found)
        except RpcError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            message = "It is an older coordd, which does not tell what needs you."
            raise RpcError(error.code, f"{error.message}.\n{message}", error.data) from error
    if taken:
        say(f"{taken} {'entry is' if taken == 1 else 'entries are'} taken off, until something changes.")
    else:
        say("Nothing needed you.")
    return 0


def chosen(
    entries: Sequence[dict[str, Any]], words: str, agents: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return the entries that the words mean: by id, else by subject, else by the name of an agent. Pure."""
    for field in ("id", "subject"):
        for spelling in spellings(words):
            found = [entry for entry in entries if spelling in shown_forms(str(entry.get(field)))]
            if found:
                return found
    named = {agent.get("agent_id") for agent in meant(agents, words, None)}
    return [entry for entry in entries if entry.get("subject") in named] if len(named) == 1 else []


def _named(target: DaemonTarget, client: Client, words: str) -> list[dict[str, Any]]:
    entries = dicts(as_dict(client.call("status")).get("attention"))
    found = chosen(entries, words)
    if not found and entries:
        found = chosen(entries, words, all_pages(target, "agents.list", "agents", {})[1])
    if found:
        return found
    lines = [f"Nothing about '{shown(typed(words))}' needs you."]
    if entries:
        lines.append("What does:")
        lines += [f"  {shown(one.get('subject'))}  {shown(one.get('text'))}" for one in entries[:_MENTIONED]]
        if len(entries) > _MENTIONED:
            lines.append(f"  … and {len(entries) - _MENTIONED} more: coordctl status")
    raise NoSuchEntry("\n".join(lines))


def _acknowledged(client: Client, params: dict[str, Any]) -> int:
    taken = number(as_dict(client.call("attention.ack", params)).get("acknowledged"))
    if taken is None:
        raise CannotTell(f"{client.path}: the daemon does not say what it took off.")
    return int(taken)
