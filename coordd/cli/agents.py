"""Implement ``coordctl agents``: list all agents, which the daemon sends page by page."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent_places import is_at, short_path
from coordd.cli.agent_words import claims_by_holder, in_order
from coordd.cli.common import complain, own_view, say, say_json
from coordd.cli.ended_today import ended_today
from coordd.cli.options import json_option, takes_target, workspace_option
from coordd.cli.pages import all_pages, nothing, unread_sources
from coordd.cli.tables import agent_table
from coordd.cli.watched import watched_lines
from coordd.cli.workspace_names import workspace_named
from coordd.errors import CannotTell, RpcError
from coordd.model import ACTIVITIES, STATUSES
from coordd.protocol.jsonrpc import INVALID_PARAMS
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

SCHEMA = 1
_ACTIVE = '"active" is an agent that lives, and nothing tells what it does: its activity is unknown.'
_NOTHING = [("status", None), ("tasks.list", {"limit": 1})]
_TASKS = 1000  # claims that are asked for at most, to name what agents hold


@click.command(
    "agents",
    epilog="""\b
Examples:
  coordctl agents
  coordctl agents --activity waiting                    who waits for a human
  coordctl agents --status inactive --workspace ~/src/app
  coordctl agents --all                                 with those that ended today
  coordctl agents --json | jq -r '.agents[] | select(.active_tasks > 0) | .agent_id'

\b
The order is that of need: waiting, killed, stalled, blocked, silent, unknown,
active, working, idle, ended; of one state, who has been in it for longest.
"active" is an agent that lives, and nothing tells what it does: its activity is
"unknown". A worktree stands beside its project. A column that knows nothing of
any agent is left out.

\b
Exit codes: 0; 4 where none is known, and some cannot be read.""",
)
@click.option("--status", type=click.Choice(STATUSES), help="Only agents with this verdict.")
@click.option("--activity", type=click.Choice(ACTIVITIES), help="Only agents that do this.")
@workspace_option("Only agents of this workspace or project")
@click.option("--all", "with_ended", is_flag=True, help="Those that ended today too, from the records.")
@json_option()
@takes_target
def command(
    target: DaemonTarget,
    *,
    status: str | None,
    activity: str | None,
    workspace: str | None,
    with_ended: bool,
    as_json: bool,
) -> int:
    """List all agents, one row each; those that need you come first.

    An id of more than 40 columns is cut with an ellipsis, in a pipe as well; --json
    shows all of it.
    """
    workspace = workspace_named(target, workspace)
    # The daemon knows the workspace alone: a project's worktrees are found here.
    redis = workspace if workspace == "" else None
    asked = {"status": status, "activity": activity, "workspace": redis}
    try:
        page, agents = all_pages(target, "agents.list", "agents", asked)
    except RpcError as error:
        if activity is None or error.code != INVALID_PARAMS:
            raise
        raise RpcError(
            error.code, f"{error.message}: an older coordd knows no activities; try --status", error.data
        ) from error
    if workspace:
        agents = [agent for agent in agents if is_at(agent, workspace)]
    if with_ended and status in (None, "inactive") and activity is None:
        agents += ended_today(target, agents, workspace=workspace, now=time.time())
    ordered = in_order(agents)
    if as_json:
        say_json({"schema": SCHEMA, "timestamp": page.get("timestamp"), "agents": ordered})
    elif ordered:
        claims = claims_by_holder(_claims(target))
        lines = agent_table(ordered, claims, own_view(), asked=page.get("timestamp"))
        say("\n".join([*lines, *([_ACTIVE] if activity == "unknown" else [])]))
    else:
        return _say_nothing(target, {"workspace": workspace, **asked}, workspace)
    return 0


def _say_nothing(target: DaemonTarget, asked: dict[str, str | None], workspace: str | None) -> int:
    """Say that no agent is known, and what is watched; return whether that is all there is to know."""
    with target.connect() as client:
        try:
            document, tasks = (as_dict(one) for one in client.call_many(_NOTHING))
        except RpcError:  # an older coordd does not know what these are
            document, tasks = {}, {}
    unread = unread_sources(document, tasks.get("unknown"), workspace)
    if any(one is not None for one in asked.values()):
        lines = [] if unread else [nothing("agents", asked)]
    else:
        lines = ["No agents are known." if unread else "No agents.", *watched_lines(document, own_view())]
    if lines:
        say("\n".join(lines))
    for path in unread:
        whose = "in Redis" if path is None else f"of {short_path(path, os.environ.get('HOME'))}"
        complain(f"the agents {whose} are unknown: they cannot be read (see coordctl status).")
    return CannotTell.exit_code if unread else 0


def _claims(target: DaemonTarget) -> list[dict[str, Any]]:
    """Return the first claims; none of a daemon that does not list them."""
    with target.connect() as client:
        try:
            return dicts(as_dict(client.call("tasks.list", {"limit": _TASKS})).get("tasks"))
        except RpcError:
            return []
