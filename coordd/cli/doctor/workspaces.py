"""Check the workspaces: whether the daemon can read them, and how it learns of changes."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from coordd.cli.call_deadline import within
from coordd.cli.common import working_directory
from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    AccessObstacle,
    Credentials,
    allows,
    first_obstacle,
    grant,
    in_letters,
    owner_and_mode,
    rights_of,
    user_class,
)
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.tools import as_dict
from coordd.protocol.paths import workspace_above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coordd.cli.doctor.facts import DoctorFacts

FOLDERS = ("agents", "claims", "tasks", "status")
MAX_FILES = 20_000
"""Files checked in one folder at most; further ones are most likely like these."""
LONGEST = 5.0
"""Seconds for one workspace."""
WATCHES_FIX = (
    "sudo sysctl {key}=524288, and put '{key} = 524288' into /etc/sysctl.d/90-coordd.conf to keep it"
)


@dataclass(frozen=True, slots=True)
class Denied:
    """The first obstacle in a workspace, and how many more files in its folder cannot be read."""

    obstacle: AccessObstacle
    more: int = 0


def check_workspaces(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that every workspace is readable for the daemon's user, and followed."""
    workspaces = _workspaces(facts)
    if not workspaces and not facts.section("redis").get("configured"):
        yield Finding(
            "workspace",
            "warn",
            "none is watched",
            "coordd run --workspace DIR, or name them in coordination.workspaces and 'coordctl reload'",
        )
    for path, state, error in workspaces:
        yield _in_time(path, partial(check_workspace, path, state, error, facts.daemon))


def _in_time(path: str, check: Callable[[], Finding]) -> Finding:
    """Return the finding on one workspace in limited time, so that a hung mount does not block the others."""
    try:
        return within(LONGEST, check)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        return Finding(
            "workspace", "warn", f"{path}: cannot tell: {error}", "look at its mount: findmnt -T DIR"
        )


def check_workspace(path: str, state: str | None, error: str | None, user: Credentials) -> Finding:
    """Check one workspace; ``state`` and ``error`` are what the daemon reports, None if it does not run."""
    coordination = os.path.join(path, ".claude", "coordination")
    denied = find_denied(path, user)
    if denied is not None and denied.obstacle.error is None:
        return _closed(path, coordination, denied, user)
    if denied is not None and denied.obstacle.missing:
        gone = not os.path.isdir(path)
        return Finding(
            "workspace",
            "fail" if state == "unreadable" else "warn",
            f"{denied.obstacle.path} does not exist"
            + ("" if gone else ": no agent has coordinated there yet"),
            "correct coordination.workspaces" if gone else _first_agent(coordination),
        )
    if state == "unreadable":
        return Finding(
            "workspace",
            "fail",
            f"{path} cannot be read by the daemon: {error}; its modes would allow {user.name} to",
            "look for a sandbox (ProtectHome=, ReadWritePaths= of the service), a hung mount, or SELinux",
        )
    if denied is not None:
        return Finding(
            "workspace",
            "warn",
            f"{path}: cannot tell whether {user.name} may read it, for this user may not look at "
            f"{denied.obstacle.path}",
            f"ask as root, or as {user.name}: sudo -u {shlex.quote(user.name)} coordctl doctor",
        )
    if state == "poll":
        key = next((k for k in ("max_user_watches", "max_user_instances") if k in str(error)), None)
        return Finding(
            "workspace",
            "ok" if key is None else "warn",
            f"{path} is readable and polled: {error}",
            None if key is None else WATCHES_FIX.format(key=f"fs.inotify.{key}"),
        )
    followed = ", and followed by inotify" if state == "inotify" else ""
    return Finding("workspace", "ok", f"{path} is readable for {user.name}{followed}")


def find_denied(path: str, user: Credentials) -> Denied | None:
    """Return what a user may not read of a workspace: the way to it, its folders, the files in them."""
    coordination = os.path.join(path, ".claude", "coordination")
    obstacle = first_obstacle(coordination, user, READ | SEARCH)
    if obstacle is not None:
        return Denied(obstacle)
    for name in FOLDERS:
        folder = os.path.join(coordination, name)
        try:
            status = os.lstat(folder)
            if not stat.S_ISDIR(status.st_mode):
                continue  # coordd follows no link here
            rights = rights_of(folder)
            if not allows(rights, user, READ | SEARCH):
                return Denied(AccessObstacle(folder, READ | SEARCH, rights))
            closed = list(_closed_files(folder, user))
        except FileNotFoundError:
            continue
        except OSError as error:
            return Denied(AccessObstacle(folder, READ | SEARCH, error=error))
        if closed:
            return Denied(closed[0], len(closed) - 1)
    return None


def _closed_files(folder: str, user: Credentials) -> Iterator[AccessObstacle]:
    with os.scandir(folder) as entries:
        for seen, entry in enumerate(entries):
            if seen >= MAX_FILES:
                return
            try:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                rights = rights_of(entry.path)
            except FileNotFoundError:
                continue  # removed meanwhile, as agents come and go
            if not allows(rights, user, READ):
                yield AccessObstacle(entry.path, READ, rights)


def _closed(path: str, coordination: str, denied: Denied, user: Credentials) -> Finding:
    obstacle = denied.obstacle
    rights = obstacle.rights
    inside = os.path.realpath(obstacle.path).startswith(os.path.realpath(coordination))
    # A beat may write a new file, so only the folder's default ACL entry covers later files too.
    fix = (
        f"setfacl -R -m u:{user.name}:rX,d:u:{user.name}:rX {shlex.quote(coordination)}"
        f"   or: chmod -R {user_class(rights, user)}+rX {shlex.quote(coordination)}"
        if inside
        else grant(obstacle, user)
    )
    more = f" and {denied.more} more there" if denied.more else ""
    return Finding(
        "workspace",
        "fail",
        f"{path}: {user.name} lacks {in_letters(obstacle.wanted)} on {obstacle.path} "
        f"({owner_and_mode(rights) if rights else '?'}){more}",
        fix,
    )


def _first_agent(coordination: str) -> str:
    return f"start an agent there, or: mkdir -p {shlex.quote(os.path.join(coordination, 'agents'))}"


def _workspaces(facts: DoctorFacts) -> list[tuple[str, str | None, str | None]]:
    """Return path, state and error of each workspace.

    They are the daemon's, else its snapshot's, the configuration's, or the current directory.
    """
    listed = facts.status.get("workspaces")
    if isinstance(listed, list):
        return [
            (
                entry["path"],
                _text(entry.get("state")) if facts.alive else None,
                _text(entry.get("error")) if facts.alive else None,
            )
            for entry in map(as_dict, listed)
            if isinstance(entry.get("path"), str)
        ]
    configured = as_dict(facts.config.values.get("coordination")).get("workspaces")
    if isinstance(configured, list) and configured:
        import glob

        return [
            (path, None, None)
            for pattern in map(str, configured)
            for path in (sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern])
        ]
    here = working_directory()
    above = workspace_above(here) if here is not None else None
    return [] if above is None else [(above, None, None)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
