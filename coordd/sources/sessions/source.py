"""Share what the sources of sessions do: each reads one home in a worker, within deadlines.

Nothing here blocks the loop: a home may lie on a file system that hangs, and then a deadline is missed. Until
the call returns after all, the home counts as unreadable, and nothing is asked of it. What is told becomes
hints, of which each kind has its own; a transcript that changes all the time is read once a second at most
(throttle.py), and where something cannot be watched, everything is read every :data:`POLL` seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.runtime.worker import Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener
from coordd.sources.sessions.home_calls import HomeCalls
from coordd.sources.sessions.looks import Looks
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.reader import Reader, Shown
from coordd.sources.sessions.report import HomeReport, report_of
from coordd.sources.sessions.restored import known_of
from coordd.sources.sessions.throttle import Throttle
from coordd.sources.sessions.watch import Watch, explain
from coordd.sources.sessions.work_tree import Place

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Hashable)
H = TypeVar("H", bound=Hashable)
V = TypeVar("V")

READ_DEADLINE = 5.0
"""Seconds without progress of a reading after which its file system counts as hung."""


class SessionsSource(ABC, Generic[K, T]):
    """The sessions of one home: ``K`` tells one from another, ``T`` is what is read once a second at most.

    A subclass says what is told, and what of it is read. ``named``: the configuration or the environment
    names the home; ``stopped``: nothing is read of it any more.

    Args:
        home: its canonical path.
        named: whether the configuration or the environment names it.
        worker: the thread that reads it and nothing else; it ends with the source.
        places: finds out where sessions work.
        watch: tells of changes.
        wanted: whether sessions that work in a place are shown.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    kind: str
    """The name of this kind of source and agent, as records have it."""
    rank: int
    """Which of several sources goes before another."""
    patience = READ_DEADLINE
    _reader: Reader[K, Any, T]

    def __init__(
        self,
        home: str,
        *,
        named: bool,
        worker: Worker,
        places: Places,
        watch: Watch,
        wanted: Callable[[Place], bool],
        remote: Callable[[str], str | None],
    ) -> None:
        self.state = SourceState(
            name=SourceName(self.kind, home),
            clock=ObservedClock(blind_since=now().mono),
            rank=self.rank,
            names_workspaces=True,
        )
        self.named = named
        self.stopped = False
        self._home = home
        self._calls = HomeCalls(worker=worker, answers=self._answers_again)
        self._places = places
        self._wanted = wanted
        self._remote = remote
        self._watch = watch
        self._listener: SourceListener | None = None
        self._known: Mapping[str, Observation] = {}
        self._throttle: Throttle[T] = Throttle()
        self._following = Following("poll", "poll")
        self._poll = POLL
        self._looks = Looks()

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
        there = await self._run(self._reader.look_at_all, known, now().wall)
        agents = await self._traces(None)
        sessions.left.clear()
        self._throttle.keep(self.throttled(sessions.live))
        words = sessions.over_limit
        return SourceTraces(
            self.state.workspace,
            "read" if there else "waiting",
            agents=agents,
            malformed=self._reader.malformed,
            over_limit={} if words is None else {"sessions": words},
        )

    @abstractmethod
    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read what the hints name, and what else is due."""

    @abstractmethod
    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the sessions of these agents, whether or not their processes live."""

    @abstractmethod
    def throttled(self, sessions: Iterable[K]) -> Iterable[T]:
        """Return as what these sessions are read once a second at most."""

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
        # One that ends makes room for another.
        return RESCAN if self._reader.sessions.over_limit is None else UNREADABLE

    @property
    def due(self) -> float | None:
        """When what has changed may be read that may not be yet, or what is missing is to be looked for."""
        times = (self._throttle.due, self._looks.due)
        return min((one for one in times if one is not None), default=None)

    @property
    def lives(self) -> bool:
        """Whether any session of this home lives, as far as was read."""
        return any(not one.ended for one in self._reader.sessions.live.values())

    @property
    def report(self) -> HomeReport:
        """What there is to say of the home as it was read last."""
        return report_of(self.kind, self._home, self._following, self._reader.sessions.live.values())

    # What is told, on the loop.

    def look_again(self) -> None:
        """Note that the home may have come or gone."""
        self._tell(None)

    def _tell(self, hints: Collection[Hashable] | None) -> None:
        if self._listener is not None:
            self._listener.changed(hints)

    def _tell_in_time(self, throttle: Throttle[H], key: H, hint: Hashable) -> None:
        """Tell of a change at once, or once its last reading is a second ago."""
        waited = throttle.due is not None
        if throttle.changed(key, now().mono):
            self._tell((hint,))
        elif not waited:
            self._tell(())  # so that it is known when something is due

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

    def _change(self, agents: Mapping[str, AgentTraces | None]) -> AgentsChange:
        """Return a change; agents that are known and told of no more have left."""
        sessions = self._reader.sessions
        left, sessions.left = sessions.left, set()
        gone: dict[str, AgentTraces | None] = dict.fromkeys(left & self._known.keys())
        return AgentsChange(self.state.workspace, {**agents, **gone}, self._reader.malformed)

    async def _traces(self, only: set[K] | None) -> dict[str, AgentTraces]:
        """Read the transcripts of these sessions, or of all, and return their traces."""
        places = await self._places.of(self._reader.working_directories(only), self.look_again)
        moment = now()
        read = self._reader.sessions.live if only is None else only
        self._throttle.was_read(self.throttled(read), moment.mono)
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

    async def _run(self, call: Callable[..., V], *about: Any) -> V:
        """Call something in the worker; raises SourceLost while the file system does not answer."""
        return await self._calls.run(call, *about, deadline=READ_DEADLINE)

    def _answers_again(self) -> None:
        if self.stopped:
            self._reader.forget()  # it may have been about to follow
        elif self._listener is not None:
            self._listener.readable()
