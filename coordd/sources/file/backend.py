"""Offer the file intake its workspaces: find them, read each, and listen for changes in each.

``find`` and ``follow`` call the file system and may hang, so they belong in a trace worker; ``start`` and
``close`` belong on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from coordd.sources.bounds import Bounds
from coordd.sources.file.found import EntryMatches, ResolvedWorkspace, Workspaces
from coordd.sources.file.ground import Ground
from coordd.sources.file.hints import Hint
from coordd.sources.file.mounts import fstype_of, is_remote_type, mounts
from coordd.sources.file.reader import WorkspaceReader
from coordd.sources.file.watch import Followed, Watcher
from coordd.sources.file.workspaces import expand

NONE: Mapping[str, ResolvedWorkspace] = MappingProxyType({})

log = logging.getLogger(__name__)

MAX_LOGGED = 1000
"""Different problems with finding workspaces that are logged, each once."""


@dataclass(frozen=True, slots=True)
class FoundWorkspace:
    """A workspace: what was found, whether only a pattern names it, whether other machines write to it.

    ``entry`` is the entry of the configuration that leads to it, None where none does.
    """

    found: ResolvedWorkspace
    remote: bool
    entry: str | None

    @property
    def path(self) -> str:
        """Its name, a canonical path."""
        return self.found.path

    @property
    def from_glob(self) -> bool:
        """Whether only a pattern names it."""
        return not self.found.explicit


class FileBackend:
    """Find, read and follow the workspaces that hold ``.claude/coordination``.

    ``entries`` are paths and patterns of the configuration, and ``guests`` are some that are not; both may be
    replaced at any time. ``watched`` is false where the last :meth:`find` came past a place in which another
    workspace may appear without being announced; ``looked_at`` says what each entry of the configuration
    stood for at that time.

    Args:
        entries: see above.
        bounds: how much all readers together may keep.
        keepalive: called in the trace worker now and then during a long reading, to show that it goes on.
    """

    def __init__(
        self,
        *,
        entries: Sequence[str],
        bounds: Bounds | None = None,
        keepalive: Callable[[], None] = lambda: None,
    ) -> None:
        self.entries = entries
        self.guests: Sequence[str] = ()
        self.watched = True
        self.looked_at: tuple[EntryMatches, ...] = ()
        self._keepalive = keepalive
        self._bounds = bounds or Bounds()
        self._watcher: Watcher | None = None
        self._logged: set[str] = set()

    def start(
        self,
        on_hint: Callable[[str, Hint], None],
        on_search: Callable[[], None],
        on_maybe_link: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin to listen for changes; all three are called on the running loop.

        ``on_search`` says that :meth:`find` may find another workspace, ``on_maybe_link`` that it may if
        this path is a link.
        """
        self._watcher = Watcher(on_hint=on_hint, on_search=on_search, on_maybe_link=on_maybe_link)
        followed = self._watcher.start(asyncio.get_running_loop())
        if followed.state == "poll":
            log.warning("changes are found by polling: %s", followed.reason)

    def close(self) -> None:
        """Stop listening for changes."""
        if self._watcher is not None:
            self._watcher.close()

    def find(
        self, ground: Ground | None = None, former: Mapping[str, ResolvedWorkspace] = NONE
    ) -> list[FoundWorkspace]:
        """Return the workspaces that the entries name now, and listen for others.

        Each new problem is logged once.

        Args:
            ground: what may be touched; the rest counts as remote.
            former: what the last call found, by each path that led there.
        """
        ground = Ground() if ground is None else ground
        own = tuple(self.entries)
        look = partial(expand, (*own, *self.guests), keepalive=self._keepalive, ground=ground, former=former)
        workspaces: Workspaces = (
            self._watcher.search(lambda watch: look(watch=watch)) if self._watcher else look()
        )
        self.watched = workspaces.watched
        self.looked_at = tuple(one for one in workspaces.entries if one.entry in own)
        for problem in workspaces.problems:
            if problem not in self._logged and len(self._logged) < MAX_LOGGED:
                self._logged.add(problem)
                log.warning("%s", problem)
        table = mounts()

        def remote(one: ResolvedWorkspace) -> bool:
            fstype = fstype_of(one.folder, table) if ground.may(one.path) else None
            return is_remote_type(fstype) if fstype is not None else not ground.may(one.path)

        return [
            FoundWorkspace(one, remote(one), one.entry if one.entry in own else None)
            for one in workspaces.found
        ]

    def reader(self, found: ResolvedWorkspace) -> WorkspaceReader:
        """Return a new reader of one workspace."""
        return WorkspaceReader(
            found.path, folder=found.folder, bounds=self._bounds, keepalive=self._keepalive
        )

    def follow(self, path: str, folder: str | None = None) -> Followed:
        """Listen for changes in a workspace as it exists now; return how changes become known."""
        return self._watcher.arm(path, folder) if self._watcher else Followed("poll", "not started")

    def unfollow(self, path: str) -> None:
        """Stop listening for changes in a workspace."""
        if self._watcher is not None:
            self._watcher.forget(path)
