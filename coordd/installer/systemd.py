"""Run coordd under systemd: units, and the commands of its manager. Who they run as is made by accounts.py.

An administrator's files lie in /etc (file-hierarchy(7)), a person's where their manager looks for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from coordd.cli.doctor.access import user_name
from coordd.dashboard.listen import DEFAULT
from coordd.errors import InstallError
from coordd.installer import accounts, templates
from coordd.installer.managers import Setting
from coordd.installer.services import ALERT_USER, COORDD, GROUP, Service, place_name
from coordd.installer.steps import Command, Remove, RemoveEmpty, Step, WriteFile, failure, output

SYSTEM_UNITS = "/etc/systemd/system"
READ_HOMES = "read-homes.conf"
"""The drop-in that gives the system's service the right to read everybody's files."""
_CARRIED = ("XDG_CONFIG_HOME", "XDG_STATE_HOME")


class Systemd:
    """The system's manager, or one person's; ``units`` is the directory of unit files."""

    private_tmp = True
    own_users = True

    def __init__(self, *, setting: Setting, units: str) -> None:
        self._setting = setting
        self._units = units
        self._system = setting.scope == "system"
        self._ctl = ("systemctl",) if self._system else ("systemctl", "--user")
        self._journal = ("journalctl",) if self._system else ("journalctl", "--user")

    def rendered(self, service: Service) -> str:
        """Return the text of the unit."""
        setting = self._setting
        name = service.system_unit if self._system else service.user_unit
        listen = self._listen(service)
        carried = {key: setting.environ[key] for key in _CARRIED if setting.environ.get(key)}
        return templates.fill(
            templates.template(name),
            {
                **{place_name(n): templates.unit_command(argv) for n, argv in setting.programs.items()},
                "USER": setting.run_as,
                "GROUP": GROUP,
                "ALERTUSER": ALERT_USER,
                "ENVIRONMENT": templates.unit_environment(carried),
                "LISTEN": listen,
                "PORT": listen.rpartition(":")[2],
            },
        )

    def accounts(self, service: Service) -> list[Step]:
        """Return the steps for user and group (systemd-sysusers) and directories (systemd-tmpfiles)."""
        return accounts.making(service, self._setting.run_as) if self._system else []

    def files(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps for the unit files, and the drop-in that is asked for, or was before."""
        steps: list[Step] = [WriteFile(self._path(one), self.rendered(one)) for one in services]
        if not self._system or COORDD not in services:
            return steps
        wanted = self._setting.read_homes
        if wanted is None:  # an upgrade keeps it
            wanted = os.path.lexists(self._read_homes) or None
        if wanted:
            return [*steps, WriteFile(self._read_homes, read_homes_drop_in())]
        return steps if wanted is None else [*steps, *self._taking_back()]

    def granted(self) -> list[str]:
        """Return what the drop-in for the homes of all users grants, where there is one."""
        if not self._system or not os.path.lexists(self._read_homes):
            return []
        shown = output(["systemd-analyze", "security", "--no-pager", COORDD.unit]) or ""
        exposure = re.search(r"exposure level for \S+: ([0-9.]+)", shown)
        return [
            f"{'granted':<9}  CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: coordd may read every file of this",
            f"{'':<9}  machine and look into every process, and writes nothing but its own records. It shows",
            f"{'':<9}  sessions of all users to whoever may ask it. Exposure by systemd-analyze security:",
            f"{'':<9}  {exposure[1] if exposure else 'unknown'}, and 1.4 without it.",
            f"{'':<9}  back: coordd service install --system --no-read-homes",
        ]

    def reading(self) -> list[Step]:
        """Return the step for ``systemctl daemon-reload``."""
        return [self._run("daemon-reload", advice="Is the manager alive? systemctl status")]

    def starting(self, service: Service, *, enable: bool = True) -> list[Step]:
        """Return the steps to enable and restart it; ``start`` would keep one that is starting already."""
        unit = service.unit
        look = f"Look at the unit: {' '.join(self._ctl)} cat {unit}"
        return [
            *self.reading(),
            *([self._run("enable", unit, advice=look)] if enable else []),
            Command((*self._ctl, "reset-failed", unit), None),
            self._run("restart", unit, advice="See above why, and run it again."),
        ]

    def removing(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps that stop, disable and remove units and account files.

        An administrator's own drop-ins stay; the one that this installer made goes.
        """
        steps: list[Step] = []
        for one in services:
            steps += [
                Command((*self._ctl, "disable", "--now", one.unit), None),
                Remove(self._path(one)),
            ]
        if self._system:
            steps += self._taking_back() if COORDD in services else []
            steps += accounts.removing(services)
        steps += self.reading()
        steps += [Command((*self._ctl, "reset-failed", one.unit), None) for one in services]
        return steps

    def purging(self, services: Sequence[Service]) -> list[Step]:
        """Return the steps that remove drop-ins, and users that were made; for the daemon, also the group."""
        steps: list[Step] = [
            Remove(os.path.join(self._units, f"{one.unit}.d"), tree=True) for one in services
        ]
        return [*steps, *accounts.purging(services)] if self._system else steps

    def installed(self, service: Service) -> bool:
        """Return whether the unit file exists."""
        return os.path.lexists(self._path(service))

    def active(self, service: Service) -> bool:
        """Return whether systemd calls it active."""
        return output([*self._ctl, "is-active", service.unit]) is not None

    def command(self, service: Service) -> list[str]:
        """Return the last ExecStart=, with drop-ins, from ``{ path=… ; argv[]=… ; ignore_errors=no ; …}``."""
        shown = output([*self._ctl, "show", service.unit, "--property=ExecStart", "--value"]) or ""
        found = re.findall(r"argv\[\]=(.*?) ; ", shown)
        return found[-1].split() if found else []

    def said(self, service: Service) -> str:
        """Return the last lines of its journal."""
        argv = [*self._journal, "-u", service.unit, "-n", "12", "--no-pager", "-o", "cat"]
        return output(argv) or ""

    def lasting(self) -> list[str]:
        """Enable lingering for a person's service; often only root may do that."""
        if self._system:
            return []
        name = user_name(self._setting.uid)
        shown = output(["loginctl", "show-user", name, "-p", "Linger", "--value"])
        if shown is not None and shown.strip() == "yes":
            return []
        argv = ("loginctl", "--no-ask-password", "enable-linger", name)
        if failure(argv, seconds=10) is None:
            return [f"{'ran':<9}  {' '.join(argv)}"]
        return [f"It runs while you are logged in. To have it always: sudo loginctl enable-linger {name}"]

    def hints(self, service: Service) -> list[tuple[str, str]]:
        """Return the commands for status and journal."""
        return [
            (f"{' '.join(self._ctl)} status {service.name}", "how it does, in a line"),
            (f"{' '.join(self._journal)} -u {service.name} -f", "what it says"),
        ]

    def reload_command(self, service: Service) -> str:
        """Return ``systemctl reload coordd``."""
        return f"{' '.join(self._ctl)} reload {service.name}"

    def member_command(self, person: str) -> str:
        """Return the command of usermod(8)."""
        return f"usermod -aG {GROUP} {person}"

    def _listen(self, service: Service) -> str:
        """Return the dashboard's address: as asked, or as in its unit, which an upgrade keeps."""
        if self._setting.listen is not None:
            return self._setting.listen
        with suppress(OSError, UnicodeDecodeError), open(self._path(service), encoding="utf-8") as file:
            found = re.search(r"(?m)^ExecStart=.* --listen (\S+)", file.read())
            if found is not None:
                return found[1]
        return DEFAULT

    @property
    def _read_homes(self) -> str:
        return os.path.join(self._units, f"{COORDD.unit}.d", READ_HOMES)

    def _taking_back(self) -> list[Step]:
        return [Remove(self._read_homes), RemoveEmpty(os.path.dirname(self._read_homes))]

    def _path(self, service: Service) -> str:
        return os.path.join(self._units, service.unit)

    def _run(self, *words: str, advice: str) -> Command:
        return Command((*self._ctl, *words), advice)


def read_homes_drop_in() -> str:
    """Return the text of the drop-in that lets the system's service read the homes of all users."""
    return templates.template("systemd/coordd-read-homes.conf.in")


def connect(setting: Setting) -> Systemd:
    """Return the manager for a scope, after checking that it runs.

    Raises:
        InstallError: no permission for the system's manager, or this person has no running manager.
    """
    if setting.scope == "system":
        return Systemd(setting=setting, units=SYSTEM_UNITS)
    return Systemd(setting=setting, units=_user_units(setting))


def usual_units(setting: Setting) -> str:
    """Return where unit files of a scope lie, without asking the manager."""
    if setting.scope == "system":
        return SYSTEM_UNITS
    config = setting.environ.get("XDG_CONFIG_HOME") or os.path.join(setting.home, ".config")
    return os.path.join(config, "systemd", "user")


def installed_user(service: Service, *, units: str = SYSTEM_UNITS) -> str | None:
    """Return the user that the installed unit runs as, which an upgrade keeps; None if there is none."""
    try:
        with open(os.path.join(units, service.unit), encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    found = re.findall(r"(?m)^User=(\S+)$", text)
    return found[-1] if found else None


def find_runtime_directory(environ: Mapping[str, str], uid: int) -> str | None:
    """Return an XDG_RUNTIME_DIR with this person's systemd; ``su`` and cron do not set it."""
    for path in (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}"):
        if path and os.path.exists(os.path.join(path, "systemd", "private")):
            return path
    return None


def _user_units(setting: Setting) -> str:
    shown = output(["systemctl", "--user", "show", "-p", "UnitPath", "--value"])
    if shown is None:
        raise InstallError(
            "your systemd does not answer (systemctl --user). It runs while you are logged in, by console, "
            "ssh or desktop; 'su' does not count. 'sudo loginctl enable-linger "
            f"{user_name(setting.uid)}' starts it for good. For the whole machine: sudo coordd service "
            "install --system"
        )
    wanted = usual_units(setting)
    looked = shown.split()
    if wanted in looked:
        return wanted
    mine = [path for path in looked if path.startswith(f"{setting.home}/") and path.endswith("/systemd/user")]
    return mine[0] if mine else wanted
