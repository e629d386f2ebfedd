"""Find the workspaces that the ``workspaces`` of the configuration stand for.

==========================================  =============================================================
entry                                       stands for
==========================================  =============================================================
without a pattern                           that directory, whether or not it exists
a pattern (``~/src/*``)                     the directories that hold ``.claude/coordination`` now (search.py)
either                                      the git worktrees of these that hold one, too (worktrees.py)
==========================================  =============================================================

Each path is resolved (coordination.py), and all that lead to one coordination folder are one workspace. Its
name is, of the paths that lead there, one without a link: first one that names it already, then one that is
an entry without a pattern, then the first that was found. The others are its aliases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

from coordd.sources.coordination import Resolved, Resolver
from coordd.sources.file.found import EntryMatches, ResolvedWorkspace, Workspaces
from coordd.sources.file.ground import Ground
from coordd.sources.file.search import (
    MAX_LISTED,
    Await,
    Closed,
    PatternTally,
    Search,
    base_of,
    may_be_pattern,
)
from coordd.sources.file.worktrees import Worktrees
from coordd.sources.git import main_work_tree
from coordd.util.fields import jsonable
from coordd.util.untrusted_folder import denied_at, explain_unreadable

MAX_MATCHES = 10_000
MAX_ALIASES = 100
"""Other paths of one workspace that are named."""


def expand(
    entries: Sequence[str],
    *,
    max_matches: int = MAX_MATCHES,
    watch: Await = lambda *_, **__: False,
    keepalive: Callable[[], None] = lambda: None,
    ground: Ground | None = None,
    former: Mapping[str, ResolvedWorkspace] = MappingProxyType({}),
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
        former: what was found last, by each path that led there: names stay as long as they fit, and what may
            not be touched is where it was.
    """
    ground = Ground() if ground is None else ground
    expansion = _Expansion(watch=watch, keepalive=keepalive, ground=ground, former=former)
    expansion.run(entries, max_matches)
    return expansion.result()


@dataclass(slots=True)
class _Group:
    """The paths that lead to one coordination folder, in the order in which they were found."""

    spelled: list[tuple[str, Resolved]] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    explicit: bool = False


class _Expansion:
    """One look at all entries."""

    def __init__(
        self,
        *,
        watch: Await,
        keepalive: Callable[[], None],
        ground: Ground,
        former: Mapping[str, ResolvedWorkspace],
    ) -> None:
        self._ground = ground
        self._former = former
        self._keepalive = keepalive
        self._search = Search(watch=watch, keepalive=keepalive, ground=ground)
        self._worktrees = Worktrees(watch=watch, ground=ground)
        self._resolver = Resolver(ground.may)
        self._groups: dict[object, _Group] = {}
        self._seen: dict[str, Resolved] = {}
        self._owners: dict[str, str] = {}
        self._tallies: dict[str, PatternTally] = {}
        self._patterns: set[str] = set()
        self._problems: list[str] = []

    def run(self, entries: Sequence[str], max_matches: int) -> None:
        """Find everything, entries without a pattern first."""
        patterns: list[tuple[str, str]] = []
        spelled: set[str] = set()
        for entry in entries:
            path = os.path.abspath(os.path.expanduser(entry))
            if path in spelled:
                continue
            spelled.add(path)
            tally = self._tallies.setdefault(entry, PatternTally())
            magic = may_be_pattern(path)
            leads = self._ground.leads(entry, base_of(path) if magic else path)
            if magic and leads and not (self._ground.may(path) and os.path.isdir(path)):
                patterns.append((path, entry))
                self._patterns.add(entry)
            elif not magic or leads:
                tally.directories = 1
                self._add(path, entry, explicit=True)
        for path, entry in patterns:
            self._match(path, entry, max_matches)
        for path in self._search.late():
            self._add(path, self._owners.get(path, ""))
        if self._search.cut:
            self._problems.append(
                f"workspaces: only the first {MAX_LISTED} directories of its patterns are searched"
            )
        self._problems += [
            f"{jsonable(repository)}: only some of its many worktrees are watched"
            for repository in self._worktrees.cut
        ]

    def result(self) -> Workspaces:
        """Return what was found."""
        named = {one.path for one in self._former.values()}
        found = tuple(self._workspace(group, named) for group in self._groups.values())
        return Workspaces(
            found,
            tuple(self._entry(entry, tally) for entry, tally in self._tallies.items()),
            tuple(self._problems),
            self._search.complete and self._worktrees.complete,
        )

    def _match(self, pattern: str, entry: str, max_matches: int) -> None:
        tally = self._tallies[entry]
        matches = self._search.matches(pattern, tally)
        taken = 0
        for path, holds in matches:
            if holds:
                taken += 1
                if taken > max_matches:
                    self._problems.append(
                        f"{jsonable(pattern)}: only its first {max_matches} workspaces are watched"
                    )
                    break
                self._add(path, entry)
            else:
                self._without(path, entry)
                if not self._search.passed_over(path):
                    self._take_worktrees(self._search.real(path), entry, await_git=False)

    def _without(self, path: str, entry: str) -> None:
        """Await the coordination folder of a directory, or what its link to one leads to."""
        self._owners.setdefault(path, entry)
        if os.path.lexists(f"{path}/.claude"):  # most have none, and a pattern matches thousands
            resolved = self._resolver.resolve(path)
            self._await_links(resolved)
            if resolved.name != path:
                known = self._former.get(path)
                if known is not None and known.path == resolved.name:  # as an unmounted disk looks
                    self._add(path, entry)
                    return
                self._owners.setdefault(resolved.name, entry)
                self._search.note(resolved.name)
        self._search.note(path)

    def _take_worktrees(self, project: str, entry: str, *, await_git: bool) -> None:
        for tree in self._worktrees.of(project, await_git=await_git):
            resolved = self._resolver.resolve(tree)
            if resolved.identity is not None:
                self._add(tree, entry)
            elif tree not in self._seen:
                self._without(tree, entry)

    def _add(self, path: str, entry: str, *, explicit: bool = False) -> None:
        """Take a path that leads to a workspace."""
        if path in self._seen:
            return
        self._keepalive()
        if jsonable(path) != path:
            self._problems.append(f"{jsonable(path)}: its name is no UTF-8, so no record could carry it")
            return
        resolved = self._seen[path] = self._resolve(path)
        self._await_links(resolved)
        tally = self._tallies.setdefault(entry, PatternTally())
        if resolved.refusal is not None:
            tally.closed.append(Closed(path, PermissionError(0, resolved.refusal), named=True))
            return
        if jsonable(resolved.name) != resolved.name or jsonable(resolved.folder) != resolved.folder:
            self._problems.append(f"{path}: leads to a name that is no UTF-8, so no record could carry it")
            return
        group = self._groups.setdefault(self._identity(resolved), _Group())
        group.entries.append(entry)
        group.spelled.append((path, resolved))
        group.explicit = group.explicit or explicit
        if not self._search.passed_over(path):
            for project in dict.fromkeys((resolved.project, resolved.name)):
                self._take_worktrees(project, entry, await_git=True)

    def _resolve(self, path: str) -> Resolved:
        resolved, known = self._resolver.resolve(path), self._former.get(path)
        if not resolved.untouched or known is None:
            return resolved
        return Resolved(known.path, path, known.folder, links=resolved.links, untouched=True)

    def _identity(self, resolved: Resolved) -> object:
        """Return what two paths to one workspace have in common."""
        if resolved.identity is not None:
            return resolved.identity
        try:  # one project by two paths, such as a bind mount
            state = os.stat(resolved.name) if self._ground.may(resolved.name) else None
        except (OSError, ValueError):
            state = None
        if state is None or not resolved.direct:
            return resolved.folder
        return "project", state.st_dev, state.st_ino

    def _await_links(self, resolved: Resolved) -> None:
        for directory, name in resolved.links:
            if self._ground.may(directory):
                self._search.wait(directory, frozenset({name}), any_change=True)

    def _workspace(self, group: _Group, named: Collection[str]) -> ResolvedWorkspace:
        names = dict.fromkeys(one.name for _, one in group.spelled if one.direct) or dict.fromkeys(
            one.name for _, one in group.spelled
        )
        name = next((one for one in names if one in named), next(iter(names)))
        folder = next(one.folder for _, one in group.spelled if one.name == name)
        others = dict.fromkeys(
            place for path, one in group.spelled for place in (path, one.project, one.name) if place != name
        )
        aliases = tuple(place for place in islice(others, MAX_ALIASES) if jsonable(place) == place)
        direct = any(path == name for path, _ in group.spelled)
        known = self._former.get(name)
        if self._ground.may(name):
            project = main_work_tree(name)
        else:
            project = known.project if known is not None else name
        return ResolvedWorkspace(name, folder, aliases, group.entries[0], group.explicit, project, direct)

    def _entry(self, entry: str, tally: PatternTally) -> EntryMatches:
        workspaces = sum(entry in group.entries for group in self._groups.values())
        closed: dict[str, tuple[str, str, bool]] = {}
        for one in tally.closed:
            if one.error.errno == 0:  # a link that is not followed says so itself
                where, why = one.path, str(one.error.strerror)
            else:
                where, why = denied_at(one.path)[0], explain_unreadable(one.error, one.path)
            closed.setdefault(why, (jsonable(where), why, one.named))
        return EntryMatches(
            entry, entry in self._patterns, tally.directories, workspaces, tuple(closed.values()), tally.more
        )
