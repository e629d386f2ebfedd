"""Implement ``coordctl records purge``: have all records of an agent or a project forgotten.

A daemon that runs does it, for its writer owns the files. Where none answers, ``coordd purge-records`` does,
in a process of its own and as the user whose files they are: a client never imports the service.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from coordd.cli.common import complain, say, say_json
from coordd.cli.doctor.access import user_of
from coordd.cli.doctor.service_command import complaint, run_coordd
from coordd.cli.doctor.trust import believable
from coordd.cli.options import json_option, takes_target, workspace_option
from coordd.cli.times import local_time
from coordd.cli.typed import typed
from coordd.errors import CannotTell, CoorddError, DaemonNotRunning, RpcError
from coordd.protocol.jsonrpc import METHOD_NOT_FOUND
from coordd.protocol.left_behind import last_snapshot
from coordd.util import fastjson
from coordd.util.text import count, escape, number, shown
from coordd.util.untyped import as_dict, as_list, dicts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from coordd.cli.common import DaemonTarget

SCHEMA = 1
OFFLINE_DEADLINE = 3600.0
"""Seconds for a purge without a daemon: rewriting months of large files takes minutes."""
_PROGRESS_AFTER = 2.0


class NotAllPurged(CoorddError):
    """Records are left that should have gone; the message says where."""

    exit_code = 1


@click.command(
    "purge",
    epilog="""\b
Examples:
  coordctl records purge --agent 321e2ec7-0c3b-4a4e-9a86-2f5a3a0c8a11 --dry-run
  coordctl records purge --agent reviewer-7 --workspace ~/src/app
  coordctl records purge --project ~/src/app      its worktrees' too

\b
Every line about it goes from the agent and event files, gzipped ones and those set
aside as damaged too, from the snapshot, and from Redis what is still there. What an
agent that is alive does from then on is recorded anew. Files that are not coordd's
own are named and left alone. Only root and the daemon's own user may purge; without
a daemon, the user whose files they are.

\b
Exit codes: 0 purged; 1 nothing is recorded under this name, a file could not be
rewritten, or the daemon refuses; 2 usage; 4 cannot tell.""",
)
@click.option("--agent", "agent_id", metavar="ID", help="The records of the agent with this whole id.")
@workspace_option("With --agent: only those in this workspace, or project")
@click.option("--project", metavar="DIR", help="All records of this project, its worktrees' too.")
@click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
@json_option()
@takes_target
def purge(
    target: DaemonTarget,
    *,
    agent_id: str | None,
    workspace: str | None,
    project: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Forget an agent or a project: take all that is recorded of it out of the record files."""
    if (agent_id is None) == (project is None):
        raise click.UsageError("name one: --agent ID or --project DIR.")
    if workspace is not None and agent_id is None:
        raise click.UsageError("--workspace goes with --agent; --project DIR takes all of a project.")
    if agent_id == "" or workspace == "":
        raise click.UsageError("an empty name stands for no agent and no workspace.")
    agent_id = None if agent_id is None else typed(agent_id)
    place = _place(project if project is not None else workspace)
    try:
        document = _by_the_daemon(target, agent_id, place, dry_run=dry_run, quiet=as_json)
    except DaemonNotRunning as down:
        document = _without_one(target, agent_id, place, down, dry_run=dry_run)
    nothing = is_nothing(document)
    if as_json:
        say_json({"schema": SCHEMA} | {name: value for name, value in document.items() if name != "job"})
    else:
        if nothing:
            complain(nothing_words(document, agent_id, place))
        for line in lines_of(document, dry_run=dry_run):
            say(line)
    problem = document.get("error")
    if problem is not None:
        raise NotAllPurged(f"not all is done: {shown(problem)}. Run the same command again.")
    return 1 if nothing or _own_left(document) else 0


def is_nothing(document: Mapping[str, Any]) -> bool:
    """Return whether nobody is known by the name that was purged: mistyped, or purged before. Pure."""
    found = any(number(document.get(name)) for name in ("lines", "forgotten"))
    in_redis = number(as_dict(document.get("redis")).get("deleted"))
    unsure = document.get("error") is not None or _own_left(document)
    return not (found or in_redis or unsure or as_list(document.get("alive")))


def nothing_words(document: Mapping[str, Any], agent_id: str | None, place: str | None) -> str:
    """Say that there is nothing by this name, and which ids begin so. Pure."""
    if agent_id is None:
        return f"nothing is recorded of the project {escape(str(place))}"
    words = "nothing is recorded under this id" + (f" in {escape(place)}" if place is not None else "")
    similar = [shown(one) for one in as_list(document.get("similar"))]
    return (
        f"{words}; ids that begin so, of which whole ones count: {', '.join(similar)}" if similar else words
    )


def _own_left(document: Mapping[str, Any]) -> bool:
    return any(one.get("own") is True for one in dicts(document.get("left")))


def lines_of(document: Mapping[str, Any], *, dry_run: bool) -> list[str]:
    """Return what was done, in lines. Pure, but for the local time zone."""
    lines, files = number(document.get("lines")), number(document.get("files"))
    verb = "would be removed" if dry_run else "removed"
    told = []
    if lines:
        what = f"{count(lines)} {'record' if lines == 1 else 'records'}"
        told = [f"{what} {verb} from {count(files)} {'file' if files == 1 else 'files'}"]
    elif not is_nothing(document):
        told.append(f"no record {'would be' if dry_run else 'was'} removed")
    forgotten = number(document.get("forgotten"))
    if forgotten:
        agents = f"{count(forgotten)} {'agent' if forgotten == 1 else 'agents'}"
        goes = "what is recorded of that would go as well" if dry_run else "what was recorded of that is gone"
        told.append(f"{agents} {'would leave' if dry_run else 'left'} the list, and {goes}")
    alive = [shown(one) for one in as_list(document.get("alive"))]
    if alive:
        more = number(document.get("alive_unnamed"))
        rest = f" and {count(more)} more" if more else ""
        told.append(f"alive, and recorded anew from now on: {', '.join(alive)}{rest}")
    redis = as_dict(document.get("redis"))
    if number(redis.get("deleted")):
        told.append(f"{count(redis.get('deleted'))} samples deleted in Redis")
    if isinstance(redis.get("expire_by"), str):
        told.append(f"samples in Redis expire by {local_time(redis['expire_by'], time.time())}")
    for one in dicts(document.get("left")):
        path, reason = one.get("path"), shown(one.get("reason"))
        told.append(f"left as it is: {escape(path) if isinstance(path, str) else shown(path)}: {reason}")
    if number(document.get("left_unnamed")):
        told.append(f"left as they are: {count(document.get('left_unnamed'))} more files")
    return told


def _by_the_daemon(
    target: DaemonTarget, agent_id: str | None, place: str | None, *, dry_run: bool, quiet: bool
) -> dict[str, Any]:
    """Have the daemon do it, and wait for its end; tell on a terminal how far it is."""
    named = {"agent_id": agent_id, "workspace": place} if agent_id is not None else {"project": place}
    params: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    with target.connect() as client:
        try:
            answer = as_dict(client.call("records.purge", {**params, "dry_run": dry_run}))
            began = time.monotonic()
            while answer.get("done") is False:
                if not quiet and time.monotonic() - began > _PROGRESS_AFTER and sys.stderr.isatty():
                    done, of = (count(answer.get(name)) for name in ("looked_at", "of"))
                    complain(f"{done} of {of} files")
                answer = as_dict(client.call("records.purge", {"job": answer.get("job")}))
        except RpcError as error:
            if error.code != METHOD_NOT_FOUND:
                raise
            words = "It is an older coordd, which cannot purge: stop it, and run the same command again."
            raise RpcError(error.code, f"{error.message.rstrip('.')}.\n{words}", error.data) from error
        if answer.get("done") is not True:
            raise CannotTell(f"{client.path}: the answer is not one to a purge.")
    return answer


def _without_one(
    target: DaemonTarget,
    agent_id: str | None,
    place: str | None,
    down: DaemonNotRunning,
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """Do it by the service's own command, in the first place that has records."""
    locations = target.locations()
    snapshot = last_snapshot(locations, os.environ, target.where(), time.time())
    if snapshot is not None:
        told = as_dict(snapshot.status.get("daemon"))
        daemon = believable(told, left_at=snapshot.path, by=None, me=os.geteuid())
        folder = told.get("metrics_dir")
    else:
        here = next((one for one in locations if one.metrics_dir and os.path.isdir(one.metrics_dir)), None)
        if here is None:
            raise down
        daemon, folder = {"layout": here.layout, "socket": here.socket}, here.metrics_dir
    arguments = ["--dry-run"] if dry_run else []
    arguments += ["--agent", agent_id] if agent_id is not None else []
    arguments += ["--place", place] if place is not None else []
    owner = _owner(folder)
    done = run_coordd(
        "purge-records",
        *arguments,
        daemon=daemon,
        pid=None,
        where=target.where(),
        user=user_of(owner) if os.geteuid() == 0 and owner not in (0, None) else None,
        deadline=OFFLINE_DEADLINE,
    )
    if done.returncode:
        raise NotAllPurged("\n".join(complaint(done)))
    try:
        return as_dict(fastjson.loads(done.stdout))
    except (ValueError, RecursionError):
        raise CannotTell(f"'coordd purge-records' fails: {complaint(done)[-1]}") from None


def _owner(folder: object) -> int | None:
    try:
        return os.stat(folder).st_uid if isinstance(folder, str) else None
    except (OSError, ValueError):
        return None


def _place(path: str | None) -> str | None:
    """Return the canonical path of what was named, as the daemon writes it; it need not exist any more."""
    return None if path is None else typed(os.path.realpath(os.path.expanduser(path)))
