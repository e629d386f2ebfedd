"""Have coordd-alert check its rules, for ``coordd check-config``: they are that program's to judge.

It is asked in a process of its own, as the user who will run it: what a rule names may be that user's alone.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from coordd.config.file import alerts_file
from coordd.protocol.paths import ALERTS_USER, system_paths

if TYPE_CHECKING:
    from coordd.config.file import ConfigSources

DEADLINE = 60.0
UNSOUND = 1
"""The exit code for rules that are sound, with an action that cannot work on this machine."""


def check_rules(sources: ConfigSources) -> int:
    """Print what coordd-alert says of its rules, where there are any; return the exit code.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = alerts_file(sources)
    if path is None:
        return 0
    command = [sys.executable, "-P", "-m", "coordd.alerts.main", "check", "--config", path]
    options = _as_its_user() if path == system_paths(sys.platform)["config_file"] else {}
    try:
        done = _run(command, options)
    except PermissionError:  # that user may not run this Python: it is not the service's
        done = _run(command, {})
    for line in done.stdout.splitlines():
        click.echo(f"# {line}")
    if done.returncode in (0, UNSOUND):
        return 0
    click.echo(done.stderr, err=True, nl=False)
    return done.returncode


def _run(command: list[str], options: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, **options)


def _as_its_user() -> dict[str, Any]:
    """Return options of subprocess by which root runs something as the user of the system's coordd-alert."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam(ALERTS_USER)
    except KeyError:
        return {}
    return {
        "user": user.pw_uid,
        "group": user.pw_gid,
        "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid),
        "cwd": "/",
        "env": {**os.environ, "HOME": user.pw_dir},
    }
