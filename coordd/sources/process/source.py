"""Tell of coding agents by their processes alone, so that nobody is invisible.

Nothing is known of what they do. Which processes are new is told once for all who wait for programs
(intake/newcomers.py); this looks at those whose name may be an agent's, each once, in a worker, for one that
hangs does not show its command line. Ends are told by who follows the process.

What another source says of the same process goes before (agents/identity.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from coordd.agents.key import NO_WORKSPACE
from coordd.agents.observation import Observation
from coordd.agents.session import Session
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.one_by_one import OneByOne
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import RESCAN, UNREADABLE, Following, SourceListener, SourceLost
from coordd.sources.process.families import SeenProgram, agents_among
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.work_tree import Place

T = TypeVar("T")

KIND = "process"
RANK = 90
READ_DEADLINE = 5.0
"""Seconds that one look at which processes live may take."""
LOOK_DEADLINE = 1.0
"""Seconds that a look at one process may take."""
MOST = 2000
"""Processes of agents that are listed at most."""
MOST_DISMISSED = 20_000
"""Processes that are no agents and are remembered, so that none of them is looked at again."""
MOST_WAITING = 10_000
"""Processes that wait to be looked at, at most."""
_HANGS = "its command line does not answer: it may be a coding agent's"
_NOTHING = "the system shows no processes"


class StartedHint(NamedTuple):
    """A process has started that may be an agent's."""

    process: Process


class ProcessSource:
    """The coding agents that are known by their processes alone.

    Args:
        shows: whether the system shows any process; in the worker.
        running: returns what is seen of all processes without waiting; in the worker.
        watched: whether a process is worth a look, by that.
        look: looks at one; in the worker, where it may hang.
        lives: whether a process lives; None where a look says nothing.
        wanted: whether agents that work in a place are shown, None: nobody knows where.
        places: finds out where agents work.
        worker: the thread that looks; it has to be replaceable.
    """

    patience = READ_DEADLINE

    def __init__(
        self,
        *,
        shows: Callable[[], bool],
        running: Callable[[], Sequence[ProcessFacts]],
        watched: Callable[[ProcessFacts], bool],
        look: Callable[[ProcessFacts], SeenProgram | None],
        lives: Callable[[Process], bool | None],
        wanted: Callable[[Place | None], bool],
        places: Places,
        worker: Worker,
    ) -> None:
        self.state = SourceState(
            name=SourceName(KIND),
            clock=ObservedClock(blind_since=now().mono),
            rank=RANK,
            names_workspaces=True,
        )
        self._shows = shows
        self._running = running
        self._watched = watched
        self._lives = lives
        self._wanted = wanted
        self._places = places
        self._worker = worker
        self._looks: OneByOne[ProcessFacts, SeenProgram | None] = OneByOne(
            look, worker=worker, answered=self._answered
        )
        self._listener: SourceListener | None = None
        self._known: Mapping[str, Observation] = {}
        self._waiting: dict[Process, ProcessFacts] = {}
        self._dismissed: set[tuple[Process, str | None, int | None]] = set()
        self._seen: dict[Process, SeenProgram] = {}
        self._traces: dict[str, AgentTraces] = {}
        self._listed = False
        self._hung = False

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:
        """Begin to tell of changes; everything can be read at once."""
        self._listener, self._known = listener, known
        listener.readable()

    def started(self, seen: Sequence[ProcessFacts]) -> None:
        """Note that these processes have started, or run another program; one may be told again."""
        new = [one for one in seen if self._is_new(one)]
        self._wait(new)
        if new:
            self._tell([StartedHint(one.process) for one in new])

    async def follow(self) -> Following:
        """Say that new processes are told, if the system shows any."""
        if not await self._run(self._shows):
            raise SourceLost(_NOTHING)
        return Following("push", "read")

    async def read_all(self) -> SourceTraces:
        """Look at what is new, and at whether the others live."""
        if not self._listed:
            running = await self._run(self._running)
            if not running:
                raise SourceLost(_NOTHING)
            self._wait(one for one in running if self._is_new(one))
            self._listed = True
        await self._look()
        await self._check([*self._seen, *self._waiting])
        traces = {agent_id: one for agent_id, one in (await self._all()).items() if one is not None}
        return SourceTraces(
            NO_WORKSPACE,
            "read",
            agents=traces,
            malformed={f"process {one.pid}": _HANGS for one in self._waiting},
            over_limit=self._over_limit,
        )

    async def read_some(self, _hints: Collection[Hashable]) -> AgentsChange:
        """Look at what is new."""
        if not self._listed:
            return AgentsChange(NO_WORKSPACE, {}, rescan_needed=True)
        await self._look()
        before = dict(self._traces)
        told = await self._all()
        return AgentsChange(
            NO_WORKSPACE, {key: one for key, one in told.items() if one is not before.get(key)}
        )

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Look whether the processes of these agents live."""
        asked = set(agent_ids)
        await self._check([one.process for one in self._seen.values() if one.agent_id in asked])
        told = await self._all()
        return AgentsChange(NO_WORKSPACE, {agent_id: told.get(agent_id) for agent_id in asked})

    def lost(self, _trouble: str) -> None:
        """Have everything listed anew: what has started meanwhile was not told."""
        self._listed = False

    async def stop(self) -> None:
        """End."""
        self._listener = None
        self._worker.close()

    def resolve_again(self) -> None:
        """Resolve all places anew: the paths that lead to workspaces have changed."""
        self._places.forget()
        self._tell(None)

    @property
    def interval(self) -> float:
        """Seconds until the next full reading."""
        return UNREADABLE if self.state.state == "unreadable" else RESCAN

    @property
    def due(self) -> float | None:
        """Never: what is new is told."""
        return None

    # Looks.

    def _is_new(self, one: ProcessFacts) -> bool:
        seen = self._seen.get(one.process)
        if seen is not None:  # it may have been seen between fork(2) and execve(2)
            return seen.image != one.image
        return (one.process, one.name, one.image) not in self._dismissed and self._watched(one)

    def _wait(self, new: Iterable[ProcessFacts]) -> None:
        """Have these looked at; what hangs stays among them until it answers or ends."""
        self._waiting |= {one.process: one for one in islice(new, max(0, MOST_WAITING - len(self._waiting)))}

    async def _look(self) -> None:
        """Look at what waits; what hangs is looked at again once it answers."""
        if self._hung or not self._waiting:
            return
        answers = await self._looks.answers(list(self._waiting.values()), deadline=LOOK_DEADLINE)
        for facts, seen in answers.items():
            self._waiting.pop(facts.process, None)
            if seen is None:
                self._seen.pop(facts.process, None)
                self._dismiss(facts)
            elif len(self._seen) < MOST or facts.process in self._seen:
                self._seen[facts.process] = seen

    def _dismiss(self, facts: ProcessFacts) -> None:
        if len(self._dismissed) >= MOST_DISMISSED:
            self._dismissed.clear()
        self._dismissed.add((facts.process, facts.name, facts.image))

    async def _check(self, processes: Sequence[Process]) -> None:
        """Forget the processes that have ended."""
        for process in await self._run(self._ended, processes):
            self._seen.pop(process, None)
            self._waiting.pop(process, None)

    def _ended(self, processes: Iterable[Process]) -> list[Process]:
        return [one for one in processes if self._lives(one) is False]

    # What is told.

    async def _all(self) -> dict[str, AgentTraces | None]:
        """Return the traces of all agents, also of known ones that have ended; None of one that is none."""
        agents = agents_among(self._seen.values())
        cwds = {one.cwd for one in agents if one.cwd is not None}
        places = await self._places.of(cwds, lambda: self._tell(None))
        told: dict[str, AgentTraces | None] = dict.fromkeys(self._known)
        for one in agents:
            place = places.get(one.cwd) if one.cwd is not None else None
            if self._wanted(place):
                told[one.agent_id] = self._kept(one.agent_id, _traces(one, place))
        gone = [one for one in told if told[one] is None]
        for agent_id, process in zip(gone, map(self._process_of, gone), strict=True):
            if process is not None and self._lives(process) is False:
                told[agent_id] = self._kept(agent_id, self._over(agent_id, process))
        self._traces = {agent_id: one for agent_id, one in told.items() if one is not None}
        return told

    def _process_of(self, agent_id: str) -> Process | None:
        """Return the process that a known agent had."""
        known = self._known[agent_id]
        return known.process.process if known.process is not None else None

    def _over(self, agent_id: str, process: Process) -> AgentTraces:
        """Return the traces of an agent that is known and whose process has ended."""
        known = self._known[agent_id]
        session = known.session or Session(kind=agent_id.rpartition("-")[0], session_id=None, process=process)
        over = replace(
            session, session_id=None, process=process, lives=False, present=False, ties=False, turn=None
        )
        return AgentTraces(agent_id, workspace=known.workspace, session=over)

    def _kept(self, agent_id: str, traces: AgentTraces) -> AgentTraces:
        """Return the same object as before where nothing has changed."""
        before = self._traces.get(agent_id)
        return before if before is not None and before == traces else traces

    @property
    def _over_limit(self) -> Mapping[str, str]:
        words = f"more than {MOST:,} processes of coding agents: the rest is not listed"
        return {"processes": words} if len(self._seen) >= MOST else {}

    def _answered(self) -> None:
        self._tell([StartedHint(one) for one in self._waiting])

    def _tell(self, hints: Collection[Hashable] | None) -> None:
        if self._listener is not None:
            self._listener.changed(hints)

    async def _run(self, call: Callable[..., T], *about: Any) -> T:
        """Call something in the worker; raises SourceLost while it does not answer."""
        if not self._hung:
            try:
                return await self._worker.run(call, *about, deadline=READ_DEADLINE)
            except DeadlineMissed as missed:
                self._hung = True
                missed.future.add_done_callback(self._answers_again)
        raise SourceLost(f"the system does not tell of its processes ({READ_DEADLINE:g} s)")

    def _answers_again(self, _late: asyncio.Future[Any]) -> None:
        self._hung = False
        if self._listener is not None:
            self._listener.readable()


def _traces(one: SeenProgram, place: Place | None) -> AgentTraces:
    session = Session(
        kind=one.program.kind,
        session_id=None,
        process=one.process,
        present=False,
        project=place.project if place is not None else None,
        started_at=one.started,
        ties=False,
        tty=one.tty,
        user=one.user,
    )
    workspace = place.workspace if place is not None else NO_WORKSPACE
    return AgentTraces(one.agent_id, workspace=workspace, session=session)
