"""Find the workspaces that the configuration names, and keep one source for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from coordd.agents.source import SourceName
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.file.backend import FileBackend, FoundWorkspace
from coordd.sources.file.found import ResolvedWorkspace
from coordd.sources.file.ground import Ground
from coordd.sources.file.hints import Hint
from coordd.sources.file.search import may_be_pattern
from coordd.sources.file.source import READ_DEADLINE, FileSource
from coordd.util.fields import jsonable

log = logging.getLogger(__name__)

LINKS_AFTER = 0.5
"""Seconds for which names that appear under a pattern are gathered; then it is seen whether one is a link."""
NEXT_DEADLINE = 1.0
"""Seconds for a look after one that hung; to take a slow directory for a hung one costs another look."""
MOST_HANGING = 8
"""Directories that may hang at the same time, each with a thread; then no workspaces are looked for."""
MAX_TOLD = 1000
"""Directories that do not answer of which the log tells, each once."""
MAX_APPEARED = 10_000
"""Paths that are gathered; where there are more, workspaces are looked for without knowing."""


class FileFinder:
    """Find workspaces.

    A directory that does not answer is left alone until the call that waits for it returns. ``names`` has the
    name of each workspace of the configuration by each path that leads to it.

    Args:
        backend: finds, reads and follows them; its entries and guests may be replaced at any time.
        local: the thread that looks for workspaces, and reads those that only this machine writes to.
        remote: the thread that reads the others.
        renamed: called when ``names`` has changed after the first look.
    """

    def __init__(
        self,
        *,
        backend: FileBackend,
        local: Worker,
        remote: Worker,
        renamed: Callable[[], None] = lambda: None,
    ) -> None:
        self.backend = backend
        self._local = local
        self._remote = remote
        self._entries: tuple[str, ...] = ()
        self._sources: dict[str, FileSource] = {}
        self._answers = True
        self._hanging: dict[str, asyncio.Future[Any]] = {}
        self._unsearched: dict[str, str] = {}
        self._told: set[str] = set()
        self._changed: Callable[[], None] = lambda: None
        self._appeared: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self.names: Mapping[str, str] = {}
        self._former: Mapping[str, ResolvedWorkspace] = {}
        self._renamed = renamed

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to listen for changes in the workspaces, and for new ones."""
        self._changed = changed
        self.backend.start(self.hint, changed, self._maybe_link)

    def stop(self) -> None:
        """Stop listening."""
        self.backend.close()
        if self._looking is not None:
            self._looking.cancel()

    async def find(self) -> Mapping[SourceName, Source] | None:
        """Return the workspaces that there are now; None while the file system does not answer.

        What a pattern found stays until its project is gone, even while its coordination folder is away. A
        directory that does not answer is left alone until it does; everything else is looked for meanwhile.
        """
        looked = await self._look()
        if looked is None:
            self._answers = False
            return None
        self._answers = True
        found, ground = looked
        self._unsearched = {entry: place for place, entries in ground.left_out.items() for entry in entries}
        entries = (*self.backend.entries, *self.backend.guests)
        reconfigured = entries != self._entries
        wanted = {one.path: one for one in found}
        kept = False
        elsewhere = {alias for one in found for alias in one.found.aliases} - wanted.keys()
        for path, source in list(self._sources.items()):
            if path in wanted or not (reconfigured or not source.kept or source.stopped or path in elsewhere):
                continue
            if source.kept and not source.stopped and ground.place_of(path) is not None:
                kept = True  # whether an entry still stands for it cannot be seen now
            else:
                del self._sources[path]
        if not kept:
            self._entries = entries
        for path, one in wanted.items():
            if path not in self._sources or self._sources[path].stopped:
                worker = self._remote if one.remote else self._local
                self._sources[path] = FileSource(
                    one,
                    backend=self.backend,
                    worker=worker,
                    unfollow=self._unfollow,
                    moved=self._look_again,
                )
            else:
                self._sources[path].found_again(one)
        self._name(found)
        return {source.state.name: source for source in self._sources.values()}

    @property
    def interval(self) -> float:
        """Seconds until the next look: short where a workspace may appear that nothing announces."""
        return RESCAN if self._answers and self.backend.watched else UNREADABLE

    @property
    def problems(self) -> list[str]:
        """What keeps the patterns of the configuration from being searched now, as sentences.

        A workspace that is configured without a pattern says so itself.
        """
        if not self._answers:
            return ["no workspaces are looked for: their file systems do not answer"]
        unsearched = [
            f"{jsonable(entry)}: no workspaces are looked for there, for {jsonable(place)} does not answer"
            for entry, place in self._unsearched.items()
            if entry in self.backend.entries and may_be_pattern(entry)
        ]
        return unsearched + [one.problem for one in self.backend.looked_at if one.problem is not None]

    def entries(self) -> list[dict[str, object]]:
        """Return what each entry of the configuration stands for, as ``status`` has it."""
        return [one.document() for one in self.backend.looked_at]

    async def _look(self) -> tuple[list[FoundWorkspace], Ground] | None:
        """Look for workspaces where the file system answers; None while too much of it does not."""
        deadline = READ_DEADLINE
        while len(self._hanging) < MOST_HANGING:
            ground = Ground(self._hanging)
            try:
                looking = self._local.run(self.backend.find, ground, self._former, deadline=deadline)
                return await looking, ground
            except DeadlineMissed as missed:
                place = ground.give_up()
                if place is None or place in self._hanging:
                    break
                self._hangs(place, missed.future)
                deadline = NEXT_DEADLINE
        log.warning("looking for workspaces takes more than %g s", READ_DEADLINE)
        return None

    def _hangs(self, place: str, call: asyncio.Future[Any]) -> None:
        """Leave a directory alone until the call that waits for it returns."""
        self._hanging[place] = call
        if place not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(place)
            log.warning(
                "%s does not answer; no workspaces are looked for there until it does", jsonable(place)
            )

        def answers_again(_late: asyncio.Future[Any]) -> None:
            del self._hanging[place]
            self._changed()

        call.add_done_callback(answers_again)

    def _name(self, found: Collection[FoundWorkspace]) -> None:
        self._former = {path: one.found for one in found for path in (one.path, *one.found.aliases)}
        configured = [one.found for one in found if one.entry is not None]
        names = {path: one.path for one in configured for path in (one.path, *one.aliases)}
        before, self.names = self.names, names
        if before not in ({}, names):
            self._renamed()

    def _look_again(self) -> None:
        self._changed()

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
            self.backend.unfollow(path)


def _any_link(paths: Collection[str]) -> bool:
    return any(os.path.islink(path) for path in paths)
