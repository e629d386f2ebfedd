"""Define ``coordctl status`` as a click command; plain calls reach the same function without click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordd.cli.common import BadUsage
from coordd.cli.options import json_option, takes_target
from coordd.cli.status import show_brief, show_status
from coordd.cli.watch import watch_status

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget


@click.command(
    "status",
    epilog="""\b
Examples:
  coordctl status
  coordctl status --watch               on one screen, redrawn at every change
  coordctl status --json | jq '.problems[]'
  coordctl status --json --watch | jq --unbuffered -c .agents
  coordctl status >/dev/null || echo 'look after it'
  coordctl status --brief               one line, also where coordd is down

\b
In ~/.tmux.conf:  set -g status-right '#(coordctl --timeout 1 status --brief)'

\b
Exit codes: 0 healthy, 1 degraded (there are problems), 3 coordd is not running
(the last snapshot is shown), 4 cannot tell. With --watch: 0 once q is pressed.

\b
--watch goes on until q or Ctrl-C, also while coordd is down: the last status stays,
marked as old. Into a pipe it prints the status again at each change, at
most twice a second, with an empty line between; with --json a line each.""",
)
@json_option("The whole status document as JSON.")
@click.option("--brief", is_flag=True, help="One line, for a shell's prompt or tmux.")
@click.option("--watch", is_flag=True, help="Keep the status on the screen, up to date.")
@takes_target
def command(target: DaemonTarget, as_json: bool, brief: bool, watch: bool) -> int:
    """Show who needs you, problems, agents by project, tasks, limits, host and Redis.

    Agents are a row each: name, what it does and for how long, its task, its context,
    CPU and memory; who needs you comes first. 20 are shown at most, the others are
    counted; those that ended in order are a number.
    """
    if brief and (as_json or watch):
        raise BadUsage("--brief is one line of text: without --json and --watch.")
    if brief:
        return show_brief(target)
    if watch:
        return watch_status(target, as_json=as_json)
    return show_status(target, as_json)
