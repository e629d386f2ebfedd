"""Implement ``coordctl status``, for the call through click and the faster one without it."""

from __future__ import annotations

import os
import time

from coordd.cli.common import DaemonTarget, colour_wanted, complain, say, say_json, working_directory
from coordd.cli.status_text import LOOK, running_text, stopped_text
from coordd.errors import CannotTell, DaemonNotRunning, RpcError
from coordd.util.untyped import as_dict, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any

OK, DEGRADED = 0, 1


def show_status(target: DaemonTarget, as_json: bool) -> int:
    """Print the status; return 0 healthy, 1 degraded, 3 not running (with the last snapshot).

    Raises:
        CannotTell: there is a daemon, but no usable status. This includes an error that the daemon answers,
        since the exit code 1 of other commands would say degraded here.
    """
    try:
        client = target.connect()
    except DaemonNotRunning as error:
        return _show_snapshot(target, error, as_json=as_json)
    with client:
        try:
            document, *lists = client.call_many(LOOK[:1] if as_json else LOOK)
        except RpcError as error:
            raise CannotTell(f"{client.path}: the daemon cannot give its status: {error}") from error
    health = document.get("health") if isinstance(document, dict) else None
    if health not in ("ok", "degraded"):
        raise CannotTell(f"{client.path}: the answer is not a status document.")
    if as_json:
        say_json(document)
    else:
        agents = [agent for page in lists for agent in dicts(as_dict(page).get("agents"))]
        say(running_text(document, agents, colour=colour_wanted()))
    return OK if health == "ok" else DEGRADED


def _show_snapshot(target: DaemonTarget, error: DaemonNotRunning, *, as_json: bool) -> int:
    from coordd.protocol.snapshot import last_snapshot

    refused: list[str] = []
    found = last_snapshot(target.locations(), os.environ, working_directory(), time.time(), refused)
    for line in refused:
        complain(line)
    if as_json:
        complain(str(error))
        document: dict[str, Any] = {"schema": 1} if found is None else found.status
        say_json({**document, "daemon_running": False, "snapshot_age": None if found is None else found.age})
    elif found is None:
        complain(str(error))
    else:
        say(
            stopped_text(
                found.status, found.agents, error.tried, snapshot_age=found.age, colour=colour_wanted()
            )
        )
    return error.exit_code
