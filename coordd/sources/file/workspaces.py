"""Expand the ``workspaces`` of the configuration into project directories.

An entry without a pattern is a workspace whether or not it exists. A pattern (``~/src/*``) stands for the
directories that hold ``.claude/coordination`` now; it does not match names that begin with a dot, as in a
shell. A workspace's key is its absolute path as it was spelled, without ``.``, ``..`` and doubled slashes;
symbolic links in it stay. If two spellings lead to one directory the first counts; entries without a pattern
come first.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from coordd.util.fields import jsonable

MAX_MATCHES = 10_000
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Workspaces:
    """The workspaces that exist now, each once.

    ``explicit`` holds the paths that were given without a pattern; ``problems`` says in words what was left
    out.
    """

    paths: tuple[str, ...]
    explicit: frozenset[str]
    problems: tuple[str, ...] = ()


def expand(entries: Sequence[str], *, max_matches: int = MAX_MATCHES) -> Workspaces:
    """Return the workspaces that the entries stand for. Reads directories, so it may block.

    Args:
        entries: paths and patterns; ``~`` is the home of the current user, a relative path starts from the
            current directory.
        max_matches: directories that one pattern may stand for.
    """
    spelled = [os.path.abspath(os.path.expanduser(entry)) for entry in entries]
    plain = [path for path in spelled if not _is_pattern(path)]
    problems: list[str] = []
    found: dict[object, str] = {}
    for path in plain:
        _add(found, path, problems)
    explicit = frozenset(found.values())
    for pattern in spelled:
        if _is_pattern(pattern):
            matches = list(islice(_matches(pattern), max_matches + 1))
            if len(matches) > max_matches:
                problems.append(f"{jsonable(pattern)}: only its first {max_matches} workspaces are watched")
            for path in matches[:max_matches]:
                _add(found, path, problems)
    return Workspaces(tuple(found.values()), explicit, tuple(problems))


def _is_pattern(path: str) -> bool:
    # An existing directory may be called "a[1]"; then it is a plain path.
    return not _MAGIC.isdisjoint(path) and not os.path.isdir(path)


def _matches(pattern: str) -> Iterator[str]:
    return (path for path in glob.iglob(pattern) if os.path.isdir(f"{path}/.claude/coordination"))


def _add(found: dict[object, str], path: str, problems: list[str]) -> None:
    if jsonable(path) != path:
        problems.append(f"{jsonable(path)}: its name is no UTF-8, so no record could carry it")
        return
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        found.setdefault(path, path)
    else:
        found.setdefault((state.st_dev, state.st_ino), path)
