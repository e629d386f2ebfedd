"""Installing and removing: the order of things, whichever manager it is, and what the caller is told."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coordd import __version__
from coordd.cli.access import user_of
from coordd.client import Client
from coordd.errors import ClientError, ConfigError, InstallError
from coordd.installer.configuration import configured, default_text, missing_in
from coordd.installer.managers import Manager, Setting
from coordd.installer.readers import check_owner, check_program, check_readable
from coordd.installer.services import COORDD, GROUP, HOME, SERVICES, USER, Service, Wanted
from coordd.installer.steps import MakeDirectory, Remove, Step, WriteFile, perform
from coordd.layout import Layout
from coordd.text import escape

ANSWER_DEADLINE = 60.0
"""Seconds in which a started service has to answer; systemd has waited for READY before."""
PING_DEADLINE = 2.0
PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Installation:
    """What is installed, by which manager, in which layout; ``say`` takes a line for the caller.

    ``services`` begin with the daemon.
    """

    wanted: Wanted
    setting: Setting
    manager: Manager
    layout: Layout
    say: Callable[[str], None]
    services: Sequence[Service] = (COORDD,)

    def install(self, *, dry_run: bool = False) -> None:
        """Put the service in place, start it, wait for its answer, and say what to do next.

        Raises:
            InstallError: with what to do about it; running it again goes on where it ended.
            ConfigError: the configuration that is there cannot be used; nothing was touched.
        """
        manager, say = self.manager, self.say
        self._check_user()
        configured(self.layout, self._environment())
        preparing = [*manager.accounts(), *self._configuration()]
        placing = manager.files(self.services)
        if dry_run:
            starting = [step for one in self.services for step in manager.starting(one)]
            perform([*preparing, *placing, *starting], say=say, dry_run=True)
            say("would wait until coordd answers, and try each project as the user that will read it")
            return
        changed = perform(preparing, say=say)
        check_program(self.setting.programs["coordd"], user_of(self._uid()), same=self._uid() == os.geteuid())
        changed = perform(placing, say=say) or changed
        config = configured(self.layout, self._environment())
        self._start(config.control.socket, changed=changed)
        for line in manager.lasting():
            say(line)
        self._tell_workspaces(config.coordination.workspaces)
        self._tell_next()

    def uninstall(self, *, purge: bool, dry_run: bool = False) -> None:
        """Stop the service and take it away; with ``purge`` its configuration, records and user too.

        Raises:
            InstallError: with what to do about it.
        """
        data = data_directories(self.layout)
        elsewhere = self._named_elsewhere(data)
        installed = [one for one in SERVICES if self.manager.installed(one)]
        if installed:
            perform(self.manager.removing(installed), say=self.say, dry_run=dry_run)
        elif not purge:
            self.say("coordd is not installed as a service here; nothing to do")
            return
        there = [path for path in data if os.path.isdir(path)]
        if purge:
            steps = [Remove(path, tree=True) for path in data]
            perform([*steps, *self.manager.purging()], say=self.say, dry_run=dry_run)
            for path in elsewhere:
                self.say(f"kept       {path}, which the configuration named; remove it yourself")
        elif there and not dry_run:
            self.say(f"kept       {', '.join(there)}")
            option = " --system" if self.wanted.scope == "system" else ""
            self.say(f"\nTo remove that too: {self._shown('coordd')} service uninstall{option} --purge")

    def _configuration(self) -> list[Step]:
        system = self.wanted.scope == "system"
        owner = ("root", GROUP) if system and self.layout.config_file.startswith("/etc/") else None
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

    def _start(self, socket: str, *, changed: bool) -> None:
        if not changed and self.manager.active(COORDD) and version_behind(socket) == __version__:
            self.say(f"{'running':<9}  coordd {__version__} on {socket}, and nothing has changed")
            return
        problem: str | None = None
        try:
            for one in self.services:
                perform(self.manager.starting(one), say=self.say)
        except InstallError as error:
            problem = str(error)
        version = wait_for_answer(socket) if problem is None else None
        if version is not None:
            self.say(f"{'answers':<9}  coordd {version} on {socket}")
            return
        problem = problem or f"nothing answers on {socket} within {ANSWER_DEADLINE:g} s"
        said = "".join([f"  {escape(line)}\n" for line in self.manager.said(COORDD).splitlines()])
        raise InstallError(
            f"coordd is in place, but does not start: {problem}\n"
            + (f"The last it said:\n{said}" if said else "")
            + "Mend that, then run the same command again."
        )

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

    def _environment(self) -> Mapping[str, str]:
        """What the service has: none of the caller's COORDD_* variables."""
        if self.wanted.scope == "system":
            return {"HOME": HOME if self.wanted.run_as == USER else pwd.getpwnam(self.wanted.run_as).pw_dir}
        kept = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
        return {name: self.setting.environ[name] for name in kept if self.setting.environ.get(name)}

    def _named_elsewhere(self, data: Sequence[str]) -> list[str]:
        """Record directories that the configuration names outside of the layout's own."""
        try:
            storage = configured(self.layout, self._environment()).storage
        except (ConfigError, KeyError):
            return []
        named = dict.fromkeys([storage.metrics_dir, storage.log_dir])
        return [path for path in named if not any(path == own or path.startswith(f"{own}/") for own in data)]

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
            *check_readable(workspaces, user_of(self._uid()), sandboxed=sandboxed),
        ]:
            self.say(f"{finding.result:<9}  {escape(finding.message)}")
            if finding.fix is not None:
                self.say(f"{'':<9}  fix: {escape(finding.fix)}")

    def _tell_next(self) -> None:
        with open(self.layout.config_file, encoding="utf-8") as file:
            missing = missing_in(file.read(), self.wanted)
        if missing:
            self.say(
                f"\n{self.layout.config_file} is yours and stays as it is. For what you asked for, put below "
                "its [coordination]:"
            )
            for line in missing:
                self.say(f"  {escape(line)}")
        lines = [
            (f"{self._shown('coordctl')} status", "who is alive, who is not"),
            *self.manager.hints(COORDD),
            (self.manager.reload_command(COORDD), f"after a change of {self.layout.config_file}"),
        ]
        if self.wanted.scope == "system":
            person = self.setting.environ.get("SUDO_USER") or "NAME"
            if not _is_member(person):
                add = self.manager.member_command(person)
                lines.insert(0, (add, f"{person} may ask, from the next login on"))
        width = max(len(command) for command, _ in lines)
        self.say("\nNext:")
        for command, what in lines:
            self.say(f"  {command:<{width}}  {what}")

    def _shown(self, name: str) -> str:
        """How the caller types one of our commands: its name where that finds this installation."""
        programs = self.setting.programs
        argv = programs[name]
        found = shutil.which(name)
        return name if found is not None and found == argv[0] else shlex.join(argv)


def _is_member(person: str) -> bool:
    try:
        entry = pwd.getpwnam(person)
        return grp.getgrnam(GROUP).gr_gid in os.getgrouplist(person, entry.pw_gid)
    except KeyError:
        return False


def version_behind(socket: str) -> str | None:
    """The version of the daemon that answers on this socket, None where none does."""
    try:
        with Client(socket, PING_DEADLINE) as client:
            return str(client.call("ping").get("version"))
    except (OSError, ClientError, AttributeError):
        return None


def wait_for_answer(socket: str, seconds: float = ANSWER_DEADLINE) -> str | None:
    """The version of the daemon once it answers, None where it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        version = version_behind(socket)
        if version is not None or time.monotonic() > deadline:
            return version
        time.sleep(PAUSE)


def data_directories(layout: Layout) -> list[str]:
    """The directories of a layout, each once, and none inside of another."""
    folders = [
        os.path.dirname(layout.config_file),
        os.path.dirname(layout.snapshot),
        layout.log_dir,
        os.path.dirname(layout.socket),
    ]
    unique = list(dict.fromkeys(folders))
    return [path for path in unique if not any(path.startswith(f"{other}/") for other in unique)]
