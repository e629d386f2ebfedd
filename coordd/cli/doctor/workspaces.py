"""Check the workspaces: whether the daemon can read them, and how it learns of changes."""

from __future__ import annotations

import errno
import os
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    AccessObstacle,
    Credentials,
    ask_as,
    grant,
    in_letters,
    owner_and_mode,
    user_class,
)
from coordd.cli.doctor.findings import Finding, Result
from coordd.cli.doctor.trying import find_obstacle, no_directory, obstacle_on, obstacle_on_the_way
from coordd.cli.workspace_words import entry_lines, none_named
from coordd.errors import CannotTell
from coordd.protocol.paths import workspace_above
from coordd.util.shell import shell_word
from coordd.util.text import enumerated
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.doctor.facts import DoctorFacts

FOLDERS = {
    "agents": (".heartbeat", ".tasks", ".active", "active.list"),
    "claims": (".claim", ".json"),
    "tasks": (),  # their names alone count
    "status": (".progress",),
}
"""The folders of traces, and how the names of those end whose content is read."""
_NAMED = "correct --workspace or coordination.workspaces, whichever names it"
MAX_FILES = 20_000
"""Files checked in one folder at most; further ones are most likely like these."""
WATCHES_FIX = (
    "sudo sysctl {key}=524288, and put '{key} = 524288' into /etc/sysctl.d/90-coordd.conf to keep it"
)


def check_workspaces(facts: DoctorFacts) -> Iterator[Finding]:
    """Check that every workspace is readable for the daemon's user, and followed."""
    workspaces = _workspaces(facts)
    watched_elsewhere = facts.section("redis").get("configured") or dicts(facts.status.get("sources"))
    if not workspaces and not watched_elsewhere and _finds_sessions(facts):
        yield Finding(
            "workspace",
            "ok",
            f"none is named, and none has to be: {_sessions(facts)} sessions appear by themselves, "
            "and projects are watched while they work there",
        )
    elif not workspaces and dicts(facts.status.get("workspace_entries")):
        for entry in dicts(facts.status.get("workspace_entries")):
            yield Finding(
                "workspace",
                "warn",
                entry_lines(entry, None)[0],
                "correct coordination.workspaces if it is wrong",
            )
    elif not workspaces and facts.section("daemon").get("mode") == "redis":
        yield Finding("workspace", "ok", none_named(dict(facts.status)))
    elif not workspaces and not watched_elsewhere:
        yield Finding(
            "workspace",
            "warn",
            "none is watched",
            "coordd run --workspace DIR, or name them in coordination.workspaces and 'coordctl reload'",
        )
    for path, state, error in workspaces:
        yield check_workspace(path, state, error, facts.daemon, ask=facts.ask)


def check_workspace(
    path: str, state: str | None, error: str | None, user: Credentials, *, ask: str = "coordctl doctor"
) -> Finding:
    """Check one workspace; ``state`` and ``error`` are what the daemon reports, None if it does not run.

    ``ask`` is the command to type as somebody who can tell more.
    """
    coordination = os.path.join(path, ".claude", "coordination")
    untried = None
    try:
        denied = find_obstacle(user, partial(find_denied, path))
    except OSError as hung:
        see = f"look at its mount: findmnt -T {shell_word(path)}"
        return Finding("workspace", "warn", f"{path}: cannot tell: {hung}", see)
    except CannotTell as reason:  # only what the daemon reports is known
        untried = str(reason)
        denied = AccessObstacle(coordination, READ, errno=errno.ENOENT) if state == "waiting" else None
    if denied is not None and (denied.kind or denied.errno is None):
        return _misplaced(path, denied) if denied.kind else _closed(path, coordination, denied, user)
    if denied is not None and denied.missing:
        return _missing(path, denied.path, state)
    if denied is not None:
        untried = f"nobody may look at {denied.path}"
    if state == "unreadable":
        return Finding(
            "workspace",
            "fail",
            f"{path} cannot be read by the daemon: {error}; {untried or f'{user.name} may read it'}",
            "look for a sandbox (ProtectHome=, ReadWritePaths= of the service), a hung mount, or SELinux",
        )
    if untried is not None and state is None:
        words = f"{path}: cannot tell whether {user.name} may read it: {untried}"
        return Finding("workspace", "warn", words, ask_as(user, ask))
    return _read(
        path, state, error, f"is readable for {user.name}" if untried is None else f"is read; {untried}"
    )


def _misplaced(path: str, found: AccessObstacle) -> Finding:
    """Return the finding for something else in place of a directory: no right would help."""
    there = shell_word(found.path)
    words = found.path if found.path == path else f"{path}: {found.path}"
    words += f" is {found.kind}, not a directory"
    if found.path == path or not found.path.startswith(f"{path}/"):
        fix = f"{_NAMED}; see what is there: ls -ld {there}"
    else:
        fix = f"move it away: mv {there} {shell_word(found.path + '.other')}"
    return Finding("workspace", "fail", words, fix)


def _missing(path: str, missing: str, state: str | None) -> Finding:
    coordination = os.path.join(path, ".claude", "coordination")
    words = f"{missing} does not exist"
    if not os.path.isdir(path):
        result: Result = "fail" if state == "unreadable" else "warn"
        return Finding("workspace", result, words, f"{_NAMED}; or: mkdir -p {shell_word(path)}")
    words += ": no agent has coordinated there yet"
    if state == "unreadable":
        return Finding("workspace", "fail", words, _first_agent(coordination))
    return Finding("workspace", "ok", f"{words}; it is awaited, and sessions are seen without it")


def _read(path: str, state: str | None, error: str | None, words: str) -> Finding:
    if state == "poll":
        key = next((k for k in ("max_user_watches", "max_user_instances") if k in str(error)), None)
        fix = None if key is None else WATCHES_FIX.format(key=f"fs.inotify.{key}")
        return Finding(
            "workspace", "ok" if fix is None else "warn", f"{path} {words}, and polled: {error}", fix
        )
    followed = ", and followed by inotify" if state == "inotify" else ""
    return Finding("workspace", "ok", f"{path} {words}{followed}")


def find_denied(path: str) -> AccessObstacle | None:
    """Return what the user of this process may not read of a workspace: the way to it, folders, files."""
    coordination = os.path.join(path, ".claude", "coordination")
    steps = (path, os.path.dirname(coordination), coordination)
    agents = os.path.join(coordination, "agents")
    obstacle = next(filter(None, map(no_directory, steps)), None) or no_directory(agents, follow=False)
    obstacle = obstacle or obstacle_on_the_way(coordination, READ | SEARCH)
    if obstacle is not None:
        return obstacle
    closed: list[AccessObstacle] = []
    for name, endings in FOLDERS.items():
        folder = os.path.join(coordination, name)
        if os.path.isdir(folder) and not os.path.islink(folder):  # coordd follows no link here
            shut = obstacle_on(folder, READ | SEARCH)
            closed += [shut] if shut is not None else _closed_files(folder, endings)
    return closed[0]._replace(more=len(closed) - 1) if closed else None


def _closed_files(folder: str, endings: tuple[str, ...]) -> list[AccessObstacle]:
    with os.scandir(folder) as entries:
        files = [
            one.path
            for one in islice(entries, MAX_FILES)
            if one.name.endswith(endings)
            and not one.name.startswith(".")
            and one.is_file(follow_symlinks=False)
        ]
    found = filter(None, (obstacle_on(file, READ) for file in sorted(files)))
    return [one for one in found if not one.missing]  # a missing one has gone, as agents come and go


def _closed(path: str, coordination: str, obstacle: AccessObstacle, user: Credentials) -> Finding:
    rights = obstacle.rights
    inside = os.path.realpath(obstacle.path).startswith(os.path.realpath(coordination))
    # A beat may write a new file, so only the folder's default ACL entry covers later files too.
    fix = (
        f"setfacl -R -m u:{user.name}:rX,d:u:{user.name}:rX {shell_word(coordination)}"
        f"   or: chmod -R {user_class(rights, user)}+rX {shell_word(coordination)}"
        if inside
        else grant(obstacle, user)
    )
    more = f", and {obstacle.more} more of its traces" if obstacle.more else ""
    return Finding(
        "workspace",
        "fail",
        f"{path}: {user.name} lacks {in_letters(obstacle.wanted)} on {obstacle.path} "
        f"({owner_and_mode(rights) if rights else '?'}){more}",
        fix,
    )


def _first_agent(coordination: str) -> str:
    return f"start an agent there, or: mkdir -p {shell_word(os.path.join(coordination, 'agents'))}"


def _workspaces(facts: DoctorFacts) -> list[tuple[str, str | None, str | None]]:
    """Return path, state and error of each workspace.

    They are the daemon's, else its snapshot's, the configuration's, or the current directory.
    """
    listed = facts.status.get("workspaces")
    if isinstance(listed, list):
        return [
            (
                entry["path"],
                _text(entry.get("state")) if facts.alive else None,
                _text(entry.get("error")) if facts.alive else None,
            )
            for entry in map(as_dict, listed)
            if isinstance(entry.get("path"), str)
        ]
    configured = as_dict(facts.config.values.get("coordination")).get("workspaces")
    if isinstance(configured, list) and configured:
        import glob

        return [
            (path, None, None)
            for pattern in map(str, configured)
            for path in (sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern])
        ]
    above = workspace_above(facts.where) if facts.where is not None else None
    return [] if above is None else [(above, None, None)]


def _finds_sessions(facts: DoctorFacts) -> bool:
    """Return whether a coordd of this user that is started would look for sessions of coding agents."""
    return not facts.alive and bool(_sessions(facts)) and facts.section("daemon").get("layout") != "system"


def _sessions(facts: DoctorFacts) -> str:
    """Return in words whose sessions are looked for."""
    programs = (("claude_code", "Claude Code"), ("codex", "Codex"), ("copilot", "Copilot"))
    values = facts.config.values
    return enumerated([name for key, name in programs if as_dict(values.get(key)).get("enabled") is True])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
