"""Find the settings files that are meant: those of the user's homes of Claude Code, or a project's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from coordd.cli.common import BadUsage
from coordd.errors import CoorddError
from coordd.protocol.paths import workspace_above
from coordd.util.text import escape
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from coordd.cli.common import DaemonTarget


class Settings(NamedTuple):
    """A settings file; ``within`` is the canonical path that no link to it may lead out of."""

    path: str
    within: str | None = None


def of_user(environ: Mapping[str, str], known: Iterable[str]) -> list[Settings]:
    """Return the settings of each home of Claude Code; without any home yet, those of the usual place.

    ``known`` are further homes, as :func:`known_homes` has them.
    """
    home = environ.get("HOME") or os.path.expanduser("~")
    usual = os.path.join(home, ".claude")
    named = environ.get("CLAUDE_CONFIG_DIR", "")
    homes: dict[str, str] = {}
    for path in (usual, *([named] if os.path.isabs(named) else []), *_beside(home), *known):
        if os.path.isdir(path):
            homes.setdefault(os.path.realpath(path), path)
    if not homes or (os.path.isabs(named) and os.path.realpath(named) not in homes):
        homes.setdefault(named if os.path.isabs(named) else usual, named if os.path.isabs(named) else usual)
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
    return Settings(os.path.join(root, ".claude", "settings.local.json"), root)


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
