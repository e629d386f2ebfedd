"""Find the homes of Claude Code, and keep one source for each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from coordd.agents.source import SourceName
from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.processes import glance, lives
from coordd.runtime.worker import Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.claude_code.homes import HomesWanted
from coordd.sources.claude_code.programs import is_program, running_programs
from coordd.sources.claude_code.report import HomeReport
from coordd.sources.claude_code.search import Found, HomeSearch
from coordd.sources.claude_code.source import ClaudeCodeSource
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place

_SILENT = "its file system does not answer"


class AwaitedHome(NamedTuple):
    """A place that would be a home; ``error`` says why that cannot be told, None where nothing is there."""

    path: str
    error: str | None


def _worker_of_a_home() -> Worker:
    return Worker("coordd-home", replaceable=True)


class ClaudeCodeFinder:
    """Find homes.

    Args:
        enabled: whether sessions are looked for at all.
        homes: which homes; it may be replaced at any time, and so may ``enabled``.
        wanted: whether sessions that work in a place are shown.
        workspaces: returns the names of the configured workspaces, by the paths that lead to each.
        worker: the thread that looks for homes.
        places: the thread that finds out where sessions work.
        watch: tells of changes in all homes.
        home_worker: makes the thread that reads one home: one that hangs delays no other.
        process: returns the process that has a pid.
        running: returns the pids of programs that may name a home.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        homes: HomesWanted,
        wanted: Callable[[Place], bool],
        workspaces: Callable[[], Mapping[str, str]],
        worker: Worker,
        places: Worker,
        watch: Watch,
        home_worker: Callable[[], Worker] = _worker_of_a_home,
        process: Callable[[int], ProcessFacts | None] = glance,
        running: Callable[[], Iterable[int]] = running_programs,
        remote: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.enabled = enabled
        self.homes = homes
        self._wanted = wanted
        self._worker = worker
        self._places = Places(worker=places, configured=workspaces)
        self._watch = watch
        self._process = process
        self._home_worker = home_worker
        self._remote = remote
        self._sources: dict[str, ClaudeCodeSource] = {}
        self._changed: Callable[[], None] = lambda: None
        self._found = Found()
        self._programs: set[Process] = set()
        self._search = HomeSearch(
            worker=worker,
            watch=watch,
            running=running,
            appeared=self._appeared,
            answered=self._answered,
        )

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

    def resolve_again(self) -> None:
        """Have the places of all sessions resolved anew: the paths that lead to workspaces have changed."""
        self._places.forget()
        for source in self._sources.values():
            source.look_again()

    async def find(self) -> Mapping[SourceName, Source]:
        """Return the homes that there are now.

        A home that was found stays while a session of it lives, and while it does not answer.
        """
        if not self.enabled:
            self._sources.clear()
            self._found = Found()
            return {}
        self._found = await self._search.find(self.homes)
        found = {one.path: one for one in self._found.homes}
        for path, source in list(self._sources.items()):
            if path not in found and not source.lives:
                del self._sources[path]
        for path, one in found.items():
            if path not in self._sources or self._sources[path].stopped:
                self._sources[path] = self._source(path, named=one.named)
            else:
                self._sources[path].named = one.named
        return {source.state.name: source for source in self._sources.values()}

    def started(self, seen: Sequence[ProcessFacts]) -> None:
        """Have homes looked for if one of these processes is a new Claude Code: it may name a home."""
        if not self.enabled or self.homes.user is None:
            return
        programs = {one.process for one in seen if is_program(one)}
        if programs - self._programs:
            self._changed()
        self._programs = {one for one in self._programs | programs if lives(one) is not False}

    @property
    def interval(self) -> float:
        """Seconds until the next look: short where a home may appear that nothing announces."""
        announced = self._watch.reason is None and self._found.whole
        return RESCAN if not self.enabled or announced else UNREADABLE

    @property
    def awaited(self) -> tuple[AwaitedHome, ...]:
        """Places that are no sources: the usual home while none was found, and what does not answer."""
        if not self.enabled:
            return ()
        silent = tuple(AwaitedHome(path, _SILENT) for path in self._found.unanswered)
        if self._sources or silent or self.homes.user is None:
            return silent
        return (AwaitedHome(os.path.join(self.homes.user, ".claude"), None),)

    @property
    def problems(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        return self._found.cut

    @property
    def reports(self) -> tuple[HomeReport, ...]:
        """What there is to say of each home, for people."""
        return tuple(source.report for source in self._sources.values())

    def _source(self, path: str, *, named: bool) -> ClaudeCodeSource:
        return ClaudeCodeSource(
            path,
            named=named,
            worker=self._home_worker(),
            places=self._places,
            watch=self._watch,
            look=self._process,
            wanted=self._wanted,
            remote=self._remote,
        )

    def _answered(self) -> None:
        self._changed()

    def _appeared(self) -> None:
        self._changed()
        for source in self._sources.values():
            source.look_again()
