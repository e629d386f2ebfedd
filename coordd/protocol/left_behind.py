"""Tell whether a coordd has run at a place, and how it ended, by what it left there.

::

    what lies there                             it has run      it
    a snapshot that says when it was stopped    yes             was stopped in order
    a snapshot that does not                    yes             did not end in order
    a socket on which nobody listens            yes             did not end in order
    a registration of a socket that was named   yes             did not end in order
    a project's snapshot of another place       no              (the project is a copy or a clone)

Connects to nothing: who asks has found that nobody listens.
"""

from __future__ import annotations

import os
import sys

from coordd.protocol.paths import is_socket, layout_locations, project_of, project_paths
from coordd.protocol.registry import registered_at
from coordd.protocol.snapshot import NotBelieved, read_snapshot
from coordd.protocol.starting import start_of

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordd.protocol.paths import DaemonLocation
    from coordd.protocol.registry import Registered
    from coordd.protocol.snapshot import Snapshot
    from coordd.protocol.starting import Start


class LeftBehind:
    """A place where a coordd has run, whether it ended there without being stopped, and its last snapshot.

    ``registered`` is what it wrote for ``coordctl daemons``, where the user named its socket.
    """

    __slots__ = ("crashed", "location", "registered", "snapshot")

    def __init__(
        self,
        location: DaemonLocation,
        snapshot: Snapshot | None,
        *,
        crashed: bool,
        registered: Registered | None = None,
    ) -> None:
        self.location = location
        self.snapshot = snapshot
        self.crashed = crashed
        self.registered = registered

    @property
    def start(self) -> Start | None:
        """Return how to start it again, None where it does not say."""
        if self.snapshot is not None:
            return start_of(self.snapshot.status.get("daemon"), self.snapshot.owner)
        return start_of(self.registered.about, self.registered.owner) if self.registered is not None else None


def left_at(
    location: DaemonLocation,
    *,
    environ: Mapping[str, str],
    cwd: str | None,
    now: float,
    refused: list[str] | None = None,
) -> LeftBehind | None:
    """Return what a coordd left at a location; None if none has run there, as far as can be told.

    Args:
        location: the place; where the user named a socket, only that daemon's own snapshot counts: the one
            beside the socket, or that of a layout that names this very socket.
        environ: HOME and the XDG directories.
        cwd: the current directory, None where it no longer exists.
        now: epoch seconds.
        refused: gets a line for each snapshot that exists and does not count.
    """
    dead_socket = is_socket(location.socket)
    named = os.path.abspath(location.socket) if location.explicit else None
    word = None if named is None else registered_at(named, environ, sys.platform)
    copied = False
    for path, root in _snapshots(location, named, word, environ, cwd):
        try:
            found = read_snapshot(path, now, root=root)
        except NotBelieved as problem:
            copied = copied or os.path.dirname(path) == os.path.dirname(location.socket)
            if refused is not None:
                refused.append(str(problem))
            continue
        if found is not None and (named is None or found.socket == named):
            return LeftBehind(location, found, crashed=dead_socket or found.ended is False, registered=word)
    if word is not None or (dead_socket and not copied):
        return LeftBehind(location, None, crashed=True, registered=word)
    return None


def first_left(
    locations: Sequence[DaemonLocation],
    environ: Mapping[str, str],
    cwd: str | None,
    now: float,
    refused: list[str] | None = None,
) -> LeftBehind | None:
    """Return what lies at the first location where a coordd has run; other arguments as :func:`left_at`."""
    for location in locations:
        found = left_at(location, environ=environ, cwd=cwd, now=now, refused=refused)
        if found is not None:
            return found
    return None


def last_snapshot(
    locations: Sequence[DaemonLocation],
    environ: Mapping[str, str],
    cwd: str | None,
    now: float,
    refused: list[str] | None = None,
) -> Snapshot | None:
    """Return the snapshot at the first location where a coordd has run; arguments as :func:`left_at`."""
    found = first_left(locations, environ, cwd, now, refused)
    return None if found is None else found.snapshot


def _snapshots(
    location: DaemonLocation,
    named: str | None,
    word: Registered | None,
    environ: Mapping[str, str],
    cwd: str | None,
) -> list[tuple[str, str | None]]:
    """Return where a location's snapshot may lie, each with the project that it is in."""
    if named is None:
        return [] if location.snapshot is None else [(location.snapshot, location.root)]
    layouts = layout_locations(environ, cwd, sys.platform)
    return [
        (os.path.join(os.path.dirname(named), "snapshot.json"), project_of(named)),
        *([] if word is None or word.root is None else [(project_paths(word.root)["snapshot"], word.root)]),
        *[(one.snapshot, one.root) for one in layouts if one.snapshot is not None],
    ]
