"""Implement ``coordctl history``: print past records as a table, JSON lines, CSV or a plot."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from coordd.cli.common import BadUsage, DaemonTarget, complain
from coordd.cli.complete import agent_ids
from coordd.cli.history_csv import csv_blocks
from coordd.cli.history_table import table_blocks
from coordd.cli.lines import write_blocks
from coordd.cli.options import takes_target, utc_option
from coordd.cli.tail import find_series
from coordd.cli.typed import spellings, typed
from coordd.cli.workspace_names import workspace_named
from coordd.errors import CannotTell
from coordd.records.moments import Span, checked_span
from coordd.records.scan import TYPES, Record, RecordQuery, Scan
from coordd.records.thin import Thinner
from coordd.util.text import escape
from coordd.util.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

FORMATS = ("table", "jsonl", "csv", "chart")
DEFAULT_SPAN = 3600.0


@click.command(
    "history",
    epilog="""\b
Examples:
  coordctl history system                         the last hour, a line a sample
  coordctl history agent --agent reviewer-7 --since 24h
  coordctl history event --since yesterday --until today
  coordctl history event --since 2026-11-22T06:00 --until 2026-11-22T07:00
  coordctl history system --since 7d --step 1h    a line an hour: mean, least, most
  coordctl history system --since 1d --format chart
  coordctl history agent --since 30d --format csv > agents.csv
  coordctl history agent --format jsonl | jq -r 'select(.status == "inactive")'

\b
In CSV a text that begins like a formula (=, +, -, @, a tab, a line break) gets
a ' before it, for spreadsheets; jsonl gives every text as it is.

\b
A TIME is one of these, local where it has no zone, or with --utc in UTC:
  90s, '10 min', 1h30m, '2 days'  so long before now; now is one, too
  today, yesterday                its midnight; 'yesterday 23:55'
  23:55                           the last one
  2026-11-22, 2026-11-22T06:05    ISO-8601; Z or +01:00 at its end is its zone
  1764200000                      epoch seconds
--since is part of the range, --until is not. Times in jsonl and csv are UTC.
Works with the daemon down: then the files of the layout are read.""",
)
@click.argument("type", type=click.Choice(TYPES))
@click.option("--since", metavar="TIME", help="Start of the range (default: 1h before its end).")
@click.option("--until", metavar="TIME", help="End of the range (default: none).")
@click.option(
    "--agent", "agent_id", metavar="ID", shell_complete=agent_ids, help="Only records of this agent."
)
@click.option("--workspace", metavar="DIR", help="Only records of this workspace or project.")
@click.option(
    "--step",
    metavar="DURATION",
    help="One record for each span of this length: numbers by mean, min and max.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    help="Format of the output (default table).",
)
@utc_option
@takes_target
def command(
    target: DaemonTarget,
    *,
    type: str,
    since: str | None,
    until: str | None,
    agent_id: str | None,
    workspace: str | None,
    step: str | None,
    form: str,
    utc: bool,
) -> int:
    """Show past records of a type: system, agent or event."""
    now = time.time()
    try:
        question = RecordQuery(
            type,
            _span(since, until, now, utc=utc),
            None if agent_id is None else typed(agent_id),
            workspace_named(
                target, None if workspace is None else typed(os.path.abspath(os.path.expanduser(workspace)))
            ),
            worktrees=True,
        )
        thinner = None if step is None else Thinner(type, _step(step))
    except ValueError as error:
        raise BadUsage(escape(str(error))) from None
    directory = find_series(target, type).directory
    if agent_id is not None:
        question = _spelled(question, directory, spellings(agent_id))
    scan = Scan(directory, question)
    found = _Found(scan)
    try:
        if form == "chart":
            from coordd.cli.history_chart import chart

            write_blocks([chart(found.records(), question, now, utc=utc)], escaped=True)
        else:
            write_blocks(_blocks(form, found, question, thinner, utc=utc))
    except OSError as error:
        raise CannotTell(f"{escape(str(error.filename or ''))}: {error.strerror or error}") from error
    if scan.damaged:
        lines = "line was" if scan.damaged == 1 else "lines were"
        complain(f"{scan.damaged} damaged {lines} passed over")
    if not found.count and sys.stderr is not None and sys.stderr.isatty():
        complain(f"no {type} records in that time")
    return 0


def _spelled(question: RecordQuery, directory: str, words: Sequence[str]) -> RecordQuery:
    """Return the question about the agent of which there are records, of several that a word may mean."""
    if len(words) < 2:
        return question
    asked = [replace(question, agent_id=word) for word in words]
    return next((one for one in asked if any(Scan(directory, one).batches())), question)


class _Found:
    """Iterate over the records of a scan and count them."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self.count = 0

    def batches(self) -> Iterator[list[Record]]:
        for batch in self._scan.batches():
            self.count += len(batch)
            yield batch

    def records(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches():
            for _, record in batch:
                yield record


def _blocks(
    form: str, found: _Found, question: RecordQuery, thinner: Thinner | None, *, utc: bool
) -> Iterable[bytes]:
    if form == "jsonl" and thinner is None:
        return (b"".join([line + b"\n" for line, _ in batch]) for batch in found.batches() if batch)
    records = found.records() if thinner is None else _thinned(found, thinner)
    if form == "jsonl":
        import json

        encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
        return (encode(one).encode("utf-8", "surrogatepass") + b"\n" for one in records)
    if form == "csv":
        return csv_blocks(question.type, records, thinned=thinner is not None)
    return table_blocks(
        question.type,
        records,
        thinned=thinner is not None,
        with_workspace=question.workspace is None and question.agent_id is None,
        utc=utc,
    )


def _thinned(found: _Found, thinner: Thinner) -> Iterator[dict[str, Any]]:
    for batch in found.batches():
        yield from thinner.add(record for _, record in batch)
    yield from thinner.rest()


def _span(since: str | None, until: str | None, now: float, *, utc: bool) -> Span:
    """Return the span that was asked for; a time without a zone is meant as times are shown."""
    span = checked_span(since, until, now, utc=utc)
    if since is not None:
        return span
    return Span((now if span.until is None else span.until) - DEFAULT_SPAN, span.until)


def _step(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"step: {error}") from None
