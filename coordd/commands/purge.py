"""Define ``coordd purge-records``, which coordctl runs where no coordd answers."""

from __future__ import annotations

import json
import sys

import click

from coordd.commands.options import takes_sources
from coordd.config.file import ConfigSources
from coordd.errors import CoorddError
from coordd.records.selection import RecordSelection
from coordd.util.regular_files import explain
from coordd.util.text import escape


@click.command(
    "purge-records",
    epilog="""\b
Examples:
  coordd purge-records --layout user --agent reviewer-7 --dry-run
  coordd purge-records --layout system --project /home/ann/src/app

\b
'coordctl records purge' does the same, and has a daemon that runs do it. It prints
one JSON document, and holds the lock of the records meanwhile.""",
)
@takes_sources
@click.option("--agent", "agent_id", metavar="ID", help="The records of the agent with this id.")
@click.option(
    "--project",
    "--place",
    "place",
    metavar="DIR",
    help="Those in this workspace or project; with --agent, its records there alone.",
)
@click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
def purge_records(sources: ConfigSources, *, agent_id: str | None, place: str | None, dry_run: bool) -> None:
    """Purge the records of an agent or a project while coordd does not run."""
    from coordd.service.purge_offline import purge_offline

    try:
        selection = RecordSelection(agent_id=agent_id, place=place)
    except ValueError as error:
        raise click.UsageError(f"{error}: --agent ID or --project DIR.") from None
    try:
        document = purge_offline(sources.layout, sources.load(), selection, dry_run=dry_run)
    except OSError as error:
        raise CoorddError(f"the records cannot be purged: {escape(explain(error))}") from error
    click.echo(json.dumps({"schema": 1, **document}))
    sys.exit(0)
