"""Say in words what a coordd-alert does that runs already, where another one was to start beside a daemon."""

from __future__ import annotations

import os

from coordd.errors import ClientError
from coordd.protocol.client import Client
from coordd.protocol.paths import ALERTS_SOCKET
from coordd.util.shell import shell_word
from coordd.util.text import escape
from coordd.util.untyped import as_dict

WITHIN = 2.0
"""Seconds that it has to answer."""


def runs_already(folder: str, socket: str | None) -> str:
    """Return a sentence for the log. Blocking: asks the one that runs.

    Args:
        folder: the state directory that it has.
        socket: that of the daemon which the other was to follow; None where none was named.
    """
    status: dict[str, object] = {}
    try:
        with Client(os.path.join(folder, ALERTS_SOCKET), WITHIN, own=True) as client:
            status = as_dict(client.call("status"))
    except (OSError, ClientError):
        pass  # it is starting or ending: its lock alone says that it is there
    followed = as_dict(status.get("daemon")).get("socket")
    words = (
        f"a coordd-alert runs already{f', pid {pid}' if isinstance(pid := status.get('pid'), int) else ''}"
    )
    if not isinstance(followed, str):
        return f"{words}; none is started beside this coordd ('coordctl alerts' asks it)"
    if socket is None or followed == socket:
        return f"{words}, and tells of this coordd: none is started beside it"
    own = f"coordd-alert run --socket {shell_word(socket)} --state DIR"
    return (
        f"{words}, and tells of the coordd behind {escape(followed)}: none is started beside this one, of "
        f"which nobody is told. To have two: {escape(own)}"
    )
