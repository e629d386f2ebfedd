"""Implement ``coordctl tasks``: list claims with holder, start and end, and available tasks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from coordd.cli.agent_places import short_path
from coordd.cli.common import complain, own_view, say, say_json
from coordd.cli.options import json_option, takes_target, workspace_option
from coordd.cli.pages import all_pages, nothing
from coordd.cli.task_table import task_lines
from coordd.cli.workspace_names import workspace_named
from coordd.errors import CannotTell
from coordd.model import TASK_STATES
from coordd.util.untyped import as_list

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

SCHEMA = 1


@click.command(
    "tasks",
    epilog="""\b
Examples:
  coordctl tasks
  coordctl tasks --state orphaned --workspace ~/src/app
  coordctl tasks --json | jq -r '.tasks[] | select(.state == "held") | .task_id'

\b
States:
  orphaned   its holder is inactive, or has left no trace for agents.timeout
  expired    its time has passed, and its holder is not inactive
  held       somebody works on it
  available  nobody claims it

\b
Exit codes: 0; 4 where none is known, and some cannot be read.""",
)
@click.option("--state", type=click.Choice(TASK_STATES), help="Only tasks in this state.")
@workspace_option("Only tasks of this workspace")
@json_option()
@takes_target
def command(target: DaemonTarget, state: str | None, workspace: str | None, as_json: bool) -> int:
    """List all tasks and claims, one row each; orphaned claims come first.

    An id of more than 40 columns is cut with an ellipsis, in a pipe as well; --json shows all of it.
    """
    workspace = workspace_named(target, workspace)
    asked = {"state": state, "workspace": workspace}
    page, tasks = all_pages(target, "tasks.list", "tasks", asked)
    unknown = page.get("unknown")
    if as_json:
        say_json(
            {"schema": SCHEMA, "timestamp": page.get("timestamp"), "tasks": tasks, "unknown": unknown or []}
        )
        return 0
    unread = [path for path in as_list(unknown) if workspace is None or (path or "") == workspace]
    if tasks:
        say("\n".join(task_lines(tasks, page.get("timestamp"), own_view())))
    elif not unread:
        say(nothing("tasks", asked))
    for path in unread:
        whose = "in Redis" if path is None else f"of {short_path(path, os.environ.get('HOME'))}"
        complain(f"the tasks {whose} are unknown: they cannot be read (see coordctl status).")
    return CannotTell.exit_code if unread and not tasks else 0
