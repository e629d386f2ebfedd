"""Check what coordd-alert needs beside a unit, whether it answers, and which of its actions cannot work.

Its rules and their actions are its own to judge: it is asked on its control socket.
"""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from coordd.cli.doctor.findings import Finding
from coordd.config.layout import Layout
from coordd.errors import ClientError, InstallError
from coordd.installer.services import Scope
from coordd.protocol.client import Client
from coordd.protocol.paths import ALERTS_SOCKET, alerts_directory
from coordd.util.text import shown
from coordd.util.untyped import as_dict, dicts

DEADLINE = 2.0
"""Seconds for one answer."""


def data_directory(scope: Scope, environ: Mapping[str, str]) -> str:
    """Return the directory in which coordd-alert of a scope keeps what it told."""
    return alerts_directory(scope, environ, sys.platform)


def control_socket(scope: Scope, environ: Mapping[str, str]) -> str:
    """Return the path of its control socket."""
    return os.path.join(data_directory(scope, environ), ALERTS_SOCKET)


def check_apprise(layout: Layout) -> None:
    """Check that apprise is installed if a rule names it.

    Raises:
        InstallError: it is missing; with the command that installs it.
    """
    if find_spec("apprise") is not None or not _names_apprise(layout.config_file):
        return
    raise InstallError(
        f"a rule in {layout.config_file} tells by apprise, which {sys.executable} does not have; nothing was "
        f"touched. Install it:\n  {shlex.quote(sys.executable)} -m pip install 'coordd[alerts]'"
    )


def version_behind(socket: str) -> str | None:
    """Return the version of the coordd-alert that answers on a control socket; None if none does."""
    version = _ask(socket).get("version")
    return None if version is None else str(version)


def check_actions(socket: str) -> list[Finding]:
    """Return a finding for each action of its rules that cannot work, as the running coordd-alert says."""
    return [
        Finding("alerts", "warn", f"rule {shown(rule.get('name'))}, {shown(action.get('action'))}: {problem}")
        for rule in dicts(_ask(socket).get("rules"))
        for action in dicts(rule.get("actions"))
        if isinstance(problem := action.get("problem"), str)
    ]


def _ask(socket: str) -> dict[str, Any]:
    try:
        with Client(socket, DEADLINE) as client:
            return as_dict(client.call("status"))
    except (OSError, ClientError):
        return {}


def _names_apprise(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            rules = tomllib.load(file).get("alert")
    except (OSError, ValueError, RecursionError):
        return False  # the start says what is wrong with it
    return any("apprise" in rule for rule in dicts(rules))
