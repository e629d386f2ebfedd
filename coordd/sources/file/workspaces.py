"""Expand the ``workspaces`` of the configuration into project directories.

An entry without a pattern is a workspace whether or not it exists. A pattern (``~/src/*``) stands for the
directories that hold ``.claude/coordination`` now (search.py). A workspace's key is its absolute path as it
was spelled, without ``.``, ``..`` and doubled slashes; symbolic links in it stay. If two spellings lead to
one directory the first counts; entries without a pattern come first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from coordd.sources.file.search import MAX_LISTED, Await, Search, is_pattern
from coordd.util.fields import jsonable

MAX_MATCHES = 10_000


@dataclass(frozen=True, slots=True)
class Workspaces:
    """The workspaces that exist now, each once.

    ``explicit`` holds the paths that were given without a pattern; ``problems`` says in words what was left
    out. ``watched`` is false where another may appear without being announced.
    """

    paths: tuple[str, ...]
    explicit: frozenset[str]
    problems: tuple[str, ...] = ()
    watched: bool = True


def expand(
    entries: Sequence[str],
    *,
    max_matches: int = MAX_MATCHES,
    watch: Await = lambda *_: False,
    keepalive: Callable[[], None] = lambda: None,
) -> Workspaces:
    """Return the workspaces that the entries stand for. Reads directories, so it may block.

    Args:
        entries: paths and patterns; ``~`` is the home of the current user, a relative path starts from the
            current directory.
        max_matches: directories that one pattern may stand for.
        watch: is asked to watch the directories in which another workspace of a pattern may appear.
        keepalive: called now and then during a long search.
    """
    spelled = [os.path.abspath(os.path.expanduser(entry)) for entry in entries]
    plain = [path for path in spelled if not is_pattern(path)]
    problems: list[str] = []
    found: dict[object, str] = {}
    for path in plain:
        _add(found, path, problems)
    explicit = frozenset(found.values())
    search = Search(watch=watch, keepalive=keepalive)
    for pattern in (path for path in spelled if is_pattern(path)):
        matches = list(islice(search.matches(pattern), max_matches + 1))
        if len(matches) > max_matches:
            problems.append(f"{jsonable(pattern)}: only its first {max_matches} workspaces are watched")
        for path in matches[:max_matches]:
            _add(found, path, problems)
    for path in search.late():
        _add(found, path, problems)
    if search.cut:
        problems.append(f"workspaces: only the first {MAX_LISTED} directories of its patterns are searched")
    return Workspaces(tuple(found.values()), explicit, tuple(problems), search.complete)


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
