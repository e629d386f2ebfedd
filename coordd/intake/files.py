"""What is read when: each workspace in full now and then, and what changed in it at once.

What is read goes to agents.py and tasks.py beside this module. One :class:`WorkspaceSource` a workspace, each
with a lock that is held from the reading until the store shows it: so what is published is what was read
last, and a workspace that hangs delays no other. Nothing here blocks: reading happens in the trace workers,
writing behind the recorder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from coordd.agents.reducer import KnownAgent, Reading
from coordd.agents.store import AgentStore, Workspace
from coordd.agents.traces import AgentTraces, WorkspaceTraces
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.source import SourceState, TraceLog
from coordd.intake.tasks import TaskIntake
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.hints import Hint, Signal
from coordd.sources.file.reader import HEARTBEAT, WorkspaceReader
from coordd.sources.file.watch import Followed

log = logging.getLogger(__name__)

BATCH = 0.05
"""Seconds for which hints are gathered: a thousand beats make one batch, and one write."""
RESCAN = 30.0
"""Seconds between two full readings of everything."""
POLL = 2.0
"""Seconds between two full readings of a source that announces nothing."""
FULL_READ_SHARE = 20
FULL_READ_PAUSE = (0.5, 5.0)
"""After a full reading the next one that a hint asks for waits so many times as long as that took, within
these seconds: whoever touches the folders themselves all the time costs a twentieth of a thread at most."""
READ_DEADLINE = 5.0
"""Seconds without a sign of going on after which a file system counts as hung."""
MAX_HINTS = 50_000
"""Hints of one workspace that may wait; beyond that everything is read."""
SLICE = 500
"""Agents that are taken over before the loop turns again."""


@dataclass(slots=True, eq=False, kw_only=True)
class WorkspaceSource(SourceState):
    """One workspace as it is read: its reader, its place in the store, and what is to be read next."""

    reader: WorkspaceReader
    worker: Worker
    from_glob: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    hints: set[Hint] = field(default_factory=set)
    full_after: float = 0.0
    hung: bool = False
    followed: Followed = field(default_factory=lambda: Followed("poll"))


class FileIntake:
    """Follows every workspace; its public coroutines are the jobs of the schedule."""

    def __init__(
        self,
        *,
        store: AgentStore,
        backend: FileBackend,
        schedule: Schedule,
        local: Worker,
        remote: Worker,
        agents: AgentIntake,
        tasks: TaskIntake,
        judging: DeadlineTimer,
        malformed: TraceLog,
    ) -> None:
        self._store = store
        self._agents = agents
        self._tasks = tasks
        self._backend = backend
        self._schedule = schedule
        self._local = local
        self._remote = remote
        self._sources: dict[str, WorkspaceSource] = {}
        self._malformed = malformed
        self._entries: tuple[str, ...] = ()
        self._judging = judging

    async def start(self, restored: Iterable[KnownAgent]) -> None:
        """Find the workspaces, take over what was known of all agents, and read everything once."""
        await self._expand()
        moment = now()
        restored = list(restored)
        self._tasks.starting(agent.key for agent in restored if agent.verdict.status != "inactive")
        await self._agents.restore(restored, moment)
        await asyncio.gather(*(self._scan(source) for source in self._sources.values()))
        self._schedule.every("agents.rescan", RESCAN, self.rescan)

    async def stop(self) -> None:
        """Read, record and publish no more; what is under way comes to its end first."""
        sources, self._sources = self._sources, {}
        for source in sources.values():
            async with source.lock:
                source.hung = True

    def hint(self, path: str, hint: Hint) -> None:
        """Something changed in a workspace; called on the loop, up to thousands of times a second."""
        source = self._sources.get(path)
        if source is None:
            return
        if not source.hints:
            self._arm(source)
        if len(source.hints) >= MAX_HINTS:  # a reading goes on, and strangers make names faster than it
            source.hints.clear()
            hint = Signal.RESCAN
        source.hints.add(hint)

    def gap(self, seconds: float) -> None:
        """The loop did not turn for so long: take it out of every clock, and read again."""
        for source in self._sources.values():
            source.shown.clock.skip(seconds)
        self._store.rejudge_all(now().mono)
        self.rescan_soon()

    def rescan_soon(self) -> None:
        """Read everything again, now rather than at the next rescan."""
        self._schedule.once("agents.rescan-now", 0.0, self.rescan)

    async def rescan(self) -> None:
        """Find workspaces anew and read each in full: the truth that hints only anticipate."""
        await self._expand()
        await asyncio.gather(*(self._scan(source) for source in list(self._sources.values())))

    async def reread(self, path: str, agent_ids: Collection[str]) -> None:
        """Read these agents of a workspace once more, before they are judged."""
        source = self._sources.get(path)
        if source is None:
            return
        async with source.lock:
            if not source.hung and source.shown.clock.readable:
                await self._read_some(source, {agent_id + HEARTBEAT for agent_id in agent_ids})

    def _arm(self, source: WorkspaceSource) -> None:
        self._schedule.once(f"agents.batch:{source.shown.path}", BATCH, lambda: self._batch(source))

    async def _batch(self, source: WorkspaceSource) -> None:
        async with source.lock:
            hints, source.hints = source.hints, set()
            if not hints or source.hung:
                return
            if Signal.RESCAN in hints and not self._put_off(source):
                await self._read_all(source)
            elif hints := hints - {Signal.RESCAN}:
                await self._read_some(source, hints)

    def _put_off(self, source: WorkspaceSource) -> bool:
        """Whether the last full reading is so fresh that the next one has to wait; then that is arranged."""
        wait = source.full_after - now().mono
        if wait <= 0:
            return False
        name = f"agents.rescan:{source.shown.path}"
        if self._schedule.waiting(name) is None:
            self._schedule.once(name, wait, lambda: self._scan(source))
        return True

    async def _scan(self, source: WorkspaceSource) -> None:
        async with source.lock:
            if not source.hung:
                source.hints.clear()
                await self._read_all(source)

    async def _read_some(self, source: WorkspaceSource, hints: set[Hint]) -> None:
        try:
            change = await source.worker.run(source.reader.read, hints, deadline=READ_DEADLINE)
        except DeadlineMissed as late:
            await self._hangs(source, late)
            return
        if change.rescan_needed:
            if not self._put_off(source):
                await self._read_all(source)
            return
        source.found_some(change.malformed)
        self._malformed.note(source.shown)
        await self._agents.take(source.shown.path, change.agents, self._reading(source, pushed=True))
        self._judging.look()
        self._tasks.take(source.shown.path, change.work)

    async def _read_all(self, source: WorkspaceSource) -> None:
        began = now().mono
        try:
            followed, traces = await source.worker.run(
                self._follow_and_scan, source, now().wall, deadline=READ_DEADLINE
            )
        except DeadlineMissed as late:
            await self._hangs(source, late)
            return
        source.followed = followed
        moment = now()
        shortest, longest = FULL_READ_PAUSE
        pause = min(max(FULL_READ_SHARE * (moment.mono - began), shortest), longest)
        source.full_after = moment.mono + pause
        if traces.state == "unreadable":
            await self._lost(source, traces.error or "it cannot be read", gone=traces.gone)
            return
        if traces.state == "waiting" and self._store.in_workspace(source.shown.path):
            await self._lost(source, ".claude/coordination was there before the restart and is gone")
            return
        blind = not source.shown.clock.readable
        source.shown.clock.regained(moment.mono)
        source.shown.state = "waiting" if traces.state == "waiting" else followed.state
        source.shown.error = followed.reason if followed.state == "poll" else None
        source.found_all(traces)
        self._malformed.note(source.shown)
        if blind:
            self._store.rejudge(source.shown.path, moment.mono)
        agents = iter(self._complete(source, traces).items())
        while some := dict(islice(agents, SLICE)):
            await self._agents.take(source.shown.path, some, self._reading(source, pushed=False))
            self._tasks.look()
            await asyncio.sleep(0)
        self._agents.read_all(source.shown.path, traces.agents)
        self._judging.look()
        await self._tasks.take_all(source.shown.path, traces, fresh=not source.read_once)
        source.last_observed = source.shown.clock.now(began)
        source.read_once = traces.state == "read"
        self._poll(source)

    def _follow_and_scan(self, source: WorkspaceSource, wall: float) -> tuple[Followed, WorkspaceTraces]:
        """Runs in a trace worker. Watching begins before reading: what changes in between is announced."""
        followed = self._backend.follow(source.shown.path)
        return followed, source.reader.scan(wall)

    def _complete(self, source: WorkspaceSource, traces: WorkspaceTraces) -> Mapping[str, AgentTraces | None]:
        """A full reading says of every known agent what is there, even that nothing is."""
        agents: dict[str, AgentTraces | None] = dict(traces.agents)
        for agent in self._store.in_workspace(source.shown.path):
            agents.setdefault(agent.key[1], None)
        return agents

    def _reading(self, source: WorkspaceSource, *, pushed: bool) -> Reading:
        return source.reading(self._store, pushed=pushed, starting=not self._judging.running)

    async def _hangs(self, source: WorkspaceSource, late: DeadlineMissed) -> None:
        source.hung = True
        late.future.add_done_callback(lambda _: self._answers_again(source))
        await self._lost(source, f"the file system does not answer ({READ_DEADLINE:g} s)")

    def _answers_again(self, source: WorkspaceSource) -> None:
        if self._sources.get(source.shown.path) is not source:
            return
        source.hung = False
        self.hint(source.shown.path, Signal.RESCAN)

    async def _lost(self, source: WorkspaceSource, error: str, *, gone: bool = False) -> None:
        moment = now()
        path = source.shown.path
        if gone and source.from_glob:
            await self._drop(source)
            return
        if source.shown.error != error:
            log.warning("workspace %s cannot be read: %s", path, error)
        source.shown.clock.lost(moment.mono)
        source.read_once = False
        source.shown.state, source.shown.error = "unreadable", error
        self._store.rejudge(path, moment.mono)
        self._tasks.lost(path)
        if self._judging.running:
            await self._agents.record_verdicts(
                [self._store.place(agent.key) for agent in self._store.in_workspace(path)]
            )
        self._judging.look()

    async def _drop(self, source: WorkspaceSource) -> None:
        """A workspace that is no longer configured, or whose project is gone; its lock is held."""
        path = source.shown.path
        source.hung = True
        self._sources.pop(path, None)
        self._backend.unfollow(path)
        await self._agents.drop(path)
        self._tasks.drop(path)  # at one with the next line: whoever asks meanwhile finds both or neither
        self._store.workspaces.pop(path, None)

    async def _expand(self) -> None:
        """Find the workspaces that the configuration names now."""
        try:
            found = await self._local.run(self._backend.find, deadline=READ_DEADLINE)
        except DeadlineMissed:
            log.warning("looking for workspaces takes more than %g s", READ_DEADLINE)
            return
        wanted = {one.path: one for one in found}
        entries = tuple(self._backend.entries)
        reconfigured, self._entries = entries != self._entries, entries
        for path, source in list(self._sources.items()):
            # What a pattern found stays until its project is gone, even while its folder is away.
            if path not in wanted and (reconfigured or not source.from_glob):
                async with source.lock:
                    await self._drop(source)
        for path, one in wanted.items():
            if path not in self._sources:
                shown = Workspace(path=path, clock=ObservedClock(blind_since=now().mono))
                self._store.workspaces[path] = shown
                self._sources[path] = WorkspaceSource(
                    reader=self._backend.reader(path),
                    shown=shown,
                    worker=self._remote if one.remote else self._local,
                    from_glob=one.from_glob,
                )

    def _poll(self, source: WorkspaceSource) -> None:
        name = f"agents.poll:{source.shown.path}"
        if source.followed.state == "poll":
            self._schedule.once(name, POLL, lambda: self._scan(source))
