"""``coordctl status`` as a click command; cli.main takes the shorter way to the same function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordd.cli.options import takes_target
from coordd.cli.status import show_status

if TYPE_CHECKING:
    from coordd.cli.common import Target


@click.command(
    "status",
    epilog="""\b
Examples:
  coordctl status
  coordctl status --json | jq '.problems[]'
  coordctl status >/dev/null || echo 'look after it'

\b
Exit codes: 0 healthy, 1 degraded (there are problems), 3 coordd is not running
(the last snapshot is shown), 4 cannot tell.""",
)
@click.option("--json", "as_json", is_flag=True, help="The whole status document as JSON.")
@takes_target
def command(target: Target, as_json: bool) -> int:
    """Health, problems, Redis, host, tasks, and the agents, not-active ones first."""
    return show_status(target, as_json)
