"""Find the homes of one kind of coding agent, and keep one source for each."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from coordd.agents.source import SourceName
from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.processes import glance, lives
from coordd.runtime.worker import Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.sessions.homes import HomesWanted
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.programs import named_home
from coordd.sources.sessions.programs import running as running_programs
from coordd.sources.sessions.report import HomeReport
from coordd.sources.sessions.search import Found, HomeSearch
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place

_SILENT = "its file system does not answer"


class HomeSource(Source, Protocol):
    """The source of one home, as the finder sees it.

    ``named``: the configuration or the environment names it; ``stopped``: nothing is read of it any more.
    """

    named: bool
    stopped: bool

    @property
    def lives(self) -> bool:
        """Whether any session of this home lives, as far as was read."""
        ...

    @property
    def report(self) -> HomeReport:
        """What there is to say of the home as it was read last."""
        ...

    def look_again(self) -> None:
        """Note that the home may have come or gone."""
        ...


S = TypeVar("S", bound=HomeSource)


class AwaitedHome(NamedTuple):
    """A place that would be a home; ``error`` says why that cannot be told, None where nothing is there."""

    path: str
    error: str | None


def _worker_of_a_home() -> Worker:
    return Worker("coordd-home", replaceable=True)


class HomeFinder(ABC, Generic[S]):
    """Find homes; a subclass for each kind says what its source is, and what its programs are called.

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
        running: returns the pids of programs that may name a home; by default, of those that run.
        home_of: returns the home that one of them names; by default, by ``home_variable``.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    kind: str
    """The name of its sources and agents."""
    program: str
    """How people call it."""
    section: str
    """Its table in the configuration."""
    home_variable: bytes
    """The variable by which a program names its home."""

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
        running: Callable[[], Iterable[int]] | None = None,
        home_of: Callable[[int], str | None] | None = None,
        remote: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.enabled = enabled
        self.homes = homes
        self.wanted = wanted
        self._worker = worker
        self.places = Places(worker=places, configured=workspaces)
        self.watch = watch
        self.process = process
        self.home_worker = home_worker
        self.remote = remote
        self.sources: dict[str, S] = {}
        self._changed: Callable[[], None] = lambda: None
        self._found = Found()
        self._programs: set[Process] = set()
        self._search = HomeSearch(
            worker=worker,
            watch=watch,
            program=self.program,
            section=self.section,
            running=running or (lambda: running_programs(self.is_program)),
            home_of=home_of or (lambda pid: named_home(pid, self.home_variable)),
            appeared=self._appeared,
            answered=self._answered,
        )

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to listen for changes in the homes, and for new ones."""
        self._changed = changed
        if self.enabled:
            self.watch.start(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop listening."""
        self._changed = lambda: None
        self.watch.close()

    def look_again(self) -> None:
        """Have homes looked for now, and places resolved anew: processes or configuration have changed."""
        self.places.forget()
        self._changed()

    def resolve_again(self) -> None:
        """Have the places of all sessions resolved anew: the paths that lead to workspaces have changed."""
        self.places.forget()
        for source in self.sources.values():
            source.look_again()

    async def find(self) -> Mapping[SourceName, Source]:
        """Return the homes that there are now.

        A home that was found stays while a session of it lives, and while it does not answer.
        """
        if not self.enabled:
            self.sources.clear()
            self._found = Found()
            return {}
        self._found = await self._search.find(self.homes)
        found = {one.path: one for one in self._found.homes}
        for path, source in list(self.sources.items()):
            if path not in found and not source.lives:
                del self.sources[path]
        for path, one in found.items():
            if path not in self.sources or self.sources[path].stopped:
                self.sources[path] = self.source(path, named=one.named)
            else:
                self.sources[path].named = one.named
        return {source.state.name: source for source in self.sources.values()}

    def started(self, seen: Sequence[ProcessFacts]) -> None:
        """Have homes looked for if one of these processes is a new program: it may name a home."""
        if not self.enabled or not self.homes.searches:
            return
        programs = {one.process for one in seen if self.is_program(one)}
        if programs - self._programs:
            self._changed()
        self._programs = {one for one in self._programs | programs if lives(one) is not False}

    @property
    def interval(self) -> float:
        """Seconds until the next look: short where a home may appear that nothing announces."""
        announced = self.watch.reason is None and self._found.whole
        return RESCAN if not self.enabled or announced else UNREADABLE

    @property
    def awaited(self) -> tuple[AwaitedHome, ...]:
        """Places that are no sources: the usual home while none was found, and what does not answer."""
        if not self.enabled:
            return ()
        silent = tuple(AwaitedHome(path, _SILENT) for path in self._found.unanswered)
        if self.sources or silent or self.homes.user is None:
            return silent
        return (AwaitedHome(os.path.join(self.homes.user, self.homes.folder), None),)

    @property
    def problems(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        return self._found.cut

    @property
    def reports(self) -> tuple[HomeReport, ...]:
        """What there is to say of each home, for people."""
        return tuple(source.report for source in self.sources.values())

    def source(self, path: str, *, named: bool) -> S:
        """Return a source for a home by its canonical path."""
        make = self.source_type()
        return make(
            path,
            named=named,
            worker=self.home_worker(),
            places=self.places,
            watch=self.watch,
            look=self.process,
            wanted=self.wanted,
            remote=self.remote,
        )

    @abstractmethod
    def source_type(self) -> Callable[..., S]:
        """Return what makes a source; it is loaded here, for it is a megabyte, for those who have a home."""

    @abstractmethod
    def is_named_so(self, seen: ProcessFacts) -> bool:
        """Return whether a process has a name that a program of the kind gives itself."""

    def is_program(self, seen: ProcessFacts) -> bool:
        """Return whether a process is a program of the kind, of a user whose homes are looked for.

        Others' are not looked at beyond that: what a name does not tell is closed to this process.
        """
        return (self.homes.users is not None or seen.uid == os.geteuid()) and self.is_named_so(seen)

    def _answered(self) -> None:
        self._changed()

    def _appeared(self) -> None:
        self._changed()
        for source in self.sources.values():
            source.look_again()
