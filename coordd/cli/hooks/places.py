"""Find the settings files that are meant: those of the user's homes of Claude Code, or a project's own."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, NamedTuple

from coordd.cli.common import BadUsage
from coordd.cli.hooks.acting import Owner, owner_among
from coordd.cli.hooks.settings_file import HooksError
from coordd.errors import CoorddError
from coordd.protocol.paths import workspace_above
from coordd.util.shell import shell_word
from coordd.util.text import escape
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from coordd.cli.common import DaemonTarget


class Settings(NamedTuple):
    """A settings file; ``within`` is the canonical path that no link to it may lead out of.

    ``owner`` is whose rights it is touched with, None for those of this process.
    """

    path: str
    within: str | None = None
    owner: Owner | None = None


def check_user(environ: Mapping[str, str], command: str, *, writes: bool = True) -> None:
    """Check that ``coordctl hooks COMMAND`` can work in the user's directory.

    Raises:
        HooksError: the hook script would not find it again, or it is another user's.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    if not os.path.isabs(home):
        raise HooksError(f"HOME is {escape(home)}, no absolute path: hooks run in other directories")
    try:
        owner = os.stat(home).st_uid
    except OSError:
        return
    if writes and os.geteuid() == 0 and owner != 0:
        name = _user_name(owner)
        raise HooksError(
            f"{escape(home)} (HOME) belongs to {escape(name)}, who could not change what root writes there; "
            f"to have it done by {escape(name)}: sudo -H -u {shell_word(name)} coordctl hooks {command}"
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # as sudo(8) takes it


def of_user(environ: Mapping[str, str], known: Iterable[str]) -> list[Settings]:
    """Return the settings of each home of Claude Code; without any home yet, those of the usual place.

    A relative ``CLAUDE_CONFIG_DIR`` is below the current directory, as it is for Claude Code. ``known`` are
    further homes, as :func:`known_homes` has them.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    usual = os.path.join(home, ".claude")
    named = environ.get("CLAUDE_CONFIG_DIR", "")
    chosen = os.path.abspath(named) if named else usual
    homes: dict[str, str] = {}
    for path in (usual, chosen, *_beside(home), *known):
        if os.path.isdir(path):
            homes.setdefault(os.path.realpath(path), path)
    if not homes or (named and os.path.realpath(chosen) not in homes):
        homes.setdefault(chosen, chosen)
    return [Settings(os.path.join(path, "settings.json")) for path in homes.values()]


def of_project(target: DaemonTarget) -> Settings:
    """Return the settings of the project at or above ``-w DIR`` or the current directory.

    Raises:
        BadUsage: there is no such directory.
    """
    directory = target.where()
    if directory is None or not os.path.isdir(directory):
        raise BadUsage(f"-w {escape(str(target.directory))}: there is no such directory.")
    root = os.path.realpath(_root_of(directory))
    folder = os.path.join(root, ".claude")
    path = os.path.join(folder, "settings.local.json")
    return Settings(path, root, owner_among((root, folder, path)))


def _root_of(directory: str) -> str:
    """Return the workspace at or above a directory, else its work tree, else the directory itself."""
    workspace = workspace_above(directory)
    if workspace is not None:
        return workspace
    current = directory
    while not os.path.lexists(os.path.join(current, ".git")):
        parent = os.path.dirname(current)
        if parent == current:
            return directory
        current = parent
    return current


def _beside(home: str) -> Iterator[str]:
    """Yield the further homes in the user's directory: people have one for each account."""
    try:
        names = sorted(name for name in os.listdir(home) if name.startswith(".claude"))
    except OSError:
        return
    for name in names:
        path = os.path.join(home, name)
        if all(os.path.isdir(os.path.join(path, part)) for part in ("sessions", "projects")):
            yield path


def known_to(target: DaemonTarget) -> list[str]:
    """Return the homes that the daemon reads, as far as they are this user's; none while it does not run."""
    try:
        with target.hurried(1.0).connect(advise=False, tell=False) as client:
            return list(known_homes(as_dict(client.call("status"))))
    except CoorddError:
        return []


def known_homes(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the homes of Claude Code that a status document names, as far as they are this user's."""
    for source in dicts(status.get("sources")):
        path = source.get("path")
        if source.get("kind") == "claude-code" and isinstance(path, str):
            try:
                own = os.stat(path).st_uid == os.geteuid()
            except (OSError, ValueError):
                continue
            if own:
                yield path
