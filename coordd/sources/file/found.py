"""Say what a look for workspaces found: the workspaces, and what each entry of the configuration stands for.

Values; they know no file system.
"""

from __future__ import annotations

from dataclasses import dataclass

from coordd.util.fields import jsonable

MAX_LISTED_CLOSED = 20
"""Directories of one entry that may not be looked into which ``status`` lists."""
MAX_WORDS = 3
"""Directories of one pattern that its problem names; more are counted."""


@dataclass(frozen=True, slots=True)
class ResolvedWorkspace:
    """One workspace: its name, the canonical path of its coordination folder, and its other paths.

    ``entry`` is the first entry of the configuration that leads to it, as written there; ``explicit``: one
    without a pattern does. ``project`` is the main work tree. ``direct`` is false where links alone do.
    """

    path: str
    folder: str
    aliases: tuple[str, ...]
    entry: str
    explicit: bool
    project: str
    direct: bool = True


@dataclass(frozen=True, slots=True)
class EntryMatches:
    """What one entry of the configuration stands for.

    ``directories`` is the number that a pattern matches, ``workspaces`` of how many workspaces it names one.
    ``closed`` are directories that may not be looked into, each with the reason; where ``named`` is true the
    entry itself stands for them. ``more`` is the number of further ones.
    """

    entry: str
    pattern: bool
    directories: int = 0
    workspaces: int = 0
    closed: tuple[tuple[str, str, bool], ...] = ()
    more: int = 0

    def document(self) -> dict[str, object]:
        """Return it as ``status`` has it."""
        return {
            "entry": jsonable(self.entry),
            "pattern": self.pattern,
            "directories": self.directories,
            "workspaces": self.workspaces,
            "unreadable": [
                {"path": path, "reason": why, "named": named}
                for path, why, named in self.closed[:MAX_LISTED_CLOSED]
            ],
            "unreadable_more": max(0, len(self.closed) - MAX_LISTED_CLOSED) + self.more,
        }

    @property
    def problem(self) -> str | None:
        """What of it may not be looked into although the configuration names it, in a sentence."""
        named = [why for _, why, is_named in self.closed if is_named]
        more = max(0, len(named) - MAX_WORDS) + self.more
        if not named:
            return None
        further = f"; and {more} more" if more else ""
        return f"{jsonable(self.entry)}: cannot be looked into: {'; '.join(named[:MAX_WORDS])}{further}"


@dataclass(frozen=True, slots=True)
class Workspaces:
    """The workspaces that exist now, each once, and what each entry stands for.

    ``problems`` says in words what was left out. ``watched`` is false where another may appear without being
    announced.
    """

    found: tuple[ResolvedWorkspace, ...]
    entries: tuple[EntryMatches, ...]
    problems: tuple[str, ...] = ()
    watched: bool = True

    @property
    def paths(self) -> tuple[str, ...]:
        """The names of all workspaces."""
        return tuple(one.path for one in self.found)

    @property
    def explicit(self) -> frozenset[str]:
        """The names of those to which an entry without a pattern leads."""
        return frozenset(one.path for one in self.found if one.explicit)
