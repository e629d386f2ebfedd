"""Read the files of one workspace as a source: in a trace worker, within deadlines.

Nothing here blocks the loop: a network file system may hang any call, and then a deadline is missed. Until
the call returns after all, the workspace counts as unreadable, and nothing is asked of it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, SourceTraces
from coordd.host.boot import boot_time
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener, SourceLost
from coordd.sources.file.agent_files import suffixes_of
from coordd.sources.file.backend import FileBackend, FoundWorkspace
from coordd.sources.file.hints import Hint, Signal
from coordd.sources.file.watch import Followed

T = TypeVar("T")

KIND = "file"
READ_DEADLINE = 5.0
"""Seconds without progress of a reading after which its file system counts as hung."""


class FileSource:
    """One workspace; ``from_glob``: only a pattern names it; ``stopped``: nothing is read of it any more.

    ``kept``: a pattern stands for the project itself, which stays a workspace until it is gone.

    Args:
        found: the workspace.
        backend: reads it and listens for changes.
        worker: the thread that reads it.
        unfollow: stops listening for changes in the workspace, unless another source follows it by now.
        moved: is called when the workspace lies elsewhere than it was found.
    """

    patience = math.inf

    def __init__(
        self,
        found: FoundWorkspace,
        *,
        backend: FileBackend,
        worker: Worker,
        unfollow: Callable[[str], None],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.state = SourceState(
            name=SourceName(KIND, found.path),
            clock=ObservedClock(blind_since=now().mono),
            workspace=found.path,
            holds_tasks=True,
        )
        self.stopped = False
        self._path = found.path
        self._folder = found.found.folder
        self._backend = backend
        self._reader = backend.reader(found.found)
        self._reader.boot = None if found.remote else boot_time()
        self._moved = moved
        self._worker = worker
        self._unfollow = unfollow
        self._listener: SourceListener | None = None
        self._known: Mapping[str, Observation] = {}
        self._followed = Followed("poll")
        self._hung = False
        self.found_again(found)

    def found_again(self, found: FoundWorkspace) -> None:
        """Take over what was found of the workspace now: its other paths, and where its folder lies."""
        self.from_glob = found.from_glob
        self.kept = found.from_glob and found.found.direct
        state, one = self.state, found.found
        state.aliases, state.project, state.entry = one.aliases, one.project, found.entry
        if one.folder != self._folder:
            self._folder = one.folder
            self._reader.lies_at(one.folder)
            if self._listener is not None:
                self._listener.readable()

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:
        """Begin to tell of changes; everything can be read at once."""
        self._listener, self._known = listener, known
        listener.readable()

    def hint(self, hint: Hint) -> None:
        """Note a change; called on the loop, up to thousands of times a second."""
        if self._listener is not None:
            self._listener.changed(None if hint is Signal.RESCAN else (hint,))

    async def follow(self) -> Following:
        """Watch the workspace as it exists now, so that what changes from here on is announced."""
        self._followed = followed = await self._run(self._backend.follow, self._path, self._folder)
        announced = followed.state == "inotify"
        return Following(
            "push" if announced else "poll", followed.state, None if announced else followed.reason
        )

    async def read_all(self) -> SourceTraces:
        """Read everything."""
        traces = await self._run(self._reader.scan, now().wall)
        if self._reader.moved:
            self._moved()
        if traces.state == "unreadable":
            raise SourceLost(traces.error or "it cannot be read", gone=traces.gone and self.from_glob)
        if traces.state == "waiting" and self._known:
            raise SourceLost(".claude/coordination was there before the restart and is gone")
        return traces

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the files that the hints name."""
        return await self._run(self._reader.read, hints)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read all files of these agents: a registration may be renewed through a file that stays open."""
        # by the files' names, for an id may itself end like one of them
        files = {agent_id + suffix for agent_id in agent_ids for suffix in suffixes_of(agent_id)}
        return await self._run(self._reader.read, files)

    def lost(self, trouble: str) -> None:
        """Keep the watches: they tell when the workspace can be read again."""

    async def stop(self) -> None:
        """Stop listening for changes."""
        self.stopped, self._listener = True, None
        self._unfollow(self._path)

    @property
    def interval(self) -> float:
        """Seconds until the next full reading: short where nothing announces changes."""
        if self._followed.state == "poll":
            return POLL
        return UNREADABLE if self.state.state == "unreadable" or self.state.denied else RESCAN

    @property
    def due(self) -> None:
        """None: every change is announced."""
        return

    async def _run(self, call: Callable[..., T], *about: Any) -> T:
        """Call something in the worker; raises SourceLost while the file system does not answer."""
        if not self._hung:
            try:
                return await self._worker.run(call, *about, deadline=READ_DEADLINE)
            except DeadlineMissed as missed:
                self._hung = True
                missed.future.add_done_callback(self._answers_again)
        raise SourceLost(f"the file system does not answer ({READ_DEADLINE:g} s)")

    def _answers_again(self, _late: asyncio.Future[Any]) -> None:
        self._hung = False
        if self.stopped:
            self._unfollow(self._path)  # it may have been about to follow
        elif self._listener is not None:
            self._listener.readable()
