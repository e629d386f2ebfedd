"""Run coordd under launchd: as a LaunchAgent of one person, or a LaunchDaemon of the machine.

launchd.plist(5), launchctl(1). Written from the manual: none of it has been run on macOS.
"""

from __future__ import annotations

import os
import plistlib
from collections.abc import Sequence
from xml.parsers.expat import ExpatError

from coordd.dashboard.listen import DEFAULT
from coordd.dashboard.tokens import NAME
from coordd.errors import InstallError
from coordd.installer import templates
from coordd.installer.managers import Setting
from coordd.installer.services import ALERT, COORDD, GROUP, USER, Service, listen_of, place_name
from coordd.installer.steps import Command, GiveTree, MakeDirectory, Remove, Step, WriteFile, output
from coordd.protocol.paths import alerts_directory, system_paths, user_paths

_DAEMONS = "/Library/LaunchDaemons"
_INDENT = "        "


def installed_user(service: Service) -> str | None:
    """Return the user that the installed LaunchDaemon runs as; None if there is none."""
    try:
        with open(os.path.join(_DAEMONS, f"{service.label}.plist"), "rb") as file:
            user = plistlib.load(file).get("UserName")
    except (OSError, ValueError, ExpatError):
        return None
    return user if isinstance(user, str) else None


class Launchd:
    """The machine's launchd, or one person's session of it."""

    private_tmp = False
    own_users = False

    def __init__(self, *, setting: Setting) -> None:
        self._setting = setting
        self._system = setting.scope == "system"
        self._domain = "system" if self._system else f"gui/{setting.uid}"
        self._agents = _DAEMONS if self._system else os.path.join(setting.home, "Library", "LaunchAgents")
        paths = system_paths("darwin") if self._system else user_paths({"HOME": setting.home}, "darwin")
        self._logs = paths["log_dir"]
        self._socket = paths["socket"]
        self._token = os.path.join(os.path.dirname(paths["config_file"]), NAME)
        self._places = [os.path.dirname(paths[name]) for name in ("socket", "metrics_dir")]

    def rendered(self, service: Service) -> str:
        """Return the text of the plist."""
        setting = self._setting
        name = service.daemon_plist if self._system else service.agent_plist
        return templates.fill(
            templates.template(name),
            {
                **{place_name(n): templates.plist_strings(a, _INDENT) for n, a in setting.programs.items()},
                "USER": templates.plist_text(setting.run_as),
                "GROUP": templates.plist_text(GROUP),
                "LOGS": templates.plist_text(self._logs),
                "SOCKET": templates.plist_text(self._socket),
                "TOKEN": templates.plist_text(self._token),
                "LISTEN": templates.plist_text(self._listen(service)),
            },
        )

    def accounts(self, service: Service) -> list[Step]:
        """Return the steps for group and directories; a LaunchDaemon's user has to exist."""
        if service == ALERT and self._system:
            return self._accounts_of_alerts()
        if service != COORDD:
            return []
        if not self._system:
            return [MakeDirectory(self._logs, 0o700)]
        if self._setting.read_homes:
            raise InstallError(
                "--read-homes is for systemd, which can give a service that right alone; here let each "
                "person run their own service, or name the one it is to run as, with --run-as USER"
            )
        if self._setting.run_as == USER:
            raise InstallError(
                "macOS has no standard way to make a user for a service: name the one it is to run as, with "
                "--run-as USER"
            )
        owner = (self._setting.run_as, GROUP)
        made = [self._logs, *self._places]
        return [
            Command(
                ("dseditgroup", "-o", "create", "-r", "may ask coordd", GROUP),
                None,  # it fails where the group is there
            ),
            *[MakeDirectory(path, 0o750, owner) for path in made],
            *[GiveTree(path, owner) for path in made],
        ]

    def _accounts_of_alerts(self) -> list[Step]:
        owner = (self._setting.run_as, GROUP)
        path = alerts_directory("system", {}, "darwin")
        return [MakeDirectory(path, 0o700, owner), GiveTree(path, owner)]

    def files(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps for the plists; launchd refuses those that others may write."""
        owner = ("root", "wheel") if self._system else None
        return [WriteFile(self._path(one), self.rendered(one), 0o644, owner) for one in services]

    def reading(self) -> list[Step]:
        """Return no steps, since launchd reads a plist only when it is loaded."""
        return []

    def starting(self, service: Service, *, enable: bool = True) -> list[Step]:
        """Return the steps to load and start; unload it first, since launchd keeps the plist it has read."""
        target = f"{self._domain}/{service.label}"
        return [
            Command(("launchctl", "bootout", target), None),
            *([Command(("launchctl", "enable", target), "See launchctl(1).")] if enable else []),
            Command(
                ("launchctl", "bootstrap", self._domain, self._path(service)),
                f"Loaded already? launchctl bootout {target}. Else: plutil {self._path(service)}",
            ),
        ]

    def removing(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps that stop the services and remove the plists."""
        steps: list[Step] = []
        for one in services:
            steps += [
                Command(("launchctl", "bootout", f"{self._domain}/{one.label}"), None),
                Remove(self._path(one)),
            ]
        return steps

    def purging(self, services: Sequence[Service]) -> list[Step]:
        """Return the step that removes the group."""
        if not self._system or COORDD not in services:
            return []
        return [Command(("dseditgroup", "-o", "delete", GROUP), None)]

    def installed(self, service: Service) -> bool:
        """Return whether the plist exists."""
        return os.path.lexists(self._path(service))

    def granted(self) -> list[str]:
        """Return nothing: launchd gives a service its user's rights."""
        return []

    def active(self, service: Service) -> bool:
        """Return whether launchd has loaded it."""
        return output(["launchctl", "print", f"{self._domain}/{service.label}"]) is not None

    def command(self, service: Service) -> list[str]:
        """Return the command line in the plist."""
        try:
            with open(self._path(service), "rb") as file:
                words = plistlib.load(file).get("ProgramArguments")
        except (OSError, ValueError, ExpatError):
            return []
        return [str(word) for word in words] if isinstance(words, list) else []

    def said(self, service: Service) -> str:
        """Return the last lines of its logs."""
        path = os.path.join(self._logs, f"{service.name}.log")
        return output(["tail", "-n", "12", os.path.join(self._logs, f"{service.name}.err"), path]) or ""

    def lasting(self) -> list[str]:
        """Return what a person has to know: a LaunchAgent lives as long as its session."""
        if self._system:
            return []
        return ["It runs while you are logged in. To have it always: service install --system --run-as YOU"]

    def hints(self, service: Service) -> list[tuple[str, str]]:
        """Return the commands that show state and log."""
        return [
            (f"launchctl print {self._domain}/{service.label}", "how it does"),
            (f"tail -F '{os.path.join(self._logs, service.name)}.log'", "what it says"),
        ]

    def reload_command(self, service: Service) -> str:
        """Return coordctl's reload command, since launchd knows no reload."""
        if service == ALERT:
            layout = " --layout system" if self._system else ""
            return f"coordctl alerts{layout} reload"
        return "coordctl reload"

    def member_command(self, person: str) -> str:
        """Return the command of dseditgroup(8)."""
        return f"dseditgroup -o edit -a {person} -t user {GROUP}"

    def _listen(self, service: Service) -> str:
        """Return the dashboard's address: as asked, or as in its plist, which an upgrade keeps."""
        return self._setting.listen or listen_of(self.command(service)) or DEFAULT

    def _path(self, service: Service) -> str:
        return os.path.join(self._agents, f"{service.label}.plist")
