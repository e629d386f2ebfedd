"""Remove services, and with ``purge`` also what they wrote and were given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coordd.config.layout import Layout
from coordd.errors import ConfigError
from coordd.installer import alerts
from coordd.installer.configuration import configured
from coordd.installer.dashboard import token_file
from coordd.installer.links import unlinking
from coordd.installer.managers import Manager
from coordd.installer.services import ALERT, DASHBOARD, SERVICES, Programs, Service, Wanted
from coordd.installer.steps import Remove, Step, perform

_NAMES = {DASHBOARD: "the dashboard", ALERT: "coordd-alert"}
_OPTIONS = {DASHBOARD: "--dashboard", ALERT: "--alerts"}


@dataclass(frozen=True, slots=True)
class Removal:
    """What is removed: all services, or those alone that are named.

    ``environ`` is the service's; ``programs`` are those of this installation; ``command`` is how the caller
    types coordd; ``say`` prints a line for the caller.
    """

    wanted: Wanted
    manager: Manager
    layout: Layout
    environ: Mapping[str, str]
    programs: Programs
    command: str
    say: Callable[[str], None]

    def uninstall(self, *, purge: bool, dry_run: bool = False) -> None:
        """Stop the services and remove them; with ``purge`` also configuration, records and user.

        Raises:
            InstallError: with what to do about it.
        """
        named = self.wanted.asked
        services = named or SERVICES
        data = self._data(named)
        elsewhere = [] if named else self._named_elsewhere(data)
        # the clients are removed before the daemon that they ask
        installed = [one for one in reversed(services) if self.manager.installed(one)]
        links = unlinking(self.programs) if self.wanted.scope == "system" and not named else []
        if installed:
            perform(self.manager.removing(installed), say=self.say, dry_run=dry_run)
        elif not purge:
            what = " and ".join([_NAMES[one] for one in named]) or "coordd"
            self.say(
                f"{what} {'are' if len(named) > 1 else 'is'} not installed as a service here; nothing to do"
            )
            return
        perform(links, say=self.say, dry_run=dry_run)
        there = [path for path in data if os.path.lexists(path)]
        if purge:
            steps: list[Step] = [Remove(path, tree=os.path.isdir(path)) for path in data]
            perform([*steps, *self.manager.purging(services)], say=self.say, dry_run=dry_run)
            for path in elsewhere:
                self.say(f"kept       {path}, which the configuration named; remove it yourself")
        elif there and not dry_run:
            self.say(f"kept       {', '.join(there)}")
            words = ["uninstall", *(["--system"] if self.wanted.scope == "system" else [])]
            words += [_OPTIONS[one] for one in named]
            self.say(f"\nTo remove that too: {self.command} service {' '.join(words)} --purge")

    def _data(self, named: Sequence[Service]) -> list[str]:
        """Return the directories and files of all services, or of the named ones."""
        told = alerts.data_directory(self.wanted.scope, self.environ)
        if not named:
            folders = data_directories(self.layout)
            return folders if any(_is_in(told, one) for one in folders) else [*folders, told]
        by_service = {DASHBOARD: token_file(self.layout), ALERT: told}
        return [by_service[one] for one in named]

    def _named_elsewhere(self, data: Sequence[str]) -> list[str]:
        """Return the record directories that the configuration names outside of the layout."""
        try:
            storage = configured(self.layout, self.environ).storage
        except (ConfigError, KeyError):
            return []
        named = dict.fromkeys([storage.metrics_dir, storage.log_dir])
        return [path for path in named if not any(_is_in(path, own) for own in data)]


def data_directories(layout: Layout) -> list[str]:
    """Return the directories of a layout, each once, and none inside another."""
    folders = [
        os.path.dirname(layout.config_file),
        os.path.dirname(layout.snapshot),
        layout.log_dir,
        os.path.dirname(layout.socket),
    ]
    unique = list(dict.fromkeys(folders))
    return [path for path in unique if not any(path != other and _is_in(path, other) for other in unique)]


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
