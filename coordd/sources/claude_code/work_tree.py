"""Tell which workspace and which project a working directory belongs to; git itself is never run.

The workspace is a configured one that the directory lies in, else the top level of its git work tree, else
the directory itself. The project is the main work tree of that, so that worktrees group. What a ``.git`` file
says is a stranger's word: a worktree belongs to another project only where that names it among its own, in
``<common>/worktrees/<name>/gitdir``, see gitrepository-layout(5). All calls may block: they belong in a
thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from coordd.util.regular_files import read_file

MAX_DEPTH = 64
"""Directories above the working directory that are looked into."""
_MAX_POINTER = 8192


class Place(NamedTuple):
    """Where a session works: canonical paths of its workspace, and of the project that groups workspaces."""

    workspace: str
    project: str


def place_of(cwd: str, configured: Iterable[str] = ()) -> Place:
    """Return where a working directory lies; it need not exist any more.

    Args:
        cwd: an absolute path.
        configured: paths of workspaces that are configured; the innermost that holds ``cwd`` wins.
    """
    directory = os.path.realpath(cwd)
    within = [path for path in configured if _holds(os.path.realpath(path), directory)]
    top = _top_level(directory)
    workspace = max(within, key=len, default=None) or top or directory
    if top is None:
        return Place(workspace, os.path.realpath(workspace))
    return Place(workspace, _main_work_tree(top))


def unresolved(cwd: str) -> Place:
    """Return what can be said of a working directory whose file system does not answer."""
    path = os.path.normpath(cwd)
    return Place(path, path)


def _holds(workspace: str, directory: str) -> bool:
    return directory == workspace or directory.startswith(workspace.rstrip("/") + "/")


def _top_level(directory: str) -> str | None:
    for _ in range(MAX_DEPTH):
        if os.path.lexists(os.path.join(directory, ".git")):
            return directory
        above = os.path.dirname(directory)
        if above == directory:
            break
        directory = above
    return None


def _main_work_tree(top: str) -> str:
    """Return the main work tree of the work tree at ``top``, which is the same but for a linked worktree."""
    words = _pointer(os.path.join(top, ".git"))
    if words is None or not words.startswith("gitdir:"):
        return top
    own = os.path.realpath(os.path.join(top, words.removeprefix("gitdir:").strip()))
    common, back = _pointer(os.path.join(own, "commondir")), _pointer(os.path.join(own, "gitdir"))
    if common is None or back is None:  # a submodule has neither
        return top
    shared = os.path.realpath(os.path.join(own, common))
    if os.path.dirname(own) != os.path.join(shared, "worktrees"):  # the other project has not made it
        return top
    if os.path.realpath(os.path.join(own, back)) != os.path.join(top, ".git"):
        return top
    return os.path.dirname(shared) if os.path.basename(shared) == ".git" else shared


def _pointer(path: str) -> str | None:
    """Return the one line in a small regular file, None where there is no such file."""
    try:
        text = os.fsdecode(read_file(path, _MAX_POINTER)).strip()
    except OSError:
        return None
    return text if text and "\n" not in text and "\0" not in text else None
