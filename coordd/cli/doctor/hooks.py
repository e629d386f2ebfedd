"""Check the hooks of Claude Code: whether they are installed, and when they last told anything."""

from __future__ import annotations

import os
import stat
import time
from itertools import islice
from typing import TYPE_CHECKING

from coordd.cli.agent_places import short_path
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.hook_switches import (
    document,
    off_in_project,
    off_of_user,
    off_on_machine,
)
from coordd.cli.hooks import places, script, undo
from coordd.cli.hooks.entries import found_groups, groups
from coordd.util.shell import shell_word
from coordd.util.text import ago, shown
from coordd.util.untyped import dicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from coordd.cli.doctor.facts import DoctorFacts
    from coordd.cli.doctor.hook_switches import Off

_INSTALL = "coordctl hooks install"
_LISTED = 20
"""Settings that are named, and projects that are looked at, at most."""
_FILES = 50_000
"""Files that hooks left which are looked at."""


def check_hooks(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that hooks which are installed are called, and say when they last told anything.

    Whose hooks: those of the user of this process, if that is the daemon's. Those that are called have one
    line, and so has each setting that keeps others from it.
    """
    if facts.me.uid != facts.daemon.uid:
        return
    of_user = places.of_user(os.environ, places.known_homes(facts.status))
    users = [*of_user, *_changed_before(of_user)]
    projects = list(_of_projects(facts.status))
    found = {one.path: _found(one) for one in (*users, *projects)}
    installed = [path for path, hooks in found.items() if hooks]
    if not installed:
        yield Finding(
            "hooks",
            "ok",
            "hooks of Claude Code are not installed; its sessions are seen all the same, but for those in "
            f"containers ('{_INSTALL}')",
        )
        return
    yield from _as_written({path: found[path] for path in installed})
    if (off := off_on_machine()) is not None:
        yield _off(off, installed)
        return
    called = []
    for one in users:
        if found[one.path] and (off := off_of_user(one)) is not None:
            yield _off(off, [one.path])
        elif found[one.path]:
            called.append(one.path)
    everywhere = bool(called)
    for one in projects:
        off = off_in_project(one, [] if everywhere else of_user)
        if off is not None and (found[one.path] or everywhere):
            yield _off(off, [one.path], in_project=everywhere)
        elif found[one.path]:
            called.append(one.path)
    if called and os.access(script.path_of(os.environ), os.X_OK):
        yield _last_sign(called, [one.path for one in of_user if everywhere and not found[one.path]])


def _as_written(found: Mapping[str, list[tuple[str, dict[str, object]]]]) -> Iterator[Finding]:
    """Check that hooks call what this coordd has them call."""
    path = script.path_of(os.environ)
    runs = os.access(path, os.X_OK)
    if not runs or not script.is_current(path):
        problem = "is that of another coordd" if runs else "is missing, or cannot be run"
        message = f"the script that the hooks in {_named([*found])} call {problem}"
        yield Finding("hooks", "warn", message, _INSTALL)
    wanted = groups(path)
    for one, hooks in islice(found.items(), _LISTED):
        if any(entry not in hooks for entry in wanted):
            option = " --project" if one.endswith("settings.local.json") else ""
            message = f"the hooks in {_short(one)} are not those of this coordd"
            yield Finding("hooks", "warn", message, f"{_INSTALL}{option}")


def _off(off: Off, settings: Sequence[str], *, in_project: bool = False) -> Finding:
    which = (
        "no hook is called in that project"
        if in_project
        else f"the hooks in {_named(settings)} are not called"
    )
    return Finding("hooks", "warn", f"{off.why}: {which}", off.fix)


def _named(paths: Sequence[str]) -> str:
    return ", ".join(_short(one) for one in paths[:_LISTED])


def _last_sign(called: Sequence[str], without: Sequence[str]) -> Finding:
    """Say when the last hook told something; ``without`` are homes whose sessions have none."""
    folder, last = _folder(os.environ), None
    if os.path.isdir(folder):
        if not os.access(folder, os.W_OK | os.X_OK):
            message = f"hooks may not write to {_short(folder)}; its owner is uid {os.stat(folder).st_uid}"
            return Finding("hooks", "warn", message, f"sudo chown -R {os.geteuid()} {shell_word(folder)}")
        last = _newest(folder)
    told = f"the last one told something {ago(last)}"
    if last is None:
        told = "none has told anything yet: sessions that were started before go on without them"
    but = f", but not in {_named(without)} ('{_INSTALL}')" if without else ""
    return Finding("hooks", "ok", f"hooks are installed in {_named(called)}{but}; {told}")


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
    return list(found_groups(document(settings)))


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
