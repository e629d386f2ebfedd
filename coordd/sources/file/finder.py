"""Find the workspaces that the configuration names, and keep one source for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from coordd.agents.source import SourceName
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.hints import Hint
from coordd.sources.file.source import READ_DEADLINE, FileSource

log = logging.getLogger(__name__)


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

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to listen for changes in the workspaces, and for new ones."""
        self._backend.start(self.hint, changed)

    def stop(self) -> None:
        """Stop listening."""
        self._backend.close()

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

    def _unfollow(self, path: str) -> None:
        source = self._sources.get(path)
        if source is None or source.stopped:
            self._backend.unfollow(path)
