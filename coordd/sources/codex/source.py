"""Read one home of Codex as a source: in a worker, within deadlines.

Nothing here blocks the loop: a home may lie on a file system that hangs, and then a deadline is missed. Until
the call returns after all, the home counts as unreadable, and nothing is asked of it. What is told, and how
soon it is read:

=============================================  ===============================================================
a rollout has changed, or was closed           it is read with the next batch, or once its last reading is a
                                               second ago; whether it is still held is looked at then
a rollout or a folder has appeared, a session  who holds what, with the next batch; a session that was locked
was locked, a program has started              is looked for again until its rollout is held (looks.py); not
                                               twice within a second
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
from coordd.host.process_facts import ProcessFacts
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.runtime.worker import Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener
from coordd.sources.codex.live import SessionKey
from coordd.sources.codex.processes import KIND
from coordd.sources.codex.reader import HomeReader, Shown
from coordd.sources.codex.sessions import Sessions
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

RANK = 21
READ_DEADLINE = 5.0
"""Seconds without progress of a reading after which its file system counts as hung."""
LOOKED_FOR = 60.0
"""Seconds for which a rollout is looked for whose session was locked."""
MAX_LOOKED_FOR = 100
"""Sessions whose rollouts are looked for at once."""


class RolloutHint(NamedTuple):
    """The rollout of a session has changed, or was closed."""

    key: SessionKey


class LookHint(NamedTuple):
    """Somebody may hold another rollout by now; ``folders``: a folder may have appeared as well."""

    folders: bool


_LOOKS = (LookHint(folders=False), LookHint(folders=True))


class CodexSource:
    """The sessions of one home.

    ``named``: the configuration or the environment names it; ``stopped``: nothing is read of it any more.

    Args:
        home: its canonical path.
        named: whether the configuration or the environment names it.
        worker: the thread that reads it and nothing else; it ends with the source.
        places: finds out where sessions work.
        watch: tells of changes.
        sessions: who holds what.
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
        sessions: Sessions | None = None,
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
        self._sessions = sessions or Sessions(home, look=look)
        self._reader = HomeReader(home, sessions=self._sessions, watch=watch, told=self)
        self._listener: SourceListener | None = None
        self._known: Mapping[str, Observation] = {}
        self._throttle: Throttle[SessionKey] = Throttle()
        self._looking: Throttle[LookHint] = Throttle()
        self._following = Following("poll", "poll")
        self._looks = Looks()
        self._locked: dict[str, float] = {}
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
        known = {agent_id: known_of(one) for agent_id, one in self._known.items()}
        there = await self._run(self._reader.look_at_all, known, now().wall)
        agents = await self._traces(None)
        self._sessions.left.clear()
        self._throttle.keep(self._sessions.live)
        return SourceTraces(
            self.state.workspace,
            "read" if there else "waiting",
            agents=agents,
            malformed=self._reader.malformed,
            over_limit=self._over_limit,
        )

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the rollouts that the hints name, those that have waited, and look who holds what."""
        mono, wall = now().mono, now().wall
        keys = {hint.key for hint in hints if isinstance(hint, RolloutHint)} | self._throttle.take(mono)
        looks = {hint for hint in hints if isinstance(hint, LookHint)} | self._looking.take(mono)
        due = self._looks.is_due(mono)
        if keys:
            keys = await self._run(self._reader.look_at, keys, wall)
        if looks or due:
            self._looking.was_read(_LOOKS, mono)
            keys |= await self._run(self._look, wall, LookHint(folders=True) in looks)
            if due:
                self._looks.looked(mono, now().mono)
        changed: dict[str, AgentTraces | None] = {}
        if keys:
            changed.update(await self._traces(keys))
        changed.update(self._take_left())
        self._plan_looks()
        self._poll_if_unwatched()
        return AgentsChange(self.state.workspace, changed, self._reader.malformed)

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the rollouts of these agents, whether or not their processes live."""
        asked = set(agent_ids)
        changed: dict[str, AgentTraces | None] = dict.fromkeys(asked)
        keys = self._sessions.of_agents(asked)
        if keys:
            keys = await self._run(self._reader.look_at, keys, now().wall)
            changed.update(await self._traces(keys))
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
        if self._sessions.over_limit is not None and self._following.how != "poll":
            return UNREADABLE  # one that ends makes room for another
        return POLL if self._following.how == "poll" else RESCAN

    @property
    def due(self) -> float | None:
        """When what has changed may be read that may not be yet, or what is missing is to be looked for."""
        times = (self._throttle.due, self._looking.due, self._looks.due)
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

    def program_started(self) -> None:
        """Note that a program of Codex has started: it may hold a rollout, of any day."""
        self._look_soon(folders=False)

    def home_changed(self, mask: int, name: str) -> None:
        """Note an event in the home itself."""
        if mask & (GONE | ino.Q_OVERFLOW) or name in ("sessions", "thread-writer-locks"):
            self._tell(None)

    def folder_changed(self, mask: int, name: str) -> None:
        """Note an event in ``sessions/``, or in a folder below it."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
        elif mask & (GONE | ino.ISDIR):
            self._look_soon(folders=True)
        elif name.startswith("rollout-"):
            self._look_soon(folders=False)

    def lock_changed(self, mask: int, name: str) -> None:
        """Note that a session was locked, or is no longer."""
        if mask & ino.Q_OVERFLOW:
            self._tell(None)
            return
        if not name.endswith(".lock"):  # somebody lists the folder
            return
        session_id = name.removesuffix(".lock")
        if mask & ino.CLOSE_WRITE:
            self._locked.pop(session_id, None)
        elif session_id not in self._locked and len(self._locked) < MAX_LOOKED_FOR:
            self._locked[session_id] = now().mono + LOOKED_FOR
        self._look_soon(folders=False)

    def _look_soon(self, *, folders: bool) -> None:
        """Have it looked at who holds what: at once, or once the last look is a second ago."""
        hint, waited = LookHint(folders), self._looking.due is not None
        if self._looking.changed(hint, now().mono):
            self._tell((hint,))
        elif not waited:
            self._tell(())  # so that it is known when it is due

    def rollout_changed(self, key: SessionKey) -> None:
        """Note that a rollout changed, or was closed."""
        waited = self._throttle.due is not None
        if self._throttle.changed(key, now().mono):
            self._tell((RolloutHint(key),))
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

    def _look(self, wall: float, folders: bool) -> set[SessionKey]:
        return self._reader.look(wall, folders_too=folders)

    def _plan_looks(self) -> None:
        """Look for sessions that were locked until their rollouts are held, or for a minute."""
        held = {key.session_id for key, one in self._sessions.live.items() if not one.ended}
        mono = now().mono
        self._locked = {one: at for one, at in self._locked.items() if one not in held and mono < at}
        self._looks.plan(self._locked.keys(), mono)

    def _take_left(self) -> dict[str, None]:
        """Return the agents that are known and told of no more."""
        left, self._sessions.left = self._sessions.left, set()
        return dict.fromkeys(left & self._known.keys())

    async def _traces(self, only: set[SessionKey] | None) -> dict[str, AgentTraces]:
        """Read these rollouts, or all, and return the traces of their sessions."""
        moment = now()
        places = await self._places.of(self._reader.working_directories(only), self.look_again)
        self._throttle.was_read(self._sessions.live if only is None else only, moment.mono)
        traces = await self._run(self._reader.traces, Shown(places, self._wanted), moment.wall, only)
        self._throttle.wait(self._reader.more)
        self._poll_if_unwatched()
        self.state.unrecognised = self.report.unknown_words
        self.state.limits = tuple(self._sessions.limits)
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
