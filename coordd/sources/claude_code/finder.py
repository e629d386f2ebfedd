"""Find the homes of Claude Code, and keep one source for each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress

from coordd.agents.source import SourceName
from coordd.host.process_facts import ProcessFacts
from coordd.host.processes import glance
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.claude_code.homes import Homes, HomesWanted, Programs, find_homes, running_homes
from coordd.sources.claude_code.places import Places
from coordd.sources.claude_code.source import READ_DEADLINE, ClaudeCodeSource, HomeReport
from coordd.sources.claude_code.watch import APPEARED, GONE, Tell, Watch
from coordd.sources.claude_code.work_tree import Place
from coordd.util import inotify as ino

log = logging.getLogger(__name__)


class ClaudeCodeFinder:
    """Find homes.

    Args:
        enabled: whether sessions are looked for at all.
        homes: which homes; it may be replaced at any time, and so may ``enabled``.
        wanted: whether sessions that work in a place are shown.
        workspaces: returns the paths of the configured workspaces.
        worker: the thread that looks for homes and reads them.
        places: the thread that finds out where sessions work.
        watch: tells of changes in all homes.
        process: returns the process that has a pid.
        running: returns the homes that running processes name.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        homes: HomesWanted,
        wanted: Callable[[Place], bool],
        workspaces: Callable[[], Collection[str]],
        worker: Worker,
        places: Worker,
        watch: Watch,
        process: Callable[[int], ProcessFacts | None] = glance,
        running: Callable[[], Iterable[str]] = running_homes,
        remote: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.enabled = enabled
        self.homes = homes
        self._wanted = wanted
        self._worker = worker
        self._places = Places(worker=places, configured=workspaces)
        self._watch = watch
        self._process = process
        self._running = running
        self._remote = remote
        self._sources: dict[str, ClaudeCodeSource] = {}
        self._changed: Callable[[], None] = lambda: None
        self._answers = True
        self._unwatched: Exception | None = None
        self._programs = Programs()

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to listen for changes in the homes, and for new ones."""
        self._changed = changed
        if self.enabled:
            self._watch.start(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop listening."""
        self._changed = lambda: None
        self._watch.close()

    def look_again(self) -> None:
        """Have homes looked for now, and places resolved anew: processes or configuration have changed."""
        self._places.forget()
        self._changed()

    async def find(self) -> Mapping[SourceName, Source] | None:
        """Return the homes that there are now; None while the file system does not answer.

        A home that was found stays while a session of it lives.
        """
        if not self.enabled:
            self._sources.clear()
            return {}
        try:
            homes = await self._worker.run(self._find, deadline=READ_DEADLINE)
        except DeadlineMissed:
            log.warning("looking for homes of Claude Code takes more than %g s", READ_DEADLINE)
            self._answers = False
            return None
        self._answers = True
        found = {one.path: one for one in homes.found}
        for path, source in list(self._sources.items()):
            if path not in found and not source.lives:
                del self._sources[path]
        for path, one in found.items():
            if path not in self._sources or self._sources[path].stopped:
                self._sources[path] = self._source(path, named=one.named)
            else:
                self._sources[path].named = one.named
        return {source.state.name: source for source in self._sources.values()}

    async def look_for_programs(self) -> None:
        """Have homes looked for if a program of Claude Code has started since the last look: it may name one.

        To be called now and then; it costs one listing of ``/proc``, and a look at each new process.
        """
        if not self.enabled or self.homes.user is None:
            return
        with suppress(DeadlineMissed):  # then the next look tells
            if await self._worker.run(self._programs.started, deadline=READ_DEADLINE):
                self._changed()

    @property
    def interval(self) -> float:
        """Seconds until the next look: short where a home may appear that nothing announces."""
        watched = self._watch.reason is None and self._unwatched is None
        return RESCAN if not self.enabled or (self._answers and watched) else UNREADABLE

    @property
    def awaited(self) -> tuple[str, ...]:
        """The homes that are waited for: the user's usual one while none was found."""
        if not self.enabled or self._sources or self.homes.user is None:
            return ()
        return (os.path.join(self.homes.user, ".claude"),)

    @property
    def reports(self) -> tuple[HomeReport, ...]:
        """What there is to say of each home, for people."""
        return tuple(source.report for source in self._sources.values())

    def _source(self, path: str, *, named: bool) -> ClaudeCodeSource:
        return ClaudeCodeSource(
            path,
            named=named,
            worker=self._worker,
            places=self._places,
            watch=self._watch,
            look=self._process,
            wanted=self._wanted,
            remote=self._remote,
        )

    def _find(self) -> Homes:
        """Find homes, and watch where others may appear; found again after that, for what came meanwhile."""
        homes = find_homes(self.homes, self._running)
        self._unwatched = None
        for parent, names in homes.parents.items():
            mask = APPEARED | GONE | ino.ONLYDIR
            failed = self._watch.arm(("parents", parent), [(parent, mask)], self._teller(tuple(names)))
            self._unwatched = failed or self._unwatched
        for owner in self._watch.owners:
            if isinstance(owner, tuple) and owner[0] == "parents" and owner[1] not in homes.parents:
                self._watch.forget(owner)
        return find_homes(self.homes, lambda: [one.path for one in homes.found])

    def _teller(self, names: tuple[str, ...]) -> Tell:
        def tell(mask: int, name: str) -> None:
            """Note what appeared; files whose names begin alike come and go all the time."""
            ours = name in names or (mask & ino.ISDIR and name.startswith(names))
            if not name or ours:
                self._changed()
                for source in self._sources.values():
                    source.look_again()

        return tell
