"""Find the workspaces that the configuration names, and keep one source for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping

from coordd.agents.source import SourceName
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.hints import Hint
from coordd.sources.file.source import READ_DEADLINE, FileSource

log = logging.getLogger(__name__)

LINKS_AFTER = 0.5
"""Seconds for which names that appear under a pattern are gathered; then it is seen whether one is a link."""
MAX_APPEARED = 10_000
"""Paths that are gathered; where there are more, workspaces are looked for without knowing."""


class FileFinder:
    """Find workspaces.

    Args:
        backend: finds, reads and follows them; its entries may be replaced at any time.
        local: the thread that looks for workspaces, and reads those that only this machine writes to.
        remote: the thread that reads the others.
    """

    def __init__(self, *, backend: FileBackend, local: Worker, remote: Worker) -> None:
        self._backend = backend
        self._local = local
        self._remote = remote
        self._entries: tuple[str, ...] = ()
        self._sources: dict[str, FileSource] = {}
        self._answers = True
        self._changed: Callable[[], None] = lambda: None
        self._appeared: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to listen for changes in the workspaces, and for new ones."""
        self._changed = changed
        self._backend.start(self.hint, changed, self._maybe_link)

    def stop(self) -> None:
        """Stop listening."""
        self._backend.close()
        if self._looking is not None:
            self._looking.cancel()

    async def find(self) -> Mapping[SourceName, Source] | None:
        """Return the workspaces that there are now; None while the file system does not answer.

        What a pattern found stays until its project is gone, even while its coordination folder is away.
        """
        try:
            found = await self._local.run(self._backend.find, deadline=READ_DEADLINE)
        except DeadlineMissed:
            log.warning("looking for workspaces takes more than %g s", READ_DEADLINE)
            self._answers = False
            return None
        self._answers = True
        entries = tuple(self._backend.entries)
        reconfigured, self._entries = entries != self._entries, entries
        wanted = {one.path: one for one in found}
        for path, source in list(self._sources.items()):
            if path not in wanted and (reconfigured or not source.from_glob or source.stopped):
                del self._sources[path]
        for path, one in wanted.items():
            if path not in self._sources or self._sources[path].stopped:
                worker = self._remote if one.remote else self._local
                self._sources[path] = FileSource(
                    one, backend=self._backend, worker=worker, unfollow=self._unfollow
                )
        return {source.state.name: source for source in self._sources.values()}

    @property
    def interval(self) -> float:
        """Seconds until the next look: short where a workspace may appear that nothing announces."""
        return RESCAN if self._answers and self._backend.watched else UNREADABLE

    def hint(self, path: str, hint: Hint) -> None:
        """Note a change in a workspace; called on the loop, up to thousands of times a second."""
        source = self._sources.get(path)
        if source is not None:
            source.hint(hint)

    def _maybe_link(self, path: str) -> None:
        """Note what appeared under a pattern and is no directory; up to thousands of times a second."""
        if len(self._appeared) < MAX_APPEARED:
            self._appeared.add(path)
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_for_links())

    async def _look_for_links(self) -> None:
        """Tell that sources may have come if a link did; most of what appears are files."""
        try:
            while self._appeared:
                await asyncio.sleep(LINKS_AFTER)
                appeared, self._appeared = self._appeared, set()
                try:
                    found = await self._local.run(_any_link, appeared, deadline=READ_DEADLINE)
                except DeadlineMissed:
                    found = True
                if found or len(appeared) == MAX_APPEARED:
                    self._changed()
        finally:
            self._looking = None

    def _unfollow(self, path: str) -> None:
        source = self._sources.get(path)
        if source is None or source.stopped:
            self._backend.unfollow(path)


def _any_link(paths: Collection[str]) -> bool:
    return any(os.path.islink(path) for path in paths)
