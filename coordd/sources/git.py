"""Read how git work trees belong together, from files alone; git itself is never run.

What a ``.git`` file says is a stranger's word, and so is what lies in ``worktrees/``: a work tree belongs to
another only where each names the other, see gitrepository-layout(5)::

    <main>/.git/worktrees/<name>/gitdir    <tree>/.git
    <tree>/.git                            gitdir: <main>/.git/worktrees/<name>

All calls may block.
"""

from __future__ import annotations

import os
import stat

from coordd.util.regular_files import read_file

MAX_DEPTH = 64
"""Directories above a path that are looked into."""
WORKTREES = "worktrees"
_MAX_POINTER = 8192


def top_level(directory: str) -> str | None:
    """Return the top level of the work tree that a canonical directory lies in, None where there is none.

    A ``.git`` directory without ``HEAD`` is no repository to git either: sandboxes leave empty ones behind to
    keep others from making them, Codex for example in ``/tmp``.
    """
    for _ in range(MAX_DEPTH):
        git = os.path.join(directory, ".git")
        if os.path.lexists(git) and (not os.path.isdir(git) or os.path.lexists(os.path.join(git, "HEAD"))):
            return directory
        above = os.path.dirname(directory)
        if above == directory:
            break
        directory = above
    return None


def main_work_tree(top: str) -> str:
    """Return the main work tree of the work tree at ``top``, which is the same but for a linked worktree."""
    words = _pointer(os.path.join(top, ".git"))
    if words is None or not words.startswith("gitdir:"):
        return top
    own = os.path.realpath(os.path.join(top, words.removeprefix("gitdir:").strip()))
    common, back = _pointer(os.path.join(own, "commondir")), _pointer(os.path.join(own, "gitdir"))
    if common is None or back is None:  # a submodule has neither
        return top
    shared = os.path.realpath(os.path.join(own, common))
    if os.path.dirname(own) != os.path.join(shared, WORKTREES):  # the other project has not made it
        return top
    if os.path.realpath(os.path.join(own, back)) != os.path.join(top, ".git"):
        return top
    return os.path.dirname(shared) if os.path.basename(shared) == ".git" else shared


def repository_of(project: str) -> str | None:
    """Return the repository of the project at a canonical path, for which worktrees may have been made.

    It is the ``.git`` directory, or a directory below the project that a ``.git`` file names; None for a
    linked worktree, a submodule, and where there is no git.
    """
    path = os.path.join(project, ".git")
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(mode):
        return path
    words = _pointer(path) if stat.S_ISREG(mode) else None
    if words is None or not words.startswith("gitdir:"):
        return None
    own = os.path.realpath(os.path.join(project, words.removeprefix("gitdir:").strip()))
    return own if own.startswith(f"{project.rstrip('/')}/") and os.path.isdir(own) else None


def linked_work_tree(entry: str) -> str | None:
    """Return the work tree of one entry of ``worktrees/``, if it says that it belongs there.

    Args:
        entry: the canonical path of the entry.
    """
    words = _pointer(os.path.join(entry, "gitdir"))
    if words is None:
        return None
    file = os.path.realpath(os.path.join(entry, words))
    if os.path.basename(file) != ".git":
        return None
    back = _pointer(file)
    if back is None or not back.startswith("gitdir:"):
        return None
    top = os.path.dirname(file)
    own = os.path.realpath(os.path.join(top, back.removeprefix("gitdir:").strip()))
    return top if own == entry else None


def _pointer(path: str) -> str | None:
    """Return the one line in a small regular file, None where there is no such file."""
    try:
        text = os.fsdecode(read_file(path, _MAX_POINTER)).strip()
    except (OSError, ValueError):
        return None
    return text if text and "\n" not in text and "\0" not in text else None
