"""Implement ``coordctl forget ID``: take an inactive agent off the list now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from coordd.cli.agent_places import short_path
from coordd.cli.common import say
from coordd.cli.find_agent import identity_of
from coordd.cli.options import takes_named_agent
from coordd.errors import CannotTell, RpcError
from coordd.protocol.jsonrpc import METHOD_NOT_FOUND
from coordd.util.text import shown
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget


@click.command(
    "forget",
    epilog="""\b
Examples:
  coordctl forget reviewer-7
  coordctl forget reviewer-7 --workspace ~/src/app

\b
Its records stay. An agent that lives cannot be forgotten; one that is forgotten
and beats again is back. Only root and the daemon's own user may forget.""",
)
@takes_named_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None) -> int:
    """Take an agent that is not active off the list now, and what it needs from a human with it.

    ID may be an id, a name, or a beginning of one that only one agent has; those of
    the project above the current directory win.
    """
    identity, chosen = identity_of(target, agent_id, workspace)
    params = {"agent_id": identity} | ({} if chosen is None else {"workspace": chosen})
    with target.connect() as client:
        try:
            answer = client.call("agents.forget", params)
        except RpcError as error:
            raise _explained(error, shown(identity)) from error
        if as_dict(answer).get("forgotten") is not True:
            raise CannotTell(f"{client.path}: the daemon does not say that it forgot {shown(identity)}.")
    place = f" of {short_path(chosen, os.environ.get('HOME'))}" if chosen else ""
    say(f"{shown(identity)}{place} is forgotten. Its records stay; if it beats again, it is back.")
    return 0


def _explained(error: RpcError, name: str) -> RpcError:
    """Return the daemon's error with what to do about it."""
    if as_dict(error.data).get("kind") == "alive":
        advice = (
            f"Only who is not active can be forgotten; 'coordctl why {name}' says why it counts as alive."
        )
    elif error.code == METHOD_NOT_FOUND:
        advice = "It is an older coordd, which forgets by itself after agents.forget_after."
    else:
        return error
    return RpcError(error.code, f"{error.message.rstrip('.')}.\n{advice}", error.data)
