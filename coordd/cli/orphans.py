"""Implement ``coordctl orphans``: list processes that outlived the agent that started them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordd.cli.common import own_view, say, say_json
from coordd.cli.options import json_option, takes_target
from coordd.cli.orphan_table import orphan_lines
from coordd.cli.pages import all_pages

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget

SCHEMA = 1
_NONE = """\
No process outlived its agent, as far as coordd has seen and may look.
What a living session works on in the background is none: 'coordctl agents' counts its CPU and memory."""


@click.command(
    "orphans",
    epilog="""\b
Examples:
  coordctl orphans
  coordctl orphans --json | jq -r '.orphans[] | select(.ports) | .pid'
  kill 4711                             ends one of them; coordd ends none

\b
A process is one if it was seen below an agent that has ended, or if it was left
behind and its environment names a session that no longer lives: of Claude Code
(CLAUDE_CODE_SESSION_ID), Codex (CODEX_SESSION_ID, CODEX_THREAD_ID) or Copilot
(COPILOT_AGENT_SESSION_ID). These are read once, of your own processes alone.
PORTS are those of TCP on which it listens; '-' is unknown, or none.""",
)
@json_option()
@takes_target
def command(target: DaemonTarget, *, as_json: bool) -> int:
    """List processes that outlived their agent: whose they were, what they use, where they listen."""
    page, orphans = all_pages(target, "orphans.list", "orphans", {})
    if as_json:
        say_json({"schema": SCHEMA, "timestamp": page.get("timestamp"), "orphans": orphans})
    elif orphans:
        say("\n".join(orphan_lines(orphans, own_view())))
    else:
        say(_NONE)
    return 0
