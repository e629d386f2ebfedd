"""Implement ``coordctl agents``: list all agents, which the daemon sends page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordd.cli.common import colour_wanted, say, say_json
from coordd.cli.options import json_option, takes_target, workspace_option
from coordd.cli.pages import all_pages, nothing
from coordd.cli.tables import agent_lines, not_active_first
from coordd.model import STATUSES

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

SCHEMA = 1


@click.command(
    "agents",
    epilog="""\b
Examples:
  coordctl agents
  coordctl agents --status inactive --workspace ~/src/app
  coordctl agents --json | jq -r '.agents[] | select(.active_tasks > 0) | .agent_id'""",
)
@click.option("--status", type=click.Choice(STATUSES), help="Only agents with this verdict.")
@workspace_option("Only agents of this workspace")
@json_option()
@takes_target
def command(target: DaemonTarget, status: str | None, workspace: str | None, as_json: bool) -> int:
    """List all agents, one row each; those that are not active come first.

    An id of more than 40 columns is cut with an ellipsis, in a pipe as well; --json
    shows all of it.
    """
    asked = {"status": status, "workspace": workspace}
    page, agents = all_pages(target, "agents.list", "agents", asked)
    ordered = not_active_first(agents)
    if as_json:
        say_json({"schema": SCHEMA, "timestamp": page.get("timestamp"), "agents": ordered})
    elif ordered:
        say("\n".join(agent_lines(ordered, colour=colour_wanted())))
    else:
        say(nothing("agents", asked))
    return 0
