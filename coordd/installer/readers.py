"""Check that the service's user can run the program and read the workspaces, by trying as this user."""

from __future__ import annotations

import glob
import os
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    AccessObstacle,
    Credentials,
    primary_group,
    user_name,
)
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.patterns import MAX_DIRECTORIES, check_pattern
from coordd.cli.doctor.trying import first_obstacle
from coordd.cli.doctor.workspaces import check_workspace
from coordd.errors import CannotTell, InstallError

MAX_WORKSPACES = 200
_HIDDEN = ("/tmp", "/var/tmp")  # noqa: S108  # PrivateTmp= of the system unit: named, not used


def check_program(argv: Sequence[str], user: Credentials, *, same: bool) -> None:
    """Check that the service's user can run the program; ``same``: it is the program that runs this.

    Raises:
        InstallError: it cannot, and why.
    """
    if same:
        return
    options: dict[str, Any] = {
        "user": user.uid,
        "group": primary_group(user),
        "extra_groups": sorted(user.gids),
    }
    try:
        done = subprocess.run(
            [*argv, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            env={"PATH": os.defpath},
            **options,
        )
        problem = None if done.returncode == 0 else done.stderr.strip().splitlines()[-1:] or ["it fails"]
    except (OSError, subprocess.SubprocessError) as error:
        problem = [str(error)]
    if problem is None:
        return
    obstacle = _obstacle(argv[0], user)
    where = f"{user.name} may not enter {obstacle.path}" if obstacle is not None else problem[0]
    raise InstallError(
        f"the service's user {user.name} cannot run {argv[0]}: {where}.\n"
        "Install coordd where everybody can read it, with a Python that everybody can run, for example:\n"
        "  python3 -m venv /opt/coordd && /opt/coordd/bin/pip install coordd\n"
        "  /opt/coordd/bin/coordd service install --system"
    )


def check_owner(program: str) -> list[Finding]:
    """Return a finding if anybody but root could replace the program of the system's service."""
    path = os.path.realpath(program)
    while True:
        state = os.stat(path)
        others = state.st_mode & 0o022 and not state.st_mode & stat.S_ISVTX
        if state.st_uid != 0 or others:
            whose = f"{user_name(state.st_uid)}'s" if state.st_uid != 0 else "open to others' writing"
            return [
                Finding(
                    "program",
                    "warn",
                    f"{path} is {whose}: not root alone decides what the system's service runs",
                    "install coordd as root, in a directory of root's such as /opt/coordd",
                )
            ]
        if path == os.path.dirname(path):
            return []
        path = os.path.dirname(path)


def check_readable(patterns: Sequence[str], user: Credentials, *, sandboxed: bool) -> list[Finding]:
    """Return a finding for each workspace that the patterns stand for.

    Args:
        patterns: absolute, expanded; matches are searched with the permissions of this process.
        user: the user of the service.
        sandboxed: whether the service has its own /tmp.
    """
    findings = []
    for pattern in patterns:
        magic = glob.has_magic(pattern) and not os.path.isdir(pattern)
        matches = _matches(pattern) if magic else [pattern]
        closed = _closed(pattern, user) if magic else []
        findings += closed
        if magic and not matches and not closed:
            findings.append(
                Finding("workspace", "warn", f"{pattern}: nothing matches yet", "agents make it appear")
            )
        for path in matches[:MAX_WORKSPACES]:
            if sandboxed and any(path == top or path.startswith(f"{top}/") for top in _HIDDEN):
                findings.append(
                    Finding(
                        "workspace",
                        "fail",
                        f"{path}: the system's service has a /tmp of its own and does not see it",
                        "move the project, or run your own service: coordd service install --user",
                    )
                )
                continue
            finding = check_workspace(path, None, None, user)
            if finding.fix is None or finding.fix not in {one.fix for one in closed}:
                findings.append(finding)
    return findings


def _obstacle(path: str, user: Credentials) -> AccessObstacle | None:
    with suppress(CannotTell, OSError):
        return first_obstacle(path, user, READ | SEARCH)
    return None


def _closed(pattern: str, user: Credentials) -> list[Finding]:
    """Return a finding for each directory that the daemon will call a problem."""
    with suppress(CannotTell, OSError):
        return check_pattern(pattern, user)
    return []


def _matches(pattern: str) -> list[str]:
    directories = islice(glob.iglob(os.path.join(pattern, ""), recursive=True), MAX_DIRECTORIES)
    found = (os.path.normpath(path) for path in directories)
    return sorted(path for path in found if os.path.isdir(f"{path}/.claude/coordination"))
