"""The last snapshot of a daemon that is not running: found, read with suspicion, checked.

It lies in a project directory that may come from a stranger, so only a regular file of bounded size is read,
and everything in it is data for text.escape.
"""

from __future__ import annotations

import os
import stat
import sys

from coordd import quickjson
from coordd.sockets import layout_places
from coordd.text import epoch_of

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from coordd.sockets import Place

MAX_BYTES = 64 * 1024 * 1024


class Snapshot:
    """A readable snapshot: the status document, entries of agents.list, and its age in seconds or None."""

    __slots__ = ("age", "agents", "path", "status")

    def __init__(
        self, path: str, age: float | None, status: dict[str, Any], agents: list[dict[str, Any]]
    ) -> None:
        self.path = path
        self.age = age
        self.status = status
        self.agents = agents


def last_snapshot(
    places: Sequence[Place], environ: Mapping[str, str], cwd: str | None, now: float
) -> Snapshot | None:
    """The snapshot of the first place that has a sound one, in the order in which sockets are tried.

    Where the user named a socket, only that daemon's own snapshot counts: the one beside the socket or of a
    layout whose ``status.daemon.socket`` is the very path. ``now`` is epoch seconds.
    """
    named = next((place.socket for place in places if place.explicit), None)
    if named is None:
        paths = [place.snapshot for place in places if place.snapshot is not None]
    else:
        named = os.path.abspath(named)
        layouts = layout_places(environ, cwd, sys.platform)
        paths = [os.path.join(os.path.dirname(named), "snapshot.json")]
        paths += [place.snapshot for place in layouts if place.snapshot is not None]
    for path in paths:
        found = read_snapshot(path, now)
        if found is not None and (named is None or _socket_of(found) == named):
            return found
    return None


def read_snapshot(path: str, now: float) -> Snapshot | None:
    """What the file holds; None where it is missing, unreadable, or no snapshot of schema 1."""
    data = _read(path)
    if data is None:
        return None
    try:
        document = quickjson.loads(data.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("schema") != 1:
        return None
    status, agents = document.get("status"), document.get("agents")
    if not isinstance(status, dict):
        return None
    written = epoch_of(document.get("written_at"))
    entries = [agent for agent in agents if isinstance(agent, dict)] if isinstance(agents, list) else []
    return Snapshot(path, None if written is None else max(now - written, 0.0), status, entries)


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_BYTES else None


def _socket_of(snapshot: Snapshot) -> object:
    daemon = snapshot.status.get("daemon")
    return daemon.get("socket") if isinstance(daemon, dict) else None
