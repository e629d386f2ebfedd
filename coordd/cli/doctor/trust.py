"""Decide whether to believe what a daemon or a snapshot says of its configuration file.

The configuration names the Redis that ``coordd check-redis`` connects to, with this user's rights. A snapshot
may have come with a clone, and another user may answer on a named socket.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from coordd.protocol.paths import project_paths, system_paths, user_paths

if TYPE_CHECKING:
    from collections.abc import Mapping


def believable(
    daemon: Mapping[str, Any], *, left_at: str | None, by: int | None, me: int
) -> Mapping[str, Any]:
    """Return the part of ``daemon`` that may lead to a configuration.

    Whoever names the file makes us connect to the Redis in it. A snapshot in a project may have come with the
    clone, so only its place counts. Another user who answers on a socket is believed only about a file of
    ours or of root's.

    Args:
        daemon: what the answer or the snapshot says of the daemon.
        left_at: path of the snapshot; None if the daemon answered, or there is neither.
        by: uid of the process that answered on this connection; None if the system does not tell.
        me: uid of this process.
    """
    if left_at is not None:
        if left_at in (
            user_paths(os.environ, sys.platform)["snapshot"],
            system_paths(sys.platform)["snapshot"],
        ):
            return daemon
        root = os.path.dirname(os.path.dirname(os.path.dirname(left_at)))
        paths = project_paths(root)
        return {"layout": "project", "socket": paths["socket"]} if paths["snapshot"] == left_at else {}
    file = daemon.get("config_file")
    if me == 0 or by in (0, me) or not isinstance(file, str):
        return daemon
    with suppress(OSError, ValueError):  # ValueError: a path with a zero byte
        if os.stat(file).st_uid == 0:
            return daemon
    return {name: value for name, value in daemon.items() if name != "config_file"}
