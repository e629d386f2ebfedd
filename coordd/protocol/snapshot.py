"""Read and check the last snapshot of a daemon that is not running.

It may be in a project that comes from a stranger: there no link is followed, and only a snapshot that names
this machine and its own folder counts. Only a regular file of bounded size is read, and everything in it has
to pass text.escape before it is shown.
"""

from __future__ import annotations

import os

from coordd.protocol.origin import FIELD, origin_problem
from coordd.util import fastjson
from coordd.util.directories import open_directory
from coordd.util.regular_files import read_owned
from coordd.util.text import epoch_of

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 64 * 1024 * 1024
ENDED = "ended_at"
"""The snapshot's field for the end in order: a time, or null in those that were written before it."""


class NotBelieved(Exception):
    """Internal: a snapshot in a project is not coordd's own; the message says why."""


class Snapshot:
    """A sound snapshot: the status document, entries of agents.list, and its age in seconds or None.

    ``owner`` is the uid that wrote it, -1 if unknown. ``ended`` says whether its daemon wrote it when it was
    stopped in order, and is None where an older version wrote it, which does not tell.
    """

    __slots__ = ("age", "agents", "ended", "owner", "path", "status")

    def __init__(
        self,
        path: str,
        age: float | None,
        status: dict[str, Any],
        agents: list[dict[str, Any]],
        *,
        owner: int = -1,
        ended: bool | None = None,
    ) -> None:
        self.path = path
        self.age = age
        self.status = status
        self.agents = agents
        self.ended = ended
        self.owner = owner

    @property
    def socket(self) -> str | None:
        """Return the socket that its daemon answered on; None where it does not say."""
        daemon = self.status.get("daemon")
        socket = daemon.get("socket") if isinstance(daemon, dict) else None
        return socket if isinstance(socket, str) and os.path.isabs(socket) else None


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
    ended = document[ENDED] is not None if ENDED in document else None
    age = None if written is None else max(now - written, 0.0)
    return Snapshot(path, age, status, entries, owner=owner, ended=ended)
