"""Implement ``coordctl workspaces``: what is watched, how, and what named it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent_places import short_path
from coordd.cli.common import own_view, say, say_json
from coordd.cli.grid import Column, grid
from coordd.cli.options import json_option, takes_target
from coordd.cli.watched import home_words, is_by_process
from coordd.cli.workspace_words import entry_lines, how_watched, none_named, why_so
from coordd.errors import CannotTell
from coordd.util.text import shown
from coordd.util.untyped import as_dict, as_list, dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
    from coordd.cli.view import View

SCHEMA = 1
_SESSION = "a session there"
_COLUMNS = (
    Column(least=20, most=200, path=True),
    Column(),
    Column(least=10, most=200, path=True),
    Column(least=10, most=200, leave=1, path=True),
)
_UNSEEN = """\
This is the system's coordd: what only its owner may read it does not see, such as sessions of coding
agents below a home, and projects in a home of mode 0700. Ways out:
  a service of that user's own       as the user: coordd service install --user
  a service that runs as the user    coordd service install --system --run-as USER
  the right to read everything       coordd service install --system --read-homes
  a project that coordd may read     with heartbeats in its .claude/coordination"""

_EVERYBODYS = "This is the system's coordd: homes of coding agents of all users are read (--read-homes)."


@click.command(
    "workspaces",
    epilog="""\b
Examples:
  coordctl workspaces
  coordctl workspaces --json | jq -r '.workspaces[] | select(.state != "inotify") | .path'

\b
A workspace is inotify (changes are announced), polled (read each two seconds),
waiting (there are no heartbeats yet) or unreadable. Other paths that lead to the
same coordination folder are its aliases, and are counted nowhere.""",
)
@json_option()
@takes_target
def command(target: DaemonTarget, *, as_json: bool) -> int:
    """List what is watched, how, and what each entry of the configuration matched."""
    with target.connect() as client:
        document = as_dict(client.call("status"))
        if not document:
            raise CannotTell(f"{client.path}: the answer is no status.")
    if as_json:
        say_json({"schema": SCHEMA} | {name: document.get(name) for name in ("timestamp", *_LISTS)})
    else:
        say("\n".join(workspace_lines(document, own_view())))
    return 0


_LISTS = ("workspaces", "workspace_entries", "sources")


def workspace_lines(document: dict[str, Any], view: View) -> list[str]:
    """Return all that a status document says of what is watched."""
    workspaces, entries = dicts(document.get("workspaces")), dicts(document.get("workspace_entries"))
    blocks = [
        _table(workspaces, view),
        _block("Aliases", [line for one in workspaces for line in _aliases(one, view)]),
        _block("Reasons", [line for one in workspaces for line in _troubles(one, view)]),
        _block(
            "Configuration", [line for one in entries for line in entry_lines(one, view.home, workspaces)]
        ),
        _block("Agents' own files", [_source(one, view) for one in dicts(document.get("sources"))]),
        _unseen(as_dict(document.get("daemon"))),
    ]
    if not workspaces and not entries:
        blocks.insert(1, [none_named(document)])
    lines = [line for block in blocks if block for line in ("", *block)]
    return lines[1:]


def _unseen(daemon: dict[str, Any]) -> list[str]:
    if daemon.get("layout") != "system":
        return []
    return [_EVERYBODYS] if daemon.get("reads_homes") is True else _UNSEEN.splitlines()


def _table(workspaces: list[dict[str, Any]], view: View) -> list[str]:
    if not workspaces:
        return ["No workspace is watched."]
    rows = [["WORKSPACE", "HOW", "NAMED BY", "PROJECT"]]
    for one in sorted(workspaces, key=lambda one: (str(one.get("project")), str(one.get("path")))):
        entry, project = one.get("entry"), one.get("project")
        rows.append(
            [
                short_path(one.get("path"), view.home),
                how_watched(one),
                _SESSION if entry is None else short_path(entry, view.home),
                short_path(project, view.home)
                if isinstance(project, str) and project != one.get("path")
                else "",
            ]
        )
    return grid(rows, _COLUMNS, room=view.columns, headed=True)


def _aliases(one: dict[str, Any], view: View) -> list[str]:
    path = short_path(one.get("path"), view.home)
    return [f"{short_path(alias, view.home)} is {path}" for alias in as_list(one.get("aliases"))]


def _troubles(one: dict[str, Any], view: View) -> list[str]:
    why = why_so(one)
    return [f"{short_path(one.get('path'), view.home)}: {why}"] if why else []


def _source(one: dict[str, Any], view: View) -> str:
    if is_by_process(one):
        return f"other coding agents by their processes{home_words(one)}"
    path = one.get("path")
    named = f"{shown(one.get('kind'))} {short_path(path, view.home)}" if path else shown(one.get("kind"))
    return f"{named}{home_words(one)}"


def _block(heading: str, lines: list[str]) -> list[str]:
    return [heading, *(f"  {line}" for line in lines)] if lines else []
