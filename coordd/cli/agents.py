"""Implement ``coordctl agents``: list all agents, which the daemon sends page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordd.cli.common import colour_wanted, say, say_json
from coordd.cli.options import takes_target, workspace_key
from coordd.cli.pages import all_pages
from coordd.cli.tables import agent_lines, not_active_first

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
@click.option(
    "--status", type=click.Choice(["active", "inactive", "unknown"]), help="Only agents with this verdict."
)
@click.option("--workspace", metavar="DIR", help="Only agents of this workspace; '' for Redis alone.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with all fields.")
@takes_target
def command(target: DaemonTarget, status: str | None, workspace: str | None, as_json: bool) -> int:
    """List all agents, one row each; those that are not active come first.

    An id of more than 40 columns is cut with an ellipsis, in a pipe as well; --json
    shows all of it.
    """
    params: dict[str, object] = {}
    if status is not None:
        params["status"] = status
    if workspace is not None:
        params["workspace"] = workspace_key(workspace)
    with target.connect() as client:
        page, agents = all_pages(client, "agents.list", "agents", params)
    ordered = not_active_first(agents)
    if as_json:
        say_json({"schema": SCHEMA, "timestamp": page.get("timestamp"), "agents": ordered})
    elif ordered:
        say("\n".join(agent_lines(ordered, colour=colour_wanted())))
    else:
        say("no agents" if not params else "no such agents")
    return 0
