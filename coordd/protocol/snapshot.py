"""Find, read and check the last snapshot of a daemon that is not running.

It may be in a project that comes from a stranger: there no link is followed, and only a snapshot that names
this machine and its own folder counts. Only a regular file of bounded size is read, and everything in it has
to pass text.escape before it is shown.
"""

from __future__ import annotations

import os
import sys

from coordd.protocol.origin import FIELD, origin_problem
from coordd.protocol.paths import layout_locations, project_of
from coordd.util import fastjson
from coordd.util.directories import open_directory
from coordd.util.regular_files import read_owned
from coordd.util.text import epoch_of

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from coordd.protocol.paths import DaemonLocation

MAX_BYTES = 64 * 1024 * 1024


class NotBelieved(Exception):
    """Internal: a snapshot in a project is not coordd's own; the message says why."""


class Snapshot:
    """A sound snapshot: the status document, entries of agents.list, and its age in seconds or None."""

    __slots__ = ("age", "agents", "path", "status")

    def __init__(
        self, path: str, age: float | None, status: dict[str, Any], agents: list[dict[str, Any]]
    ) -> None:
        self.path = path
        self.age = age
        self.status = status
        self.agents = agents


def last_snapshot(
    locations: Sequence[DaemonLocation],
    environ: Mapping[str, str],
    cwd: str | None,
    now: float,
    refused: list[str] | None = None,
) -> Snapshot | None:
    """Return the first sound snapshot, in the order in which sockets are tried.

    Where the user named a socket, only that daemon's own snapshot counts: the one beside the socket, or that
    of a layout, whose ``status.daemon.socket`` is the very path. ``now`` is epoch seconds; ``refused`` gets a
    line for each snapshot that exists and does not count.
    """
    named = next((location.socket for location in locations if location.explicit), None)
    if named is None:
        candidates = [(location.snapshot, location.root) for location in locations]
    else:
        named = os.path.abspath(named)
        layouts = layout_locations(environ, cwd, sys.platform)
        candidates = [(os.path.join(os.path.dirname(named), "snapshot.json"), project_of(named))]
        candidates += [(location.snapshot, location.root) for location in layouts]
    for path, root in candidates:
        if path is None:
            continue
        try:
            found = read_snapshot(path, now, root=root)
        except NotBelieved as problem:
            if refused is not None:
                refused.append(str(problem))
            continue
        if found is not None and (named is None or _socket_of(found) == named):
            return found
    return None


def read_snapshot(path: str, now: float, *, root: str | None = None) -> Snapshot | None:
    """Read a snapshot; None where the file is missing, unreadable, or not a snapshot of schema 1.

    Raises:
        NotBelieved: it is in the project ``root``, and coordd itself did not leave it there.
    """
    folder, name = os.path.split(path)
    try:
        with open_directory(folder or ".", root=root) as directory:
            data, owner = read_owned(name, MAX_BYTES, directory=directory.fd)
            document = fastjson.loads(data.decode())
            if not isinstance(document, dict) or document.get("schema") != 1:
                return None
            origin = document.get(FIELD)
            problem = origin_problem(origin, directory.fd, owner=owner) if root is not None else None
    except NotADirectoryError:
        if root is None:
            return None
        raise NotBelieved(
            f"{path}: a link or a file stands in the way, and in a project none counts"
        ) from None
    except (OSError, ValueError, RecursionError):
        return None
    if problem is not None:
        raise NotBelieved(f"{path} is passed over: {problem}; it may have come with a clone")
    status, agents = document.get("status"), document.get("agents")
    if not isinstance(status, dict):
        return None
    written = epoch_of(document.get("written_at"))
    entries = [agent for agent in agents if isinstance(agent, dict)] if isinstance(agents, list) else []
    return Snapshot(path, None if written is None else max(now - written, 0.0), status, entries)


def _socket_of(snapshot: Snapshot) -> object:
    daemon = snapshot.status.get("daemon")
    return daemon.get("socket") if isinstance(daemon, dict) else None
