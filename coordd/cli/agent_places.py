"""Say where an agent works: its project, and the worktree beside it. Pure: entries of ``agents.list``.

Entries may come from another version or from a stranger's file. ``coordctl status`` imports this module and
has to start fast.
"""

from __future__ import annotations

from coordd.util.text import UNKNOWN, shown

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Agent = Mapping[str, Any]

_REDIS, _NOWHERE = "Redis alone", "no project"


def place_of(agent: Agent) -> str:
    """Return the project that an agent belongs to as a path, or in words why there is none."""
    for field in ("project", "workspace"):
        path = agent.get(field)
        if isinstance(path, str) and path:
            return path
    sources = agent.get("sources")
    return _REDIS if isinstance(sources, list) and "redis" in sources else _NOWHERE


def worktree_of(agent: Agent) -> str | None:
    """Return the path of the work tree that it works in, where that is not the main one of its project."""
    workspace, project = agent.get("workspace"), agent.get("project")
    known = isinstance(workspace, str) and workspace and isinstance(project, str) and project
    return str(workspace) if known and workspace != project else None


def project_words(agent: Agent, home: str | None) -> str:
    """Return its project as a short path, and the worktree beside it where it works in one.

    The worktree is named by the end of its path, ``~/src/shop (wt-shop)``, or where the project's path ends
    alike, by all of it.
    """
    words, worktree = short_path(place_of(agent), home), worktree_of(agent)
    if worktree is None:
        return words
    name = worktree.rstrip("/").rpartition("/")[2]
    ends_alike = words.rpartition("/")[2] == shown(name)
    return f"{words} ({short_path(worktree, home) if ends_alike or not name else shown(name)})"


def is_at(agent: Agent, place: str) -> bool:
    """Return whether an agent works in this workspace or project; "" is that of Redis alone."""
    workspace = agent.get("workspace")
    return place in (workspace or "", agent.get("project") or workspace or "")


def short_paths(text: object, home: str | None) -> str:
    """Return a sentence, escaped, with ``~`` for the own home where a path begins with it."""
    words, own = shown(text), (home or "").rstrip("/")
    return f" {words}".replace(f" {own}/", " ~/")[1:] if own.startswith("/") else words


def short_path(path: object, home: str | None) -> str:
    """Return a path, escaped, with ``~`` for the own home."""
    if not isinstance(path, str):
        return UNKNOWN
    own = (home or "").rstrip("/")
    return shown("~" + path[len(own) :] if own and f"{path}/".startswith(f"{own}/") else path)
