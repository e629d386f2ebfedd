"""Install services: the order of the steps for any manager, and what the caller is told."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from coordd import __version__
from coordd.cli.doctor.access import READ_ALL, Credentials, user_of
from coordd.cli.doctor.findings import Finding
from coordd.config.layout import Layout
from coordd.dashboard.listen import DEFAULT, BadAddress, parse_address
from coordd.errors import ConfigError, InstallError
from coordd.installer import alerts
from coordd.installer.answering import DEADLINE, ServiceAddress, version_behind, wait_for_answer
from coordd.installer.configuration import configured, default_text, missing_in
from coordd.installer.dashboard import MakeToken, check_packages, check_visible, token_file, version_at
from coordd.installer.links import Link, linking, not_linked
from coordd.installer.managers import Manager, Setting
from coordd.installer.next_steps import next_lines
from coordd.installer.readers import check_owner, check_program, check_readable
from coordd.installer.services import (
    ALERT,
    ALERT_USER,
    COORDD,
    DASHBOARD,
    GROUP,
    HOME,
    SERVICES,
    USER,
    Service,
    Wanted,
    listen_of,
)
from coordd.installer.steps import MakeDirectory, Step, WriteFile, group_id, perform
from coordd.util.text import escape

NOBODY = 65534
"""The user that stands for one that systemd allocates at start (systemd.exec(5), DynamicUser=)."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is installed, by which manager, in which layout; ``say`` prints a line for the caller."""

    wanted: Wanted
    setting: Setting
    manager: Manager
    layout: Layout
    say: Callable[[str], None]

    @property
    def services(self) -> tuple[Service, ...]:
        """The daemon, and others if they are asked for or installed already, since they are upgraded too."""
        asked = self.wanted.asked
        return tuple(one for one in SERVICES if one == COORDD or one in asked or self.manager.installed(one))

    def install(self, *, dry_run: bool = False) -> None:
        """Install the service, start it, wait for its answer, and say what to do next.

        Raises:
            InstallError: with what to do about it; running the command again continues where it ended.
            ConfigError: the existing configuration cannot be used; nothing was changed.
        """
        manager, say = self.manager, self.say
        services = self.services
        self._check_user()
        if DASHBOARD in services:
            check_packages(asked=self.wanted.dashboard)
        if self.wanted.alerts:
            alerts.check_apprise(self.layout)
        self._check_configuration(dry_run=dry_run)
        preparing = [*manager.accounts(COORDD), *self._configuration()]
        accounts = {one: manager.accounts(one) for one in services if one != COORDD}
        if dry_run:
            preparing += [step for steps in accounts.values() for step in steps]
            later = [step for one in services for step in (*self._placing(one), *self._starting(one))]
            perform([*preparing, *later, *self._linking()], say=say, dry_run=True)
            names = [one.name for one in services if not self._rests(one)]
            listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
            verb = "answers" if len(names) == 1 else "answer"
            say(f"would wait until {listed} {verb}, and try each project as the user that will read it")
            return
        changed = perform(preparing, say=say)
        anew = {one: perform(steps, say=say) for one, steps in accounts.items()}
        self._check_programs(services)
        config = configured(self.layout, self._environ())
        for one in services:  # write each unit only in its turn, so that a failure leaves it as it is
            placed = perform(self._placing(one), say=say)
            self._start(one, config.control.socket, changed=changed or placed or anew.get(one, False))
        for line in manager.lasting():
            say(line)
        for step in self._linking():
            try:
                perform([step], say=say)
            except InstallError as error:
                say(not_linked(error))
        for line in manager.granted():
            say(line)
        self._tell_workspaces(config.coordination.workspaces)
        if ALERT in services:
            self._tell_alerts()
        self._tell_next(services)

    def _check_configuration(self, *, dry_run: bool) -> None:
        """Raise ConfigError where the configuration cannot be used; who only asks may not read it."""
        try:
            configured(self.layout, self._environ())
        except ConfigError as error:
            if not dry_run or not isinstance(error.__cause__, PermissionError):
                raise
            self.say(f"unchecked  {self.layout.config_file}, which you may not read")

    def _configuration(self) -> list[Step]:
        system = self.wanted.scope == "system"
        owner = ("root", GROUP) if system else None
        text = default_text(
            self.wanted,
            self.layout,
            check=f"coordd check-config --layout {self.wanted.scope}",
            reload=self.manager.reload_command(COORDD),
        )
        return [
            MakeDirectory(os.path.dirname(self.layout.config_file), 0o750 if system else 0o700, owner),
            WriteFile(self.layout.config_file, text, 0o640 if system else 0o600, owner, keep=True),
        ]

    def _placing(self, service: Service) -> list[Step]:
        """Return the steps for the service's files; the system's dashboard also needs a token."""
        locked = service == DASHBOARD and self.wanted.scope == "system"
        token = [MakeToken(token_file(self.layout), GROUP)] if locked else []
        return [*token, *self.manager.files([service])]

    def _linking(self) -> list[Link]:
        return linking(self.setting.programs) if self.wanted.scope == "system" else []

    def _rests(self, service: Service) -> bool:
        """Return whether it is installed, stopped and not asked for; then it stays stopped."""
        left = service != COORDD and service not in self.wanted.asked
        return left and not self.manager.active(service)

    def _starting(self, service: Service) -> list[Step]:
        if self._rests(service):
            return self.manager.reading()
        return self.manager.starting(service, enable=service == COORDD or service in self.wanted.asked)

    def _endpoint(self, service: Service, socket: str) -> ServiceAddress | None:
        """Return where it answers; None if a changed command line does not tell."""
        if service == COORDD:
            return ServiceAddress(socket, lambda: version_behind(socket))
        if service == ALERT:
            control = self._alerts_socket()
            return ServiceAddress(control, lambda: alerts.version_behind(control))
        try:
            address = parse_address(listen_of(self.manager.command(service)) or DEFAULT)
        except BadAddress:
            return None
        return ServiceAddress(address.url(address.port), lambda: version_at(address))

    def _start(self, service: Service, socket: str, *, changed: bool) -> None:
        name = service.name
        if self._rests(service):
            perform(self._starting(service), say=self.say)
            option = "--dashboard" if service == DASHBOARD else "--alerts"
            self.say(f"{'stopped':<9}  {name} stays so; with {option} it is started")
            return
        endpoint = self._endpoint(service, socket)
        running = not changed and endpoint is not None and self.manager.active(service)
        if running and endpoint is not None and endpoint.version() == __version__:
            self.say(
                f"{'running':<9}  {name} {__version__} on {escape(endpoint.place)}, and nothing has changed"
            )
            return
        problem: str | None = None
        try:
            perform(self._starting(service), say=self.say)
        except InstallError as error:
            problem = str(error)
        endpoint = self._endpoint(service, socket)  # a changed unit has been read by now
        version = wait_for_answer(endpoint) if problem is None and endpoint is not None else None
        if version is not None and endpoint is not None:
            self.say(f"{'answers':<9}  {name} {version} on {escape(endpoint.place)}")
            return
        where = (
            f"answers on {endpoint.place}"
            if endpoint is not None
            else "can be asked: its --listen means nothing"
        )
        problem = problem or f"nothing {where} within {DEADLINE:g} s"
        said = "".join([f"  {escape(line)}\n" for line in self.manager.said(service).splitlines()])
        raise InstallError(
            f"{name} is in place, but does not start: {problem}\n"
            + (f"The last it said:\n{said}" if said else "")
            + "Mend that, then run the same command again."
        )

    def _check_programs(self, services: Sequence[Service]) -> None:
        own = self._uid()
        check_program(self.setting.programs["coordd"], user_of(own), same=own == os.geteuid())
        if DASHBOARD in services and self.wanted.scope == "system" and self.manager.own_users:
            check_visible(self.setting.programs)
            nobody = Credentials(NOBODY, frozenset({group_id(GROUP)}))
            check_program(self.setting.programs["coordctl"], nobody, same=False)
        if ALERT in services and self.wanted.scope == "system" and self.manager.own_users:
            teller = user_of(pwd.getpwnam(ALERT_USER).pw_uid)
            check_program(self.setting.programs[ALERT.name], teller, same=False)

    def _check_user(self) -> None:
        if self.wanted.scope == "system" and self.wanted.run_as != USER:
            try:
                pwd.getpwnam(self.wanted.run_as)
            except KeyError:
                raise InstallError(
                    f"--run-as {self.wanted.run_as}: there is no such user. Make it first, or leave the "
                    f"option out: coordd then makes a user {USER} of its own."
                ) from None

    def _uid(self) -> int:
        return pwd.getpwnam(self.wanted.run_as).pw_uid if self.wanted.scope == "system" else self.setting.uid

    def _reader(self) -> Credentials:
        """Return the service's user, with the right to read everything where that was given."""
        user = user_of(self._uid())
        return replace(user, capabilities=READ_ALL) if self.manager.granted() else user

    def _environ(self) -> Mapping[str, str]:
        return service_environment(self.wanted, self.setting)

    def _tell_workspaces(self, workspaces: Sequence[str]) -> None:
        self.say("")
        if not workspaces:
            self.say(
                f'No project is watched yet: name some in {self.layout.config_file}, workspaces = ["/path/*"]'
            )
        system = self.wanted.scope == "system"
        sandboxed = system and self.manager.private_tmp
        for finding in [
            *(check_owner(self.setting.programs["coordd"][0]) if system else []),
            *check_readable(workspaces, self._reader(), sandboxed=sandboxed),
        ]:
            self._tell_finding(finding)

    def _tell_alerts(self) -> None:
        for finding in alerts.check_actions(self._alerts_socket()):
            self._tell_finding(finding)

    def _tell_finding(self, finding: Finding) -> None:
        self.say(f"{finding.result:<9}  {escape(finding.message)}")
        if finding.fix is not None:
            self.say(f"{'':<9}  fix: {escape(finding.fix)}")

    def _tell_next(self, services: Sequence[Service]) -> None:
        with open(self.layout.config_file, encoding="utf-8") as file:
            missing = missing_in(file.read(), self.wanted)
        if missing:
            self.say(
                f"\n{self.layout.config_file} is yours and stays as it is. For what you asked for, put below "
                "its [coordination]:"
            )
            for line in missing:
                self.say(f"  {escape(line)}")
        dashboard = self._endpoint(DASHBOARD, "") if DASHBOARD in services else None
        lines = next_lines(
            self.setting,
            self.manager,
            self.layout,
            services,
            dashboard=None if dashboard is None else dashboard.place,
        )
        width = max(len(command) for command, _ in lines)
        self.say("\nNext:")
        for command, what in lines:
            self.say(f"  {command:<{width}}  {what}")

    def _alerts_socket(self) -> str:
        return alerts.control_socket(self.wanted.scope, self._environ())


def service_environment(wanted: Wanted, setting: Setting) -> Mapping[str, str]:
    """Return the environment of the service: none of the caller's COORDD_* variables."""
    if wanted.scope == "system":
        return {"HOME": HOME if wanted.run_as == USER else pwd.getpwnam(wanted.run_as).pw_dir}
    kept = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
    return {name: setting.environ[name] for name in kept if setting.environ.get(name)}
