"""``coordctl agents``: all agents, page by page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from coordd.cli.common import colour_wanted, say, say_json
from coordd.cli.options import takes_target
from coordd.cli.tables import agent_lines, not_active_first
from coordd.errors import CannotTell

if TYPE_CHECKING:
    from coordd.cli.common import Target
    from coordd.client import Client

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
@click.option("--workspace", metavar="DIR", help="Only agents of this workspace.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with all fields.")
@takes_target
def command(target: Target, status: str | None, workspace: str | None, as_json: bool) -> int:
    """All agents a row each, not-active ones first."""
    params: dict[str, object] = {}
    if status is not None:
        params["status"] = status
    if workspace is not None:
        params["workspace"] = os.path.abspath(workspace)
    with target.connect() as client:
        timestamp, agents = all_agents(client, params)
    ordered = not_active_first(agents)
    if as_json:
        say_json({"schema": SCHEMA, "timestamp": timestamp, "agents": ordered})
    elif ordered:
        say("\n".join(agent_lines(ordered, colour=colour_wanted())))
    else:
        say("no agents" if not params else "no such agents")
    return 0


def all_agents(client: Client, params: dict[str, object]) -> tuple[Any, list[dict[str, Any]]]:
    """The timestamp of the first page, and the agents of all pages.

    Raises:
        CannotTell: an answer of another shape, or a cursor that comes back: such a list has no end.
    """
    agents: list[dict[str, Any]] = []
    seen: set[str] = set()
    page = _page(client, params)
    timestamp = page.get("timestamp")
    while True:
        agents += [agent for agent in page["agents"] if isinstance(agent, dict)]
        cursor = page.get("cursor")
        if cursor is None:
            return timestamp, agents
        if not isinstance(cursor, str) or cursor in seen:
            raise CannotTell(f"{client.path}: the daemon's list of agents does not end.")
        seen.add(cursor)
        page = _page(client, {**params, "cursor": cursor})


def _page(client: Client, params: dict[str, object]) -> dict[str, Any]:
    page = client.call("agents.list", params)
    if not isinstance(page, dict) or not isinstance(page.get("agents"), list):
        raise CannotTell(f"{client.path}: the answer is no list of agents.")
    return page
