"""Find the settings of Claude Code that keep installed hooks from being called.

What keeps which hooks is a table in coordd/cli/hooks/switches.py; here the settings are read.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from coordd.cli.agent_places import short_path
from coordd.cli.hooks import switches
from coordd.cli.hooks.edit import BOM
from coordd.cli.hooks.json_spans import BadJson, parse
from coordd.cli.hooks.places import Settings
from coordd.cli.hooks.settings_file import HooksError, read
from coordd.util.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_MANAGED_FILES = 100


class Off(NamedTuple):
    """Say why hooks are not called, and what to do about it."""

    why: str
    fix: str


def document(settings: Settings) -> object:
    """Return what a settings file holds; None for one that is not there, or cannot be read."""
    try:
        return parse(read(settings.path, within=settings.within).text.removeprefix(BOM))
    except (HooksError, BadJson):
        return None


def machines() -> list[Settings]:
    """Return the machine's settings, those that count most last."""
    folder = os.path.join(switches.MANAGED, "managed-settings.d")
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in islice(entries, _MANAGED_FILES) if one.name.endswith(".json")]
    except OSError:
        names = []
    paths = [
        os.path.join(switches.MANAGED, "managed-settings.json"),
        *(os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")),
    ]
    return [Settings(path) for path in paths]


def off_on_machine() -> Off | None:
    """Return what in the machine's settings keeps the hooks of all others from being called."""
    for one in machines():
        word = switches.kept_to_managed(document(one))
        if word is not None:
            return Off(
                _set_in(word, one.path), f"ask whoever administers this machine about {shown(one.path)}"
            )
    return None


def off_of_user(settings: Settings) -> Off | None:
    """Return what in a home's settings keeps its hooks from being called."""
    return _off(settings) if switches.disables(document(settings)) else None


def off_in_project(settings: Settings, of_user: Sequence[Settings]) -> Off | None:
    """Return what keeps hooks from being called in a project.

    Args:
        settings: its local ones.
        of_user: the user's, which count where the project says nothing.
    """
    shared = settings._replace(path=os.path.join(os.path.dirname(settings.path), "settings.json"))
    for one in (settings, shared):
        if (disabled := switches.disables(document(one))) is not None:
            return _off(one) if disabled else None
    return next((off for off in map(off_of_user, of_user) if off is not None), None)


def _off(settings: Settings) -> Off:
    return Off(_set_in("disableAllHooks", settings.path), "take it out of there")


def _set_in(word: str, path: str) -> str:
    return f"{word} is set in {shown(short_path(path, os.environ.get('HOME')))}"
