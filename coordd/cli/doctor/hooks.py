"""Check the hooks of Claude Code: whether they are installed, and when they last told anything."""

from __future__ import annotations

import os
import stat
import time
from itertools import islice
from typing import TYPE_CHECKING

from coordd.cli.agent_places import short_path
from coordd.cli.doctor.findings import Finding
from coordd.cli.hooks import places, script, undo
from coordd.cli.hooks.edit import BOM
from coordd.cli.hooks.entries import found_groups, groups
from coordd.cli.hooks.json_spans import BadJson, parse
from coordd.cli.hooks.settings_file import HooksError, read
from coordd.util.shell import shell_word
from coordd.util.text import ago, shown
from coordd.util.untyped import dicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from coordd.cli.doctor.facts import DoctorFacts

_INSTALL = "coordctl hooks install"
_LISTED = 20
"""Settings that are named, and projects that are looked at, at most."""
_FILES = 50_000
"""Files that hooks left which are looked at."""


def check_hooks(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that hooks which are installed can be called, and say when they last told anything.

    Whose hooks: those of the user of this process, if that is the daemon's.
    """
    if facts.me.uid != facts.daemon.uid:
        return
    of_user = places.of_user(os.environ, places.known_homes(facts.status))
    listed = [*of_user, *_changed_before(of_user), *_of_projects(facts.status)]
    found = {one.path: _found(one) for one in listed}
    installed = [path for path, hooks in found.items() if hooks]
    if not installed:
        yield Finding(
            "hooks",
            "ok",
            "hooks of Claude Code are not installed; its sessions are seen all the same, but for those in "
            f"containers ('{_INSTALL}')",
        )
        return
    path = script.path_of(os.environ)
    named = ", ".join(_short(one) for one in installed[:_LISTED])
    runs = os.access(path, os.X_OK)
    if not runs or not script.is_current(path):
        problem = "is that of another coordd" if runs else "is missing, or cannot be run"
        yield Finding("hooks", "warn", f"the script that the hooks in {named} call {problem}", _INSTALL)
    wanted = groups(path)
    for one in installed[:_LISTED]:
        if any(entry not in found[one] for entry in wanted):
            option = " --project" if one.endswith("settings.local.json") else ""
            message = f"the hooks in {_short(one)} are not those of this coordd"
            yield Finding("hooks", "warn", message, f"{_INSTALL}{option}")
        if _disabled(one):
            message = f"disableAllHooks is set in {_short(one)}: no hook is called"
            yield Finding("hooks", "warn", message, "take it out of there")
    if runs:
        yield _last_sign(named)


def _last_sign(named: str) -> Finding:
    folder, last = _folder(os.environ), None
    if os.path.isdir(folder):
        if not os.access(folder, os.W_OK | os.X_OK):
            message = f"hooks may not write to {_short(folder)}; its owner is uid {os.stat(folder).st_uid}"
            return Finding("hooks", "warn", message, f"sudo chown -R {os.geteuid()} {shell_word(folder)}")
        last = _newest(folder)
    told = f"the last one told something {ago(last)}"
    if last is None:
        told = "none has told anything yet: sessions that were started before go on without them"
    return Finding("hooks", "ok", f"hooks are installed in {named}; {told}")


def _newest(folder: str) -> float | None:
    """Return the seconds since the newest file was touched; None without any file."""
    newest = None
    with os.scandir(folder) as entries:
        for one in islice(entries, _FILES):
            try:
                state = one.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(state.st_mode):
                newest = state.st_mtime if newest is None else max(newest, state.st_mtime)
    return None if newest is None else max(0.0, time.time() - newest)


def _folder(environ: Mapping[str, str]) -> str:
    """Return where hooks that run in this environment write."""
    home = environ.get("HOME") or os.path.expanduser("~")
    state = environ.get("XDG_STATE_HOME", "")
    chosen = state if os.path.isabs(state) else os.path.join(home, ".local", "state")
    return os.path.join(chosen, "coordd", "hooks")


def _found(settings: places.Settings) -> list[tuple[str, dict[str, object]]]:
    """Return the hooks of coordd in a settings file; none in one that cannot be read."""
    return list(found_groups(_document(settings.path, settings.within)))


def _disabled(path: str) -> bool:
    document = _document(path, None)
    return isinstance(document, dict) and document.get("disableAllHooks") is True


def _document(path: str, within: str | None) -> object:
    try:
        return parse(read(path, within=within).text.removeprefix(BOM))
    except (HooksError, BadJson):
        return None


def _changed_before(of_user: list[places.Settings]) -> Iterator[places.Settings]:
    """Yield further settings of the user that hooks were put into: an environment named them then."""
    known = {os.path.realpath(one.path) for one in of_user}
    kept = (one for one in undo.kept_of_user(undo.folder_of(os.environ)) if isinstance(one, str))
    further = (one for one in kept if os.path.realpath(one) not in known)
    yield from map(places.Settings, islice(further, _LISTED))


def _of_projects(status: Mapping[str, object]) -> Iterator[places.Settings]:
    """Yield the local settings of the projects that are watched."""
    for one in dicts(status.get("workspaces"))[:_LISTED]:
        path = one.get("path")
        if isinstance(path, str) and os.path.isabs(path):
            yield places.Settings(
                os.path.join(path, ".claude", "settings.local.json"), os.path.realpath(path)
            )


def _short(path: str) -> str:
    return shown(short_path(path, os.environ.get("HOME")))
