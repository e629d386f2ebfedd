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

from coordd.sources.file.ground import Ground
from coordd.sources.file.search import MAX_LISTED, Await, Search, base_of, may_be_pattern
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
    ground: Ground | None = None,
) -> Workspaces:
    """Return the workspaces that the entries stand for. Reads directories, so it may block.

    An entry without a pattern counts as it is spelled where it may not be touched.

    Args:
        entries: paths and patterns; ``~`` is the home of the current user, a relative path starts from the
            current directory.
        max_matches: directories that one pattern may stand for.
        watch: is asked to watch the directories in which another workspace of a pattern may appear.
        keepalive: called now and then during a long search.
        ground: what may be touched.
    """
    ground = Ground() if ground is None else ground
    spelled: dict[str, str] = {}
    for entry in entries:
        spelled.setdefault(os.path.abspath(os.path.expanduser(entry)), entry)
    patterns: list[str] = []
    problems: list[str] = []
    found: dict[object, str] = {}
    for path, entry in spelled.items():
        magic = may_be_pattern(path)
        leads = ground.leads(entry, base_of(path) if magic else path)
        if magic and leads and not (ground.may(path) and os.path.isdir(path)):
            patterns.append(path)
        elif not magic or leads:
            _add(found, path, problems, ground)
    explicit = frozenset(found.values())
    search = Search(watch=watch, keepalive=keepalive, ground=ground)
    for pattern in patterns:
        matches = list(islice(search.matches(pattern), max_matches + 1))
        if len(matches) > max_matches:
            problems.append(f"{jsonable(pattern)}: only its first {max_matches} workspaces are watched")
        for path in matches[:max_matches]:
            _add(found, path, problems, ground)
    for path in search.late():
        _add(found, path, problems, ground)
    if search.cut:
        problems.append(f"workspaces: only the first {MAX_LISTED} directories of its patterns are searched")
    return Workspaces(tuple(found.values()), explicit, tuple(problems), search.complete)


def _add(found: dict[object, str], path: str, problems: list[str], ground: Ground) -> None:
    if jsonable(path) != path:
        problems.append(f"{jsonable(path)}: its name is no UTF-8, so no record could carry it")
        return
    try:
        state = os.stat(path) if ground.may(path) else None
    except (OSError, ValueError):
        state = None
    if state is None:
        found.setdefault(path, path)
    else:
        found.setdefault((state.st_dev, state.st_ino), path)
