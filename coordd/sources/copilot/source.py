"""Read one home of Copilot as a source: in a worker, within deadlines.

Nothing here blocks the loop: a home may lie on a file system that hangs, and then a deadline is missed. Until
the call returns after all, the home counts as unreadable, and nothing is asked of it. What is told, and how
soon it is read:

=============================================  ===============================================================
the folder of a session was locked or          who works on it, and its events, with the next batch, or once
unlocked, or its events have changed           its last reading is a second ago
the folder of a session has appeared           the same, and until a process has locked it again and again, at
                                               growing pauses, for a minute
the home itself, or events were lost           everything
(something cannot be watched)                  everything, from then on every :data:`POLL` seconds, or as many
                                               as keep the cost low
=============================================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.host.process_facts import ProcessFacts
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.pace import SHARE
from coordd.runtime.schedule import now
from coordd.runtime.worker import Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener
from coordd.sources.copilot.live import SessionKey
from coordd.sources.copilot.locks import KIND, SESSION_ID
from coordd.sources.copilot.reader import LOCKS, HomeReader, Shown
from coordd.sources.copilot.sessions import FOLDER, Sessions
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

RANK = 22
READ_DEADLINE = 5.0
"""Seconds without progress of a reading after which its file system counts as hung."""
LOOKED_FOR = 60.0
"""Seconds for which a new folder is looked into until a process has locked it."""
MAX_LOOKED_FOR = 100
"""Folders that are looked into again and again at once."""


class SessionHint(NamedTuple):
    """Something of a session has changed: who works on it, or its events."""

    session_id: str


class CopilotSource:
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
        self._sessions = Sessions(home, look=look)
        self._reader = HomeReader(home, sessions=self._sessions, watch=watch, told=self)
        self._listener: SourceListener | None = None
        self._known: Mapping[str, Observation] = {}
        self._throttle: Throttle[str] = Throttle()
        self._following = Following("poll", "poll")
        self._poll = POLL
        self._looks = Looks()
        self._new: dict[str, float] = {}
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
        began = now().mono
        known = {agent_id: known_of(one) for agent_id, one in self._known.items()}
        there = await self._run(self._reader.look_at_all, known, now().wall)
        agents = await self._traces(None)
        self._sessions.left.clear()
        self._throttle.keep(key.session_id for key in self._sessions.live)
        self._poll = max(POLL, SHARE * (now().mono - began))
        return SourceTraces(
            self.state.workspace,
            "read" if there else "waiting",
            agents=agents,
            malformed=self._reader.malformed,
            over_limit=self._over_limit,
        )

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the sessions that the hints name, those that have waited, and those that are looked for."""
        mono, wall = now().mono, now().wall
        wanted = {hint.session_id for hint in hints if isinstance(hint, SessionHint)}
        wanted |= self._throttle.take(mono)
        due = self._looks.is_due(mono)
        if due:
            wanted |= self._new.keys()
        changed: dict[str, AgentTraces | None] = {}
        if wanted:
            changed.update(await self._traces(await self._run(self._reader.look_at, wanted, wall)))
        if due:
            self._looks.looked(mono, now().mono)
        changed.update(self._take_left())
        self._plan_looks()
        return AgentsChange(self.state.workspace, changed, self._reader.malformed)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the sessions of these agents, whether or not their processes live."""
        asked = set(agent_ids)
        changed: dict[str, AgentTraces | None] = dict.fromkeys(asked)
        wanted = self._sessions.of_agents(asked)
        if wanted:
            changed.update(await self._traces(await self._run(self._reader.look_at, wanted, now().wall)))
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
        if self._following.how == "poll":
            return self._poll
        return UNREADABLE if self._sessions.over_limit is not None else RESCAN

    @property
    def due(self) -> float | None:
        """When what has changed may be read that may not be yet, or what is missing is to be looked for."""
        times = (self._throttle.due, self._looks.due)
        return min((one for one in times if one is not None), default=None)

    @property
    def lives(self) -> bool:
        """Whether any session of this home lives, as far as was read."""
        return any(not one.ended for one in self._sessions.live.values())

    @property
    def report(self) -> HomeReport:
        """What there is to say of the home as it was read last."""
        return report_of(KIND, self._home, self._following, self._sessions.live.values())

    # What is told, on the loop.

    def look_again(self) -> None:
        """Note that the home may have come or gone."""
        self._tell(None)

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""
        if mask & (GONE | ino.Q_OVERFLOW) or name == FOLDER:
            self._tell(None)

    def folder_changed(self, mask: int, name: str) -> None:
        """Note an event in the folder that holds those of all sessions."""
        if mask & (GONE | ino.Q_OVERFLOW) or name == LOCKS:
            self._tell(None)
        elif mask & ino.ISDIR and SESSION_ID.fullmatch(name):
            if len(self._new) < MAX_LOOKED_FOR:
                self._new[name] = now().mono + LOOKED_FOR
            self.session_changed(name)

    def lock_changed(self, mask: int, name: str) -> None:
        """Note that the folder of a session was locked, or is no longer."""
        if mask & (GONE | ino.Q_OVERFLOW):
            self._tell(None)
        elif mask & ino.CLOSE_WRITE and name.endswith(".lock"):
            self.session_changed(name.removesuffix(".lock"))

    def session_changed(self, session_id: str) -> None:
        """Note that something of a session changed."""
        waited = self._throttle.due is not None
        if self._throttle.changed(session_id, now().mono):
            self._tell((SessionHint(session_id),))
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

    def _plan_looks(self) -> None:
        """Look into new folders until a process has locked them, or for a minute."""
        locked = {key.session_id for key, one in self._sessions.live.items() if not one.ended}
        mono = now().mono
        self._new = {one: at for one, at in self._new.items() if one not in locked and mono < at}
        self._looks.plan(self._new.keys(), mono)

    def _take_left(self) -> dict[str, None]:
        """Return the agents that are known and told of no more."""
        left, self._sessions.left = self._sessions.left, set()
        return dict.fromkeys(left & self._known.keys())

    async def _traces(self, only: set[SessionKey] | None) -> dict[str, AgentTraces]:
        """Read these sessions, or all, and return their traces."""
        moment = now()
        places = await self._places.of(self._reader.working_directories(only), self.look_again)
        live = self._sessions.live
        self._throttle.was_read({key.session_id for key in (live if only is None else only)}, moment.mono)
        traces = await self._run(self._reader.traces, Shown(places, self._wanted), moment.wall, only)
        self._throttle.wait(self._reader.more)
        self._poll_if_unwatched()
        self.state.unrecognised = self.report.unknown_words
        return traces

    def _poll_if_unwatched(self) -> None:
        """Have the home polled from now on where something of it cannot be watched: nothing tells of that."""
        unwatched = self._reader.unwatched
        if unwatched is not None and self._following.how == "push":
            self._following = Following("poll", "poll", explain(unwatched))
            self._tell(None)

    @property
    def _over_limit(self) -> Mapping[str, str]:
        words = self._sessions.over_limit
        return {} if words is None else {"sessions": words}

    async def _run(self, call: Callable[..., T], *about: Any) -> T:
        """Call something in the worker; raises SourceLost while the file system does not answer."""
        return await self._calls.run(call, *about, deadline=READ_DEADLINE)

    def _answers_again(self) -> None:
        if self.stopped:
            self._reader.forget()  # it may have been about to follow
        elif self._listener is not None:
            self._listener.readable()
