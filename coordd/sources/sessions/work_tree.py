"""Tell which workspace and which project a working directory belongs to.

The workspace is a configured one that the directory lies in, else the top level of its git work tree, else
the directory itself; where its ``.claude/coordination`` is another's, it is that one (coordination.py). The
project is the main work tree of that (git.py), so that worktrees group. All calls may block: they belong in a
thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from coordd.sources.coordination import Resolver
from coordd.sources.git import main_work_tree, top_level

NONE: Mapping[str, str] = MappingProxyType({})


class Place(NamedTuple):
    """Where a session works: canonical paths of its workspace, and of the project that groups workspaces."""

    workspace: str
    project: str


def place_of(cwd: str, configured: Mapping[str, str] = NONE) -> Place:
    """Return where a working directory lies; it need not exist any more.

    Args:
        cwd: an absolute path.
        configured: the name of each workspace that is configured, by the paths that lead to it; the innermost
            path that holds ``cwd`` wins.
    """
    directory = os.path.realpath(cwd)
    real = {os.path.realpath(path): name for path, name in configured.items()}
    within = {path: name for path, name in real.items() if _holds(path, directory)}
    inner = max(within, key=len, default=None)
    top = top_level(directory)
    if inner is not None:
        workspace = within[inner]
    else:
        resolved = Resolver().resolve(top or directory)
        workspace = resolved.project if resolved.refusal else resolved.name
    if top is None:
        return Place(workspace, os.path.realpath(workspace))
    return Place(workspace, main_work_tree(top))


def unresolved(cwd: str) -> Place:
    """Return what can be said of a working directory whose file system does not answer."""
    path = os.path.normpath(cwd)
    return Place(path, path)


def _holds(workspace: str, directory: str) -> bool:
    return directory == workspace or directory.startswith(workspace.rstrip("/") + "/")
