"""List the services, the programs they run, and what was asked for. Values; a new service is a row."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from coordd.protocol.paths import ALERTS_USER

Scope = Literal["user", "system"]

GROUP = "coordd"
"""The group whose members may ask the system's daemon."""
USER = "coordd"
HOME = "/var/lib/coordd"
ALERT_USER = ALERTS_USER
ALERT_HOME = "/var/lib/coordd-alert"


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its name with both managers, and its templates below ``packaging/``."""

    name: str
    label: str
    system_unit: str
    user_unit: str
    daemon_plist: str
    agent_plist: str

    @property
    def unit(self) -> str:
        """The name of its unit, ``coordd.service``."""
        return f"{self.name}.service"


COORDD = Service(
    name="coordd",
    label="org.coordd.coordd",
    system_unit="systemd/coordd.service.in",
    user_unit="systemd/coordd-user.service.in",
    daemon_plist="launchd/org.coordd.coordd.daemon.plist.in",
    agent_plist="launchd/org.coordd.coordd.agent.plist.in",
)
DASHBOARD = Service(
    name="coordd-dashboard",
    label="org.coordd.dashboard",
    system_unit="systemd/coordd-dashboard.service.in",
    user_unit="systemd/coordd-dashboard-user.service.in",
    daemon_plist="launchd/org.coordd.dashboard.daemon.plist.in",
    agent_plist="launchd/org.coordd.dashboard.agent.plist.in",
)
ALERT = Service(
    name="coordd-alert",
    label="org.coordd.alert",
    system_unit="systemd/coordd-alert.service.in",
    user_unit="systemd/coordd-alert-user.service.in",
    daemon_plist="launchd/org.coordd.alert.daemon.plist.in",
    agent_plist="launchd/org.coordd.alert.agent.plist.in",
)
SERVICES = (COORDD, DASHBOARD, ALERT)
"""All services, the daemon first: it is always installed, the others on request; all are removed together."""

PROGRAMS = {"coordd": "coordd", "coordctl": "coordd.cli", "coordd-alert": "coordd.alerts.main"}
"""Each command with the module that it runs; in templates ``@COORDD@`` is the command line of coordd."""

Programs = Mapping[str, tuple[str, ...]]
"""The command lines that a unit starts programs with, by name; absolute."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line.

    ``run_as`` is the system service's user; ``workspaces`` are absolute, or begin with ``~/``. ``dashboard``,
    ``alerts``: install them too, or uninstall them alone; ``listen`` is the dashboard's address, None keeps
    the present one.
    """

    scope: Scope
    run_as: str = USER
    workspaces: tuple[str, ...] = ()
    redis_url: str | None = None
    dashboard: bool = False
    alerts: bool = False
    listen: str | None = None

    @property
    def asked(self) -> tuple[Service, ...]:
        """Return the services beside the daemon that were asked for."""
        return tuple(one for one, asked in ((DASHBOARD, self.dashboard), (ALERT, self.alerts)) if asked)


def find_programs(executable: str, script: str) -> Programs:
    """Return the commands of this installation.

    Args:
        executable: ``sys.executable``.
        script: ``sys.argv[0]``, which is the command coordd, or a module's file under ``python -m``.

    The commands come from the directory that coordd was called from, else from the interpreter's; without
    commands the interpreter runs the modules. Symbolic links are kept, since an upgrade moves them.
    """
    for directory in (os.path.dirname(os.path.abspath(script)), os.path.dirname(executable)):
        found = {name: os.path.join(directory, name) for name in PROGRAMS}
        if all(os.path.isfile(path) and os.access(path, os.X_OK) for path in found.values()):
            return {name: (path,) for name, path in found.items()}
    return {name: (executable, "-m", module) for name, module in PROGRAMS.items()}


def this_installation() -> Programs:
    """Return the programs of the running process."""
    return find_programs(sys.executable, sys.argv[0])


def listen_of(words: Sequence[str]) -> str | None:
    """Return the address in a command line of the dashboard; None if it has none."""
    return dict(pairwise(words)).get("--listen")


def place_name(program: str) -> str:
    """Return the placeholder of a program in templates: ``COORDD``."""
    return program.upper().replace("-", "_")
