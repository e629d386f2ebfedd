"""Make and remove users, group and directories of the system's services, by systemd's own tools.

Their files (sysusers.d(5), tmpfiles.d(5)) go with the service; a user goes when all is
purged. A user that the caller named exists, and is never removed.
"""

from __future__ import annotations

import pwd
from collections.abc import Sequence

from coordd.installer import templates
from coordd.installer.services import ALERT, ALERT_HOME, ALERT_USER, COORDD, GROUP, HOME, USER, Service
from coordd.installer.steps import Command, GiveTree, Remove, Step, WriteFile
from coordd.protocol.paths import system_paths

SYSUSERS = "/etc/sysusers.d/coordd.conf"
TMPFILES = "/etc/tmpfiles.d/coordd.conf"
ALERT_SYSUSERS = "/etc/sysusers.d/coordd-alert.conf"

_MADE = ((ALERT, ALERT_USER, ALERT_HOME), (COORDD, USER, HOME))
"""Services with a user of their own: its name and home."""


def making(service: Service, run_as: str) -> list[Step]:
    """Return the steps for the user, group and directories of a service; ``run_as`` is the daemon's user."""
    if service == ALERT:  # its directory is made when it starts
        names = {"ALERTUSER": ALERT_USER, "GROUP": GROUP, "HOME": ALERT_HOME}
        return _users(ALERT_SYSUSERS, _filled("systemd/sysusers-alert.conf.in", names))
    if service != COORDD:
        return []
    names = {"USER": run_as, "GROUP": GROUP}
    users = _filled("systemd/sysusers.conf.in", names)
    if run_as != USER:  # a user named by the caller exists already
        users = "".join([line for line in users.splitlines(keepends=True) if not line.startswith("u ")])
    owner = (run_as, GROUP)
    return [
        *_users(SYSUSERS, users),
        WriteFile(TMPFILES, _filled("systemd/tmpfiles.conf.in", names)),
        *[GiveTree(path, owner) for path in (HOME, system_paths("linux")["log_dir"])],
        Command(
            ("systemd-tmpfiles", "--create", TMPFILES),
            f"Make the directories yourself, as {TMPFILES} has them.",
        ),
    ]


def removing(services: Sequence[Service]) -> list[Step]:
    """Return the steps that remove the files; users and directories stay."""
    files = ((ALERT, ALERT_SYSUSERS), (COORDD, TMPFILES), (COORDD, SYSUSERS))
    return [Remove(path) for one, path in files if one in services]


def purging(services: Sequence[Service]) -> list[Step]:
    """Return the steps that remove users that were made; with the daemon also the group."""
    steps: list[Step] = [
        Command(("userdel", user), f"Remove it yourself: userdel {user}")
        for one, user, home in _MADE
        if one in services and _made_here(user, home)
    ]
    if COORDD in services:
        steps.append(Command(("groupdel", GROUP), None))  # userdel may have taken it along
    return steps


def _filled(name: str, names: dict[str, str]) -> str:
    return templates.fill(templates.template(name), names)


def _users(path: str, text: str) -> list[Step]:
    advice = f"Make user and group yourself, as {path} has them."
    return [WriteFile(path, text), Command(("systemd-sysusers", path), advice)]


def _made_here(user: str, home: str) -> bool:
    try:
        return pwd.getpwnam(user).pw_dir == home
    except KeyError:
        return False
