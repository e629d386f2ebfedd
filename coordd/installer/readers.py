"""Check that the service can read the workspaces, by reading as its user, and explain failures.

A child process takes the service's uid, gid and groups and reads, so ACLs and file servers are taken into
account. The modes only serve to explain which permission is missing, and how to grant it.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import select
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from coordd.cli.doctor.access import READ, SEARCH, Credentials, first_obstacle, grant, user_name
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.workspaces import FOLDERS, check_workspace
from coordd.errors import InstallError
from coordd.util.regular_files import open_if_regular

DEADLINE = 10.0
"""Seconds for all of it as the other user; a hung mount must not hold up the installation."""
MAX_FILES = 1000
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
        "group": _primary(user),
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
    obstacle = first_obstacle(argv[0], user, READ | SEARCH)
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
        if magic:
            closed = _closed_pattern(pattern, user)
            if closed is not None:
                findings.append(closed)
                continue
        if magic and not matches:
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
            findings.append(_judged(path, user))
    return findings


def _judged(path: str, user: Credentials) -> Finding:
    try:
        problem = as_user(user, lambda: read_workspace(path))
    except TimeoutError as error:
        return Finding(
            "workspace", "fail", f"{path}: {error}", f"does it hang? findmnt -T {shlex.quote(path)}"
        )
    if problem is None:
        return Finding("workspace", "ok", f"{path} is readable for {user.name}")
    explained = check_workspace(path, None, None, user)
    if explained.result != "ok":
        return explained
    return Finding(
        "workspace",
        "fail",
        f"{path}: {user.name} cannot read it: {problem}; its modes would allow it",
        "look for a hung mount, a file server that maps users, or SELinux",
    )


def read_workspace(path: str) -> str | None:
    """Read a workspace as the daemon does; return what failed in words, None if nothing did."""
    base = os.path.join(path, ".claude", "coordination")
    try:
        os.listdir(base)
        for name in FOLDERS:
            folder = os.path.join(base, name)
            if not os.path.isdir(folder) or os.path.islink(folder):
                continue
            for file in sorted(os.listdir(folder))[:MAX_FILES]:
                full = os.path.join(folder, file)
                descriptor = None if file.startswith(".") else open_if_regular(full)
                if descriptor is not None:
                    os.close(descriptor)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return None


def as_user(user: Credentials, read: Callable[[], str | None], *, seconds: float = DEADLINE) -> str | None:
    """Return the answer of ``read`` in a child process that runs as this user.

    Raises:
        TimeoutError: it hangs; it is killed and not waited for, since a process that hangs in a mount cannot
            die.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(user, read, writer)
    os.close(writer)
    try:
        answer = b"".join(_until_end(reader, seconds))
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    finally:
        os.close(reader)
    os.waitpid(child, 0)
    try:
        said = json.loads(answer)
    except ValueError:
        return "it could not be tried"
    return said if isinstance(said, str) else None


def _child(user: Credentials, read: Callable[[], str | None], writer: int) -> NoReturn:
    try:
        if os.geteuid() == 0:
            gid = _primary(user)
            os.setgroups(sorted(user.gids))
            os.setgid(gid)
            os.setuid(user.uid)
        os.write(writer, json.dumps(read()).encode())
    finally:
        os._exit(0)


def _primary(user: Credentials) -> int:
    try:
        return pwd.getpwuid(user.uid).pw_gid
    except KeyError:
        return min(user.gids, default=65534)


def _until_end(reader: int, seconds: float) -> Iterator[bytes]:
    deadline = time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        block = os.read(reader, 65536)
        if not block:
            return
        yield block


def _matches(pattern: str) -> list[str]:
    return sorted(path for path in glob.iglob(pattern) if os.path.isdir(f"{path}/.claude/coordination"))


def _closed_pattern(pattern: str, user: Credentials) -> Finding | None:
    """Return a finding if the service may not list the fixed part of a pattern."""
    base = pattern
    while glob.has_magic(base):
        base = os.path.dirname(base)
    obstacle = first_obstacle(base, user, READ | SEARCH)
    if obstacle is None or obstacle.error is not None:
        return None
    return Finding(
        "workspace",
        "fail",
        f"{pattern}: {user.name} may not list {obstacle.path}",
        grant(obstacle, user),
    )
