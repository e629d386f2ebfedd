"""Implement ``coordctl tail``: print the last records, and new ones, as the files have them."""

from __future__ import annotations

import os
import select
import sys
import time

import click

from coordd.cli.common import DaemonTarget, OutputClosed
from coordd.cli.follow import Follower, Series
from coordd.cli.lines import write_blocks
from coordd.cli.options import takes_target
from coordd.errors import CannotTell, DaemonNotRunning
from coordd.protocol.left_behind import first_left
from coordd.protocol.paths import layout_locations, link_in_project, project_paths
from coordd.records.scan import TYPES
from coordd.util.text import escape
from coordd.util.untyped import as_dict

INTERVAL = 0.25
"""Seconds between two looks at the files with -f."""
_KEYS = ("metrics_dir", "log_dir")
KINDS = (*TYPES, "performance")


@click.command(
    "tail",
    epilog="""\b
Examples:
  coordctl tail                         the last events
  coordctl tail agent -n 100 | jq -r 'select(.status == "inactive") | .agent_id'
  coordctl tail event -f                follow, over midnight and restarts too
  coordctl tail performance -n 1440 > last-day.csv

\b
Works with the daemon down: then the files of the layout are read.""",
)
@click.argument("kind", type=click.Choice(KINDS), default="event")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=10, metavar="N", help="Number of lines (default 10)."
)
@click.option("-f", "--follow", is_flag=True, help="Then print new lines until interrupted.")
@takes_target
def command(target: DaemonTarget, kind: str, lines: int, follow: bool) -> int:
    """Print the last records of a kind: event (the default), system, agent, or performance (CSV)."""
    follower = Follower(find_series(target, kind))
    try:
        write_blocks(follower.last(lines))
        while follow:
            _pause()
            write_blocks(follower.added())
    finally:
        follower.close()
    return 0


def find_folders(target: DaemonTarget) -> list[str]:
    """Return the two directories of record files: the daemon's, else those of the first layout that has them.

    Raises:
        DaemonNotRunning: the daemon is down, and no layout has such directories.
        CannotTell: it does not say.
    """
    try:
        return list(dict.fromkeys(_of_daemon(target, *_KEYS)))
    except DaemonNotRunning:
        for metrics, logs in zip(_folders(target, "system"), _folders(target, "performance"), strict=True):
            _demand_no_link(metrics)
            _demand_no_link(logs)
            if os.path.isdir(metrics) or os.path.isdir(logs):
                return [metrics, logs]
        raise


def find_series(target: DaemonTarget, kind: str) -> Series:
    """Return the files of a kind: in the daemon's directory, else in the first layout that has any.

    Raises:
        DaemonNotRunning: the daemon is down, and no layout has such files.
        CannotTell: it does not say.
    """
    try:
        return _series(_of_daemon(target, _folder_key(kind))[0], kind)
    except DaemonNotRunning:
        for folder in _folders(target, kind):
            _demand_no_link(folder)
            series = _series(folder, kind)
            if series.parts() or series.archives():
                return series
        raise


def _of_daemon(target: DaemonTarget, *keys: str) -> list[str]:
    """Return these directories of the daemon; raises as :func:`find_folders`."""
    with target.connect() as client:
        daemon = as_dict(as_dict(client.call("status")).get("daemon"))
    told = [daemon.get(key) for key in keys]
    folders = [folder for folder in told if isinstance(folder, str) and os.path.isabs(folder)]
    if len(folders) != len(keys):
        raise CannotTell(f"{escape(client.path)}: the daemon does not say where its files are.")
    for folder in folders:
        _demand_no_link(folder)
    return folders


def _folders(target: DaemonTarget, kind: str) -> list[str]:
    """Return the folders of a kind for each layout; only the socket's layout if the user named a socket.

    Where a coordd has run at one of these places, only that of the first one: the files of another would pass
    for its files.
    """
    key = _folder_key(kind)
    locations = target.locations()
    if locations[0].explicit:
        named = os.path.abspath(locations[0].socket)
        claude = os.path.dirname(os.path.dirname(named))
        beside = project_paths(os.path.dirname(claude))
        folders = [beside[key]] if beside["socket"] == named else []
        locations = [
            p for p in layout_locations(os.environ, target.where(), sys.platform) if p.socket == named
        ]
    else:
        folders = []
        left = first_left(locations, os.environ, target.where(), time.time())
        locations = locations if left is None else [left.location]
    return folders + [folder for p in locations if (folder := getattr(p, key)) is not None]


def _demand_no_link(folder: str) -> None:
    link = link_in_project(folder)
    if link is not None:
        raise CannotTell(f"{escape(link)} is a symbolic link, and in a project none is followed.")


def _folder_key(kind: str) -> str:
    return "log_dir" if kind == "performance" else "metrics_dir"


def _series(folder: str, kind: str) -> Series:
    return Series(folder, kind, "csv" if kind == "performance" else "jsonl")


def _pause() -> None:
    """Wait for the next look, and notice when the reader of the pipe goes away.

    poll(2) reports POLLERR and POLLHUP without being asked; without it ``tail -f | head -1`` would run until
    the next record.

    Raises:
        OutputClosed: the reader went away.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    events = poll.poll(INTERVAL * 1000)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in events):
        raise OutputClosed
    if events:  # POLLNVAL: the system cannot poll this device
        time.sleep(INTERVAL)
