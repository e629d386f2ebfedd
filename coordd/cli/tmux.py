"""Find the tmux pane that is a terminal, and go there; see tmux(1).

A user may run several tmux servers, each behind a socket in ``tmux-UID/`` below ``$TMUX_TMPDIR`` or ``/tmp``.
What tmux tells is taken as ids alone: names of sessions and titles of panes are anybody's text.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from typing import NamedTuple

_DEADLINE = 2.0
"""Seconds that one server may take to answer; one that hangs is passed over."""
_MOST = 20
"""Servers that are asked."""
_LINE = re.compile(r"(/dev/\S+) (\$\d+) (@\d+) (%\d+)")


class Pane(NamedTuple):
    """A pane of the server behind ``socket``, by tmux's own ids."""

    socket: str
    session: str
    window: str
    pane: str


def pane_of(terminal: str, environ: dict[str, str]) -> Pane | None:
    """Return the pane that is a terminal (``pts/3``); None where none is, or there is no tmux."""
    if shutil.which("tmux") is None:
        return None
    for socket in _sockets(environ):
        for line in _asked(
            socket, "list-panes", "-a", "-F", "#{pane_tty} #{session_id} #{window_id} #{pane_id}"
        ):
            found = _LINE.fullmatch(line)
            if found and found[1].removeprefix("/dev/") == terminal:
                return Pane(socket, found[2], found[3], found[4])
    return None


def way_to(pane: Pane, environ: dict[str, str]) -> list[str]:
    """Return the command line that shows a pane here: inside its server it switches, else it attaches."""
    select = [";", "select-window", "-t", pane.window, ";", "select-pane", "-t", pane.pane]
    inside = environ.get("TMUX", "").split(",")[0]
    if inside and _same(inside, pane.socket):
        return ["tmux", "-S", pane.socket, "switch-client", "-t", pane.session, *select]
    return ["tmux", "-S", pane.socket, "attach-session", "-t", pane.session, *select]


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _sockets(environ: dict[str, str]) -> list[str]:
    """Return the sockets of this user's servers, that of the present one first."""
    folder = os.path.join(environ.get("TMUX_TMPDIR") or "/tmp", f"tmux-{os.getuid()}")  # noqa: S108  # tmux(1)
    inside = environ.get("TMUX", "").split(",")[0]
    try:
        names = sorted(os.listdir(folder))[:_MOST]
    except OSError:
        names = []
    paths = (
        [inside, *(os.path.join(folder, name) for name in names)]
        if inside
        else [os.path.join(folder, name) for name in names]
    )
    return [path for path in dict.fromkeys(paths) if _is_own_socket(path)]


def _is_own_socket(path: str) -> bool:
    """Return whether it is a socket of this user's: what another one put there is not spoken to."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def _asked(socket: str, *words: str) -> list[str]:
    try:
        done = subprocess.run(
            ["tmux", "-S", socket, *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()
