"""Watch the workspaces in which sessions live, beside those of the configuration.

A workspace is watched from its first session on, and as long as any agent of it is listed.

Such a workspace is an entry like any other, written as a pattern that stands for it alone: it is then watched
while it holds ``.claude/coordination``, however late that comes, and it is no problem while it does not.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable

from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.runtime.schedule import Schedule

GATHER = 0.5
"""Seconds for which sessions that come and go are gathered."""
_UNFIT = ".!^]-[*?"
"""Characters that mean something else between brackets, or hide a name."""
MOST = 512
"""The number of workspaces that are watched for their sessions' sake."""


class SessionWorkspaces:
    """Keep the entries for the workspaces of living sessions; ``places`` are their paths.

    Args:
        store: all agents.
        schedule: times the look at who is there.
        apply: is called with the entries whenever they differ from those before.
    """

    def __init__(
        self, *, store: AgentStore, schedule: Schedule, apply: Callable[[tuple[str, ...]], None]
    ) -> None:
        self.places: frozenset[str] = frozenset()
        self.entries: tuple[str, ...] = ()
        self._store = store
        self._schedule = schedule
        self._apply = apply

    def changed(self, _key: AgentKey) -> None:
        """Note that an agent appeared, left, or changed its status."""
        if self._schedule.waiting("workspaces.sessions") is None:
            self._schedule.once("workspaces.sessions", GATHER, self._look)

    async def _look(self) -> None:
        living = {one.key.workspace for one in self._store.with_process() if one.session is not None}
        # What was left there is kept while anybody is listed: claims of who was killed, others' beats.
        kept = {place for place in self.places if any(True for _ in self._store.keys_in(place))}
        self.places = frozenset(living | kept)
        entries = tuple(entry for place in sorted(self.places)[:MOST] if (entry := pattern_for(place)))
        if entries != self.entries:
            self.entries = entries
            self._apply(entries)


def pattern_for(path: str) -> str | None:
    """Return a pattern that stands for this path alone; None for a path that no pattern can stand for."""
    parent, name = os.path.split(path)
    for index, character in enumerate(name):
        if character not in _UNFIT:
            begin, rest = glob.escape(name[:index]), glob.escape(name[index + 1 :])
            return f"{glob.escape(parent).rstrip('/')}/{begin}[{character}]{rest}"
    return None
