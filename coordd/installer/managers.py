"""Define what a service manager offers the installer; systemd.py and launchd.py implement it."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from coordd.errors import InstallError
from coordd.installer.services import Programs, Scope, Service
from coordd.installer.steps import Step


@dataclass(frozen=True, slots=True)
class Setting:
    """All values that files are filled in with.

    ``home``, ``uid`` and ``environ`` are the caller's; ``run_as`` is the system service's user. ``listen`` is
    the dashboard's address; None keeps the one in its unit, or takes the default. ``read_homes`` is whether
    the system's service gets the right to read everybody's files; None keeps it as it is.
    """

    scope: Scope
    run_as: str
    programs: Programs
    environ: Mapping[str, str]
    home: str
    uid: int
    listen: str | None = None
    read_homes: bool | None = None

    def shown(self, name: str) -> str:
        """Return how the caller types one of our commands: by name if that finds this installation."""
        argv = self.programs[name]
        found = shutil.which(name)
        return name if found is not None and found == argv[0] else shlex.join(argv)


class Manager(Protocol):
    """One service manager, for one scope; methods that return steps are pure.

    ``private_tmp``: whether the system's service has its own /tmp; ``own_users``: whether the other services
    of the system run as users of their own: the dashboard as an allocated one, which sees no home
    directories, and coordd-alert as one that is made.
    """

    private_tmp: bool
    own_users: bool

    def rendered(self, service: Service) -> str:
        """Return the text of the unit or plist."""

    def accounts(self, service: Service) -> list[Step]:
        """Return the steps for the user, group and directories that a service needs before all else."""

    def files(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps for the units or plists."""

    def reading(self) -> list[Step]:
        """Return the steps that make the manager read changed files."""

    def starting(self, service: Service, *, enable: bool = True) -> list[Step]:
        """Return the steps that enable the service, and start or restart it."""

    def removing(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps that stop services and remove their files, those of their accounts too."""

    def purging(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps that remove an administrator's additions, and users and group that were made."""

    def installed(self, service: Service) -> bool:
        """Return whether its unit or plist exists."""

    def granted(self) -> list[str]:
        """Return in lines what the system's service may read beyond its user's rights; none where nothing."""

    def active(self, service: Service) -> bool:
        """Return whether it runs."""

    def command(self, service: Service) -> list[str]:
        """Return the command line in force, with an administrator's changes; empty if unknown."""

    def said(self, service: Service) -> str:
        """Return the last lines that the service wrote, for a failed start."""

    def lasting(self) -> list[str]:
        """Let it run while nobody is logged in; return in lines what was done, or is left to do."""

    def hints(self, service: Service) -> list[tuple[str, str]]:
        """Return useful commands, each with what it does."""

    def reload_command(self, service: Service) -> str:
        """Return the command that applies a changed configuration."""

    def member_command(self, person: str) -> str:
        """Return the command that lets a person ask the system's daemon."""


def present(platform: str, *, run: str = "/run/systemd/system") -> str:
    """Return ``systemd`` or ``launchd``, whichever runs this machine.

    Raises:
        InstallError: neither of them runs it.
    """
    if platform == "darwin" and shutil.which("launchctl"):
        return "launchd"
    if os.path.isdir(run) and shutil.which("systemctl"):
        return "systemd"
    raise InstallError(
        "neither systemd nor launchd runs this machine, so there is nothing to install a service into. "
        "'coordd start' runs coordd as a classic daemon; to have it after a boot, put "
        "'@reboot coordd start' into your crontab."
    )
