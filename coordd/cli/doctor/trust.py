"""Whose word leads the doctor to a configuration: that of whoever may make this user connect to a Redis.

The configuration names the Redis that ``coordd check-redis`` connects to, with this user's rights. A snapshot
may have come with a clone, and whoever answers on a named socket may be somebody else.
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
    """What may lead to a configuration: whoever names the file makes us connect to the Redis that it names.

    A snapshot in a project may have come with the clone, so that only its place counts, and whoever answers
    on a socket may be another user, whose word for a file of ours or of root's alone counts.

    Args:
        daemon: what the answer, or the snapshot, says of the daemon.
        left_at: the snapshot that says it; None: the daemon answered, or nothing says it.
        by: uid of who answered on the very connection; None where the system does not tell.
        me: uid of who asks.
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
    with suppress(OSError, ValueError):  # ValueError: a zero byte in it
        if os.stat(file).st_uid == 0:
            return daemon
    return {name: value for name, value in daemon.items() if name != "config_file"}
