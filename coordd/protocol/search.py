"""Find the daemon that is meant: the first place where one answers, or has run, is the one.

::

    at the first place where a coordd has run    what is done
    it answers                                   it is asked
    it answers on another socket, by what it     it is asked there (not in the system layout)
    left there
    it did not end in order                      nobody else is asked; who answers elsewhere is named
    it was stopped in order                      a later place that answers and watches this workspace is
                                                 asked, and the client's note says so; else as above

Without a workspace at hand, every later place will do for one that was stopped. ``coordctl status`` imports
this module, so what is needed only when nobody answers is imported then.
"""

from __future__ import annotations

import os
import sys

from coordd.errors import ClientError, DaemonNotRunning
from coordd.protocol.client import attempt
from coordd.util.text import ago, escape

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coordd.protocol.client import Client
    from coordd.protocol.left_behind import LeftBehind
    from coordd.protocol.paths import DaemonLocation

PROBE = 1.0
"""Seconds that another daemon has at most, to show that it answers."""

_NEVER = "No coordd has run there before, as far as can be told."

WHOSE = {"project": "the project's", "user": "the user's", "system": "the system's"}
"""Whose daemon that of a layout is, in words."""


def find_daemon(
    locations: Sequence[DaemonLocation], timeout: float, *, environ: Mapping[str, str], cwd: str | None
) -> Client:
    """Return a connected client of the daemon that is meant; its ``note`` says if it is not the first one.

    Args:
        locations: where to look, in order.
        timeout: seconds, as :class:`~coordd.protocol.client.Client` has them.
        environ: HOME and the XDG directories.
        cwd: the current directory, None where it no longer exists.

    Raises:
        DaemonNotRunning: the one that is meant does not run.
        CannotTell: as :func:`coordd.protocol.client.connect`.
    """
    tried: list[tuple[str, str]] = []
    left: LeftBehind | None = None
    for location in locations:
        found = attempt(location, timeout)
        if not isinstance(found, str):
            return found
        tried.append((escape(location.socket), found))
        left = _left_at(location, environ, cwd)
        if left is not None:
            moved = _moved(left, timeout)
            if moved is not None:
                return moved
            break
    later = list(locations[len(tried) :])
    answering, silent = _answering(later, min(timeout, PROBE))
    root = locations[0].root if locations else None
    if left is not None and not left.crashed:
        for other, workspaces in answering:
            if root is not None and os.path.realpath(root) not in workspaces:
                continue
            client = attempt(other, timeout)
            if not isinstance(client, str):
                client.note = _note(left, other, root)
                return client
    beside, _ = _answering(_unseen(locations, environ, cwd), min(timeout, PROBE))
    raise _not_running([*tried, *silent], left, [one for one, _ in (*answering, *beside)], environ, cwd)


def _left_at(location: DaemonLocation, environ: Mapping[str, str], cwd: str | None) -> LeftBehind | None:
    import time

    from coordd.protocol.left_behind import left_at

    return left_at(location, environ=environ, cwd=cwd, now=time.time())


def _moved(left: LeftBehind, timeout: float) -> Client | None:
    """Return a client of the daemon that wrote the snapshot, if it answers on a socket of its own choice.

    Only this user's or root's process is asked there. The snapshot of the system's daemon is another user's
    word, which leads nowhere.
    """
    from coordd.protocol.paths import DaemonLocation

    snapshot, place = left.snapshot, left.location
    if snapshot is None or snapshot.ended or place.layout not in ("project", "user"):
        return None
    if snapshot.socket is None or snapshot.socket == place.socket:
        return None
    elsewhere = DaemonLocation(place.layout, snapshot.socket, None, None, None, root=place.root, own=True)
    try:
        client = attempt(elsewhere, timeout)
        if isinstance(client, str):
            return None
        if _records_in(client.call("status")) == _records_in(snapshot.status):
            return client
        client.close()
    except ClientError:  # whoever it is, it is not that daemon
        pass
    return None


def _records_in(status: object) -> object:
    daemon = status.get("daemon") if isinstance(status, dict) else None
    return daemon.get("metrics_dir") if isinstance(daemon, dict) else None


def _answering(
    locations: Sequence[DaemonLocation], timeout: float
) -> tuple[list[tuple[DaemonLocation, set[str]]], list[tuple[str, str]]]:
    """Return the locations where a daemon answers, with the workspaces that it watches; and those without.

    The latter are paths, each with the reason.
    """
    answering: list[tuple[DaemonLocation, set[str]]] = []
    silent: list[tuple[str, str]] = []
    for location in locations:
        try:
            client = attempt(location, timeout)
            if isinstance(client, str):
                silent.append((escape(location.socket), client))
                continue
            with client:
                answering.append((location, watched_by(client.call("status"))))
        except ClientError:  # it refuses, or gives no answer: there is nothing to say about it
            silent.append((escape(location.socket), "it gives no answer"))
    return answering, silent


def watched_by(status: object) -> set[str]:
    """Return the paths of the workspaces in a status document, by all their names."""
    listed = status.get("workspaces") if isinstance(status, dict) else None
    names: set[str] = set()
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            aliases = one.get("aliases")
            paths = [one.get("path"), *(aliases if isinstance(aliases, list) else [])]
            names.update(path for path in paths if isinstance(path, str))
    return names


def _unseen(
    locations: Sequence[DaemonLocation], environ: Mapping[str, str], cwd: str | None
) -> list[DaemonLocation]:
    """Return the places that are not searched, because the user named one: to be mentioned, never asked."""
    from coordd.protocol.paths import layout_locations

    seen = {os.path.abspath(location.socket) for location in locations}
    return [one for one in layout_locations(environ, cwd, sys.platform) if one.socket not in seen]


def _note(left: LeftBehind, other: DaemonLocation, root: str | None) -> str:
    when = "" if left.snapshot is None else f" {ago(left.snapshot.age)}"
    watches = "" if root is None else f", which watches {escape(root)}"
    stopped = f"{_whose(left.location)} coordd was stopped{when}"
    return f"{stopped[0].upper()}{stopped[1:]}. This is {_whose(other)}{watches}."


def _not_running(
    tried: list[tuple[str, str]],
    left: LeftBehind | None,
    others: Sequence[DaemonLocation],
    environ: Mapping[str, str],
    cwd: str | None,
) -> DaemonNotRunning:
    named = [(_capital(f"{_whose(one)} coordd"), ask_command(one, "status")) for one in others]
    if left is None:
        return DaemonNotRunning(tried, how=_NEVER, others=named)
    layout, root = layout_of(left.location, environ, cwd)
    if layout is None:
        layout, root = _own_word(left)
    start = left.start
    return DaemonNotRunning(
        tried,
        layout=layout,
        root=root,
        crashed=left.crashed,
        how=_how(left, layout),
        others=named,
        start=start,
        advice=None if start is None else [f"Start it again: {start.command('start')}"],
    )


def _own_word(left: LeftBehind) -> tuple[str | None, str | None]:
    """Return layout and project of a daemon by what it left, where its socket's path does not tell."""
    if left.registered is not None:
        return left.registered.layout, left.registered.root
    daemon = left.snapshot.status.get("daemon") if left.snapshot is not None else None
    layout = daemon.get("layout") if isinstance(daemon, dict) else None
    return (layout, None) if layout in ("user", "system") else (None, None)


def _how(left: LeftBehind, layout: str | None) -> str:
    whose = _capital(f"{WHOSE.get(layout or '', 'this')} coordd")
    if left.crashed:
        return f"{whose} did not end in order: it was killed, it crashed, or the machine went down."
    when = "" if left.snapshot is None else f" {ago(left.snapshot.age)}"
    if left.snapshot is not None and left.snapshot.ended is None:
        return f"{whose} wrote its last snapshot{when}."
    return f"{whose} was stopped in order{when}."


def ask_command(location: DaemonLocation, command: str) -> str:
    """Return what to type to ask the daemon of this place."""
    from coordd.util.shell import shell_word

    if location.root is not None:
        return f"coordctl -w {shell_word(location.root)} {command}"
    if location.layout in WHOSE:
        return f"coordctl --layout {location.layout} {command}"
    return f"coordctl --socket {shell_word(location.socket)} {command}"


def layout_of(
    location: DaemonLocation, environ: Mapping[str, str], cwd: str | None
) -> tuple[str | None, str | None]:
    """Return the layout and the project of a place, also where the user named its socket; None if unknown."""
    from coordd.protocol.paths import layout_locations, project_of

    if not location.explicit:
        return location.layout, location.root
    named = os.path.abspath(location.socket)
    for one in layout_locations(environ, cwd, sys.platform):
        if one.socket == named:
            return one.layout, one.root
    root = project_of(named)
    return (None, None) if root is None else ("project", root)


def _whose(location: DaemonLocation) -> str:
    return WHOSE.get(location.layout, "this")


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
