"""Implement ``coordctl status``, for the call through click and the faster one without it."""

from __future__ import annotations

import os
import time

from coordd.cli.common import DaemonTarget, complain, own_view, say, say_json
from coordd.cli.look import LOOK, OLD_LOOK, Picture, picture_of
from coordd.cli.status_text import running_text, stopped_text
from coordd.errors import CannotTell, ClientError, DaemonNotRunning, RpcError
from coordd.protocol.jsonrpc import INVALID_PARAMS

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any

    from coordd.protocol.client import Client

OK, DEGRADED = 0, 1


def show_status(target: DaemonTarget, as_json: bool) -> int:
    """Print the status; return 0 healthy, 1 degraded, 3 not running (with the last snapshot).

    Raises:
        CannotTell: there is a daemon, but no usable status. This includes an error that the daemon answers,
        since the exit code 1 of other commands would say degraded here.
    """
    try:
        client = target.connect(tell=as_json)
    except DaemonNotRunning as error:
        return _show_snapshot(target, error, as_json=as_json)
    with client:
        try:
            answers = [client.call("status")] if as_json else _look(client)
        except RpcError as error:
            raise CannotTell(f"{client.path}: the daemon cannot give its status: {error}") from error
    picture = picture_of(answers)
    if picture is None:
        raise CannotTell(f"{client.path}: the answer is not a status document.")
    if as_json:
        say_json(picture.document)
    else:
        say(running_text(picture, own_view(), note=client.note))
    return OK if picture.document["health"] == "ok" else DEGRADED


def show_brief(target: DaemonTarget) -> int:
    """Print one line for a prompt or a status bar, whatever happens; return what :func:`show_status` does."""
    from coordd.cli.status_brief import brief_line

    try:
        with target.connect(advise=False, tell=False) as client:
            picture = picture_of(_look(client))
    except DaemonNotRunning as error:
        say("coordd is not running")
        return error.exit_code
    except ClientError as error:
        say("coordd does not answer")
        return CannotTell.exit_code if isinstance(error, RpcError) else error.exit_code
    if picture is None:
        say("coordd does not answer")
        return CannotTell.exit_code
    say(brief_line(picture, own_view()))
    return OK if picture.document["health"] == "ok" else DEGRADED


def _look(client: Client) -> list[Any]:
    """Return the answers to a look, also of a daemon that does not know all of its questions."""
    try:
        return client.call_many(LOOK)
    except RpcError as error:
        if error.code != INVALID_PARAMS:
            raise
        return client.call_many(OLD_LOOK)


def _show_snapshot(target: DaemonTarget, error: DaemonNotRunning, *, as_json: bool) -> int:
    from coordd.protocol.left_behind import last_snapshot

    refused: list[str] = []
    found = last_snapshot(target.locations(), os.environ, target.where(), time.time(), refused)
    for line in refused:
        complain(line)
    if as_json:
        complain(str(error))
        document: dict[str, Any] = {"schema": 1} if found is None else found.status
        say_json({**document, "daemon_running": False, "snapshot_age": None if found is None else found.age})
    elif found is None:
        complain(str(error))
    else:
        picture = Picture(found.status, found.agents)
        say(stopped_text(picture, error.tried, own_view(), snapshot_age=found.age, hints=error.hints))
    return error.exit_code
