"""The file backend as the pipeline sees it: which workspaces there are, how each is read and followed.

``find`` and ``follow`` touch file systems and may hang: they belong in a trace worker. ``start`` and
``close`` belong on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coordd.sources.bounds import Bounds
from coordd.sources.file.hints import Hint
from coordd.sources.file.mounts import is_remote
from coordd.sources.file.reader import COORDINATION, WorkspaceReader
from coordd.sources.file.watch import Followed, Watcher
from coordd.sources.file.workspaces import expand

log = logging.getLogger(__name__)

MAX_SAID = 1000
"""Problems of looking for workspaces that are logged, each once."""


@dataclass(frozen=True, slots=True)
class Found:
    """A workspace: its path, whether only a pattern names it, whether it lies on another machine."""

    path: str
    from_glob: bool
    remote: bool


class FileBackend:
    """Workspaces that hold ``.claude/coordination``; ``entries``, paths and patterns, may be replaced.

    ``bounds`` say what may be kept; ``breathe`` is called in the trace worker now and then while a long
    reading goes on.
    """

    def __init__(
        self,
        *,
        entries: Sequence[str],
        bounds: Bounds | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        self.entries = entries
        self._breathe = breathe
        self._bounds = bounds or Bounds()
        self._watcher: Watcher | None = None
        self._said: set[str] = set()

    def start(self, on_hint: Callable[[str, Hint], None]) -> None:
        """Begin to listen for changes; ``on_hint`` is called on the running loop."""
        self._watcher = Watcher(on_hint=on_hint)
        followed = self._watcher.start(asyncio.get_running_loop())
        if followed.state == "poll":
            log.warning("changes are found by polling: %s", followed.reason)

    def close(self) -> None:
        """Stop listening."""
        if self._watcher is not None:
            self._watcher.close()

    def find(self) -> list[Found]:
        """The workspaces that the entries name now."""
        workspaces = expand(self.entries)
        for problem in workspaces.problems:
            if problem not in self._said and len(self._said) < MAX_SAID:
                self._said.add(problem)
                log.warning("%s", problem)
        return [
            Found(path, path not in workspaces.explicit, is_remote(f"{path}/{COORDINATION}"))
            for path in workspaces.paths
        ]

    def reader(self, path: str) -> WorkspaceReader:
        """A new reader of one workspace."""
        return WorkspaceReader(path, bounds=self._bounds, breathe=self._breathe)

    def follow(self, path: str) -> Followed:
        """Listen for changes in a workspace as it lies there now; how it is followed."""
        return self._watcher.arm(path) if self._watcher else Followed("poll", "not started")

    def unfollow(self, path: str) -> None:
        """Listen to a workspace no longer."""
        if self._watcher is not None:
            self._watcher.forget(path)
