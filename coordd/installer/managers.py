"""What a service manager has to offer the installation; systemd.py and launchd.py offer it."""

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
    """All that files are filled in with.

    ``home``, ``uid`` and ``environ`` are the calling person's; ``run_as`` is the system service's user.
    ``listen`` is the dashboard's address, None for the one that its unit has, or the default.
    """

    scope: Scope
    run_as: str
    programs: Programs
    environ: Mapping[str, str]
    home: str
    uid: int
    listen: str | None = None

    def shown(self, name: str) -> str:
        """How the caller types one of our commands: its name where that finds this installation."""
        argv = self.programs[name]
        found = shutil.which(name)
        return name if found is not None and found == argv[0] else shlex.join(argv)


class Manager(Protocol):
    """One service manager, for one scope. What returns steps is pure: they are carried out elsewhere.

    ``private_tmp``: whether the system's service has a /tmp of its own; ``dynamic_user``: whether the
    system's dashboard runs as nobody in particular, who sees no homes.
    """

    private_tmp: bool
    dynamic_user: bool

    def rendered(self, service: Service) -> str:
        """The unit or plist."""

    def accounts(self) -> list[Step]:
        """User, group and directories, which a configuration file's owner has to be there for."""

    def files(self, services: Sequence[Service]) -> list[Step]:
        """The units or plists."""

    def reading(self) -> list[Step]:
        """Make it read files that have changed."""

    def starting(self, service: Service, *, enable: bool = True) -> list[Step]:
        """Enable, and start or restart."""

    def removing(self, services: Sequence[Service]) -> list[Step]:
        """Stop, and take the files away; with the daemon's, what made its user and directories."""

    def purging(self, services: Sequence[Service]) -> list[Step]:
        """What an administrator added to them; with the daemon, user and group away, after their files."""

    def installed(self, service: Service) -> bool:
        """Whether its unit or plist is there."""

    def active(self, service: Service) -> bool:
        """Whether it runs."""

    def command(self, service: Service) -> list[str]:
        """The command line in force, an administrator's changes included; empty where it cannot be told."""

    def said(self, service: Service) -> str:
        """The last that it wrote, for a start that failed."""

    def lasting(self) -> list[str]:
        """See to it that it runs while nobody is logged in; what was done, or is left to do, in lines."""

    def hints(self, service: Service) -> list[tuple[str, str]]:
        """Commands to know, each with what it does."""

    def reload_command(self, service: Service) -> str:
        """The command that applies a changed configuration."""

    def member_command(self, person: str) -> str:
        """The command that lets a person ask the system's daemon."""


def present(platform: str, *, run: str = "/run/systemd/system") -> str:
    """``systemd`` or ``launchd``, whichever runs this machine.

    Raises:
        InstallError: neither does.
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
