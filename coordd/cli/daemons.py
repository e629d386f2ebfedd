"""Implement ``coordctl daemons``: list this user's daemons that run, and the system's where it can be seen.

Word of them is in their files (protocol/registry.py), and those of the layouts are looked for as well. Only
who answers is listed; one that accepts and says nothing in time is listed as silent.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent_places import short_path
from coordd.cli.common import own_view, say, say_json, working_directory
from coordd.cli.grid import Column, grid
from coordd.cli.options import json_option, takes_target
from coordd.errors import ClientError
from coordd.protocol.client import attempt
from coordd.protocol.paths import DaemonLocation, is_socket, layout_locations, project_of, project_paths
from coordd.protocol.registry import Registered, registered, registry_folders
from coordd.protocol.search import PROBE, ask_command
from coordd.util.text import count, duration, shown
from coordd.util.timestamps import format_utc
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
    from coordd.cli.view import View

SCHEMA = 1
_MOST_OPEN = 4096


@click.command(
    "daemons",
    epilog="""\b
Examples:
  coordctl daemons
  coordctl daemons --json | jq -r '.daemons[].socket'
  coordctl daemons --layout project     those of projects alone

\b
Listed is who answers: those of your projects, your own, and the system's if you
may ask it. ASK is what to type to ask one of them; any other command of coordctl
may stand in place of 'status'. Root sees its own; 'sudo -u USER coordctl daemons'
shows another user's.

\b
Exit codes: 0, also when none runs.""",
)
@json_option()
@takes_target
def command(target: DaemonTarget, as_json: bool) -> int:
    """List the daemons of yours that run: whose, since when, how they do, and how to ask each."""
    found = [about for place in places(target) if (about := ask(place, min(target.timeout, PROBE)))]
    if as_json:
        say_json({"schema": SCHEMA, "timestamp": format_utc(time.time()), "daemons": found})
    elif found:
        say("\n".join(daemon_lines(found, own_view())))
    else:
        say("No coordd of yours runs. 'coordctl status' says what to do.")
    return 0


def places(target: DaemonTarget) -> list[DaemonLocation]:
    """Return where a daemon may run, each once: by the layouts, then by what daemons wrote of themselves."""
    if target.socket is not None:
        return target.locations()
    # The environment's socket is of one of them, or another one beside them.
    named = [one for one in target.locations() if one.explicit]
    known = [*named, *layout_locations(os.environ, target.where() or working_directory(), sys.platform)]
    usual = {one.socket: one.layout for one in known if not one.explicit}
    for folder in registry_folders(os.environ, sys.platform):
        for one in map(_where_it_is, registered(folder)):
            in_project = one.root is not None and project_paths(one.root)["socket"] == one.socket
            layout = "project" if in_project else usual.get(one.socket, "--socket")
            root = one.root if in_project else None
            known.append(DaemonLocation(layout, one.socket, None, None, None, root=root, own=True))
    unique: dict[str, DaemonLocation] = {}
    for location in known:
        unique.setdefault(os.path.realpath(location.socket), location)
    return [one for one in unique.values() if target.layout in (None, one.layout)]


def _where_it_is(one: Registered) -> Registered:
    """Return the registration of a daemon with its place by now: its project may have been renamed.

    A daemon holds the directory of its socket open, and the kernel says what that is called now. Who answers
    there has to be the process that wrote the registration.
    """
    pid = one.about.get("pid")
    if one.root is None or is_socket(one.socket) or not isinstance(pid, int):
        return one
    name = os.path.basename(one.socket)
    for folder in _open_in(pid):
        socket = os.path.join(folder, name)
        root = project_of(socket)
        if (
            root is not None
            and is_socket(socket)
            and _listens(DaemonLocation("project", socket, None, None, None, root=root, own=True), pid)
        ):
            return Registered(socket, one.layout, root, about=one.about, owner=one.owner)
    return one


def _open_in(pid: int) -> set[str]:
    """Return the absolute paths of what a process of this user has open; none where that is not told."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd")[:_MOST_OPEN]:
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except OSError:
        return set()
    return {path for path in found if os.path.isabs(path)}


def _listens(place: DaemonLocation, pid: int) -> bool:
    """Return whether this very process listens at a place."""
    try:
        client = attempt(place, PROBE)
    except ClientError:
        return False
    if isinstance(client, str):
        return False
    with client:
        peer = client.peer()
    return peer is not None and peer[0] == pid


def ask(place: DaemonLocation, timeout: float) -> dict[str, Any] | None:
    """Return what the daemon at a place says of itself; None if none runs there, or it may not be asked."""
    try:
        client = attempt(place, timeout)
    except ClientError:
        return None
    if isinstance(client, str):
        return None
    about: dict[str, Any] = {
        "layout": place.layout if not place.explicit or place.root is not None else None,
        "project": place.root,
        "socket": place.socket,
        "command": ask_command(place, "status"),
    }
    peer = client.peer()
    unknown = dict.fromkeys(("version", "uptime", "health", "agents", "workspaces"))
    with client:
        try:
            status = as_dict(client.call("status"))
        except ClientError:
            return {**about, **unknown, "pid": peer[0] if peer else None, "state": "silent"}
    daemon = as_dict(status.get("daemon"))
    workspaces = status.get("workspaces")
    return {
        **about,
        "layout": daemon.get("layout"),
        "version": daemon.get("version"),
        "pid": daemon.get("pid"),
        "uptime": daemon.get("uptime"),
        "state": "running",
        "health": status.get("health"),
        "agents": as_dict(status.get("agents")).get("active"),
        "workspaces": len(workspaces) if isinstance(workspaces, list) else None,
    }


def daemon_lines(found: list[dict[str, Any]], view: View) -> list[str]:
    """Return the table of daemons. Pure."""
    heading = ["DAEMON", "PID", "UP", "STATE", "ALIVE", "VERSION", "ASK"]
    rows = [
        [
            _whose(one, view),
            shown(one["pid"]),
            duration(one["uptime"]),
            shown(one["health"] or one["state"]),
            count(one["agents"]),
            shown(one["version"]),
            shown(one["command"]),
        ]
        for one in found
    ]
    columns = (
        Column(least=16, path=True),
        Column(right=True, leave=3),
        Column(right=True, leave=2),
        Column(),
        Column(right=True, leave=4),
        Column(leave=1),
        Column(),
    )
    return grid([heading, *rows], columns, room=view.columns, headed=True)


def _whose(one: dict[str, Any], view: View) -> str:
    if one["project"] is not None:
        return short_path(one["project"], view.home)
    if one["command"] == f"coordctl --layout {one['layout']} status":
        return {"user": "yours", "system": "the system's"}.get(str(one["layout"]), shown(one["layout"]))
    return short_path(one["socket"], view.home)
