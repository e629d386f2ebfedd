"""Read one home of Claude Code as a source: in a worker, within deadlines.

Nothing here blocks the loop: a home may lie on a file system that hangs, and then a deadline is missed. Until
the call returns after all, the home counts as unreadable, and nothing is asked of it. What is told, and how
soon it is read:

=============================================  ===============================================================
``sessions/`` has changed                      the records that the event names, with the next batch
a transcript, or one of its subagents', has    with the next batch, or once its last reading is a second ago
a transcript has appeared that was missing     with the next batch; where that may not be told, it is looked
                                               for (looks.py)
the home itself, or events were lost           everything
(something cannot be watched)                  everything, from then on every :data:`POLL` seconds
=============================================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.runtime.worker import Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener
from coordd.sources.claude_code.processes import KIND
from coordd.sources.claude_code.reader import HomeReader, Shown
from coordd.sources.claude_code.session_file import RECORD_NAME
from coordd.sources.sessions.home_calls import HomeCalls
from coordd.sources.sessions.looks import Looks
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.report import HomeReport, report_of
from coordd.sources.sessions.restored import known_of
from coordd.sources.sessions.throttle import Throttle
from coordd.sources.sessions.watch import GONE, Watch, explain
from coordd.sources.sessions.work_tree import Place
from coordd.util import inotify as ino

T = TypeVar("T")

RANK = 20
READ_DEADLINE = 5.0
"""Seconds without progress of a reading after which its file system counts as hung."""


class RecordHint(NamedTuple):
    """The record of a process has changed."""

    pid: int


class TranscriptHint(NamedTuple):
    """The transcript of a process's session has changed."""

    process: Process


class AppearedHint(NamedTuple):
    """A transcript that was missing has appeared."""

    name: str


class FolderHint(NamedTuple):
    """A folder has appeared that may hold a transcript which is missing."""

    name: str


class ClaudeCodeSource:
    """The sessions of one home.

    ``named``: the configuration or the environment names it; ``stopped``: nothing is read of it any more.

    Args:
        home: its canonical path.
        named: whether the configuration or the environment names it.
        worker: the thread that reads it and nothing else; it ends with the source.
        places: finds out where sessions work.
        watch: tells of changes.
        look: returns the process that has a pid.
        wanted: whether sessions that work in a place are shown.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    patience = READ_DEADLINE

    def __init__(
        self,
        home: str,
        *,
        named: bool,
        worker: Worker,
        places: Places,
        watch: Watch,
        look: Callable[[int], ProcessFacts | None],
        wanted: Callable[[Place], bool],
        remote: Callable[[str], str | None],
    ) -> None:
        self.state = SourceState(
            name=SourceName(KIND, home),
            clock=ObservedClock(blind_since=now().mono),
            rank=RANK,
            names_workspaces=True,
        )
        self.named = named
        self._home = home
        self._calls = HomeCalls(worker=worker, answers=self._answers_again)
        self._places = places
        self._wanted = wanted
        self._remote = remote
        self._watch = watch
        self._reader = HomeReader(home, look=look, watch=watch, told=self)
        self._listener: SourceListener | None = None
        self._known: Mapping[str, Observation] = {}
        self._throttle: Throttle[Process] = Throttle()
        self._following = Following("poll", "poll")
        self._looks = Looks()
        self.stopped = False

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:
        """Begin to tell of changes; everything can be read at once."""
        self._listener, self._known = listener, known
        listener.readable()

    async def follow(self) -> Following:
        """Watch the home as it is now, so that what changes from here on is announced."""
        await self._run(self._follow)
        return self._following

    async def read_all(self) -> SourceTraces:
        """Read everything."""
        sessions = self._reader.sessions
        known = {agent_id: known_of(one) for agent_id, one in self._known.items()}
        there = await self._run(self._reader.read_sessions, known, now().wall)
        agents = await self._traces(None)
        sessions.left.clear()
        sessions.retied.clear()
        self._throttle.keep(sessions.live)
        return SourceTraces(
            self.state.workspace,
            "read" if there else "waiting",
            agents=agents,
            malformed=self._reader.malformed,
            over_limit=self._over_limit,
        )

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the records and transcripts that the hints name, and those that have waited."""
        pids = {hint.pid for hint in hints if isinstance(hint, RecordHint)}
        processes = {hint.process for hint in hints if isinstance(hint, TranscriptHint)}
        processes |= self._throttle.take(now().mono)
        names = {hint.name for hint in hints if isinstance(hint, AppearedHint)}
        folders = {hint.name for hint in hints if isinstance(hint, FolderHint)}
        if names or folders:
            processes |= await self._run(self._reader.appeared, names, folders)
        if self._looks.is_due(now().mono):
            processes |= await self._look_everywhere()
        changed: dict[str, AgentTraces | None] = {}
        if pids:
            processes |= await self._read_records(pids)
        if processes:
            changed.update(await self._traces(processes))
        if pids:
            changed.update(await self._run(self._reader.changed_meanwhile))
        changed.update(self._take_left())
        self._poll_if_unwatched()
        return AgentsChange(self.state.workspace, changed, self._reader.malformed)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the records and transcripts of these agents, whether or not their processes live."""
        asked = set(agent_ids)
        live = self._reader.sessions.live
        pids = {process.pid for process, one in live.items() if one.agent_id in asked}
        changed: dict[str, AgentTraces | None] = dict.fromkeys(asked)
        if pids:
            await self._read_records(pids)
            processes = {process for process, one in live.items() if one.agent_id in asked}
            changed.update(await self._traces(processes))
            changed.update(self._take_left())
        return AgentsChange(self.state.workspace, changed, self._reader.malformed)

    def lost(self, trouble: str) -> None:
        """Keep the watches: they tell when the home can be read again."""

    async def stop(self) -> None:
        """Stop listening for changes."""
        self.stopped, self._listener = True, None
        self._reader.forget()
        self._calls.close()

    @property
    def interval(self) -> float:
        """Seconds until the next full reading: short where nothing announces changes."""
        if self.state.state == "unreadable":
            return UNREADABLE
        if self._reader.sessions.over_limit is not None and self._following.how != "poll":
            return UNREADABLE  # one that ends makes room for another
        return POLL if self._following.how == "poll" else RESCAN

    @property
    def due(self) -> float | None:
        """When what has changed may be read that may not be yet, or what is missing is to be looked for."""
        times = [one for one in (self._throttle.due, self._looks.due) if one is not None]
        return min(times, default=None)

    @property
    def lives(self) -> bool:
        """Whether any session of this home lives, as far as was read."""
        return any(not one.ended for one in self._reader.sessions.live.values())

    @property
    def report(self) -> HomeReport:
        """What there is to say of the home as it was read last."""
        return report_of(KIND, self._home, self._following, self._reader.sessions.live.values())

    # What the watches tell, on the loop.

    def look_again(self) -> None:
        """Note that the home may have come or gone."""
        self._tell(None)

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""
        if mask & (GONE | ino.Q_OVERFLOW) or name in ("sessions", "projects"):
            self._tell(None)

    def sessions_changed(self, mask: int, name: str) -> None:
        """Note an event in ``sessions/``."""
        found = RECORD_NAME.fullmatch(name)
        if found is not None:
            if not mask & ino.CREATE:  # it is told once more when it is written
                self._tell((RecordHint(int(found[1])),))
        elif mask & (GONE | ino.Q_OVERFLOW):
            self._tell(None)

    def projects_changed(self, mask: int, name: str) -> None:
        """Note an event in ``projects/``, while a transcript is missing."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
        elif mask & ino.ISDIR and name:
            self._tell((FolderHint(name),))

    def transcript_appeared(self, mask: int, name: str) -> None:
        """Note an event in a folder below ``projects/``, while a transcript is missing."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
        elif name in self._reader.missing:
            self._tell((AppearedHint(name),))

    def transcript_changed(self, process: Process) -> None:
        """Note that a transcript of a process's session, or of its subagents, changed."""
        waited = self._throttle.due is not None
        if self._throttle.changed(process, now().mono):
            self._tell((TranscriptHint(process),))
        elif not waited:
            self._tell(())  # so that it is known when something is due

    def _tell(self, hints: Collection[Hashable] | None) -> None:
        if self._listener is not None:
            self._listener.changed(hints)

    # Readings.

    def _follow(self) -> None:
        self._reader.follow()
        if self.stopped:
            self._reader.forget()
            return
        unwatched, fstype = self._reader.unwatched, self._remote(self._home)
        reason = self._watch.reason
        if fstype is not None:
            reason = f"{fstype}: inotify does not see what other machines write"
        elif reason is None and unwatched is not None:
            reason = explain(unwatched)
        self._following = (
            Following("push", "inotify") if reason is None else Following("poll", "poll", reason)
        )

    async def _read_records(self, pids: Collection[int]) -> set[Process]:
        """Read the records of these processes; return those that are of a session."""
        sessions = self._reader.sessions
        complete = sessions.over_limit is None
        await self._run(sessions.read, pids, now().wall)
        if complete and sessions.over_limit is not None:
            self._tell(None)  # a full reading says so
        return {process for process in sessions.live if process.pid in pids}

    def _take_left(self) -> dict[str, None]:
        """Return the agents that are known and told of no more."""
        left, self._reader.sessions.left = self._reader.sessions.left, set()
        return dict.fromkeys(left & self._known.keys())

    async def _traces(self, only: set[Process] | None) -> dict[str, AgentTraces]:
        """Read the transcripts of these processes' sessions, or of all, and return their traces."""
        places = await self._places.of(self._reader.working_directories(only), self.look_again)
        moment = now()
        self._throttle.was_read(self._reader.sessions.live if only is None else only, moment.mono)
        traces = await self._run(self._reader.traces, Shown(places, self._wanted), moment.wall, only)
        self._throttle.wait(self._reader.more)
        self._poll_if_unwatched()
        self._looks.plan(self._reader.unannounced, now().mono)
        self.state.unrecognised = self.report.unknown_words
        return traces

    async def _look_everywhere(self) -> set[Process]:
        began = now().mono
        found = await self._run(self._reader.look_everywhere)
        self._looks.looked(began, now().mono)
        return found

    def _poll_if_unwatched(self) -> None:
        """Have the home polled from now on where something of it cannot be watched: nothing tells of that."""
        unwatched = self._reader.unwatched
        if unwatched is not None and self._following.how == "push":
            self._following = Following("poll", "poll", explain(unwatched))
            self._tell(None)

    @property
    def _over_limit(self) -> Mapping[str, str]:
        words = self._reader.sessions.over_limit
        return {} if words is None else {"sessions": words}

    async def _run(self, call: Callable[..., T], *about: Any) -> T:
        """Call something in the worker; raises SourceLost while the file system does not answer."""
        return await self._calls.run(call, *about, deadline=READ_DEADLINE)

    def _answers_again(self) -> None:
        if self.stopped:
            self._reader.forget()  # it may have been about to follow
        elif self._listener is not None:
            self._listener.readable()
