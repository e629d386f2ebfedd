"""Decide when each workspace is read: in full at intervals, and at once what changed in it.

What is read goes to agents.py and tasks.py beside this module. The rule: each workspace has a
:class:`WorkspaceSource` with a lock that is held from the reading until the store shows it; so what is
published is what was read last, and a workspace that hangs delays no other. Nothing here blocks: reading
happens in the trace workers, writing behind the recorder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from coordd.agents.reducer import KnownAgent, Reading
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentTraces, WorkspaceTraces
from coordd.agents.workspace import Workspace
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.source import SourceState, TraceLog, in_slices
from coordd.intake.tasks import TaskIntake
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.file.agent_files import HEARTBEAT
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.hints import Hint, Signal
from coordd.sources.file.reader import WorkspaceReader
from coordd.sources.file.watch import Followed

log = logging.getLogger(__name__)

BATCH = 0.05
"""Seconds for which hints are gathered: a thousand beats make one batch and one write."""
RESCAN = 30.0
"""Seconds between two full readings of everything."""
POLL = 2.0
"""Seconds between two full readings of a source that announces nothing."""
FULL_READ_SHARE = 20
FULL_READ_PAUSE = (0.5, 5.0)
"""The pause after a full reading, before a hint can cause the next one: FULL_READ_SHARE times as long as the
reading took, within these bounds in seconds. So changing the folders all the time costs at most a twentieth
of
a thread."""
READ_DEADLINE = 5.0
"""Seconds without progress of a reading after which its file system counts as hung."""
MAX_HINTS = 50_000
"""The number of hints of one workspace that may wait; beyond it everything is read."""


@dataclass(slots=True, eq=False, kw_only=True)
class WorkspaceSource(SourceState):
    """One workspace as it is read: its reader, and what is to be read next.

    ``worker`` is the thread that reads it. ``from_glob`` is true when a pattern found it. ``hints`` wait to
    be read; ``full_after`` is the monotonic time from which on a hint may cause a full reading. ``hung`` is
    true while its file system does not answer, and after it was dropped. ``followed`` is how changes are
    noticed.
    """

    reader: WorkspaceReader
    worker: Worker
    from_glob: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    hints: set[Hint] = field(default_factory=set)
    full_after: float = 0.0
    hung: bool = False
    followed: Followed = field(default_factory=lambda: Followed("poll"))


class FileIntake:
    """Follow every workspace; the public coroutines are the jobs of the schedule."""

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
        deadline_timer: DeadlineTimer,
        trace_log: TraceLog,
    ) -> None:
        self._store = store
        self._agents = agents
        self._tasks = tasks
        self._backend = backend
        self._schedule = schedule
        self._local = local
        self._remote = remote
        self._sources: dict[str, WorkspaceSource] = {}
        self._trace_log = trace_log
        self._entries: tuple[str, ...] = ()
        self._finding = False
        self._find_after = 0.0
        self._deadline_timer = deadline_timer

    async def start(self, restored: Iterable[KnownAgent]) -> None:
        """Find the workspaces, show the agents that the last run knew, and read everything once."""
        await self._expand()
        moment = now()
        restored = list(restored)
        self._tasks.starting(agent.key for agent in restored if agent.verdict.status != "inactive")
        await self._agents.restore(restored, moment)
        await asyncio.gather(*(self._scan(source) for source in self._sources.values()))
        self._schedule.every("agents.rescan", RESCAN, self.rescan)

    async def stop(self) -> None:
        """Stop reading and publishing, after the readings under way have ended."""
        sources, self._sources = self._sources, {}
        for source in sources.values():
            async with source.lock:
                source.hung = True

    def hint(self, path: str, hint: Hint) -> None:
        """Note a change in a workspace; called on the loop, up to thousands of times a second."""
        source = self._sources.get(path)
        if source is None:
            return
        if not source.hints:
            self._await_batch(source)
        # A reading is under way, and new names are made faster than it reads.
        if len(source.hints) >= MAX_HINTS:
            source.hints.clear()
            hint = Signal.RESCAN
        source.hints.add(hint)

    def gap(self, seconds: float) -> None:
        """Take a gap, in which the loop did not run, out of every clock, and read everything again."""
        for source in self._sources.values():
            source.workspace.clock.skip(seconds)
        self._store.rejudge_all(now().mono)
        self.rescan_soon()

    def rescan_soon(self) -> None:
        """Read everything again now, before the next rescan is due."""
        self._schedule.once("agents.rescan-now", 0.0, self.rescan)

    def find_soon(self) -> None:
        """Look for workspaces again soon; called on the loop, up to thousands of times a second."""
        if not self._finding:
            self._finding = True
            self._schedule.once("workspaces.find", max(BATCH, self._find_after - now().mono), self._find)

    async def _find(self) -> None:
        """Look for workspaces again, and read the new ones in full."""
        self._finding = False
        known = set(self._sources)
        began = now().mono
        await self._expand()
        ended = now().mono
        self._find_after = ended + min(FULL_READ_SHARE * (ended - began), FULL_READ_PAUSE[1])
        await asyncio.gather(
            *(self._scan(source) for path, source in list(self._sources.items()) if path not in known)
        )

    async def rescan(self) -> None:
        """Find the workspaces again and read each in full, which corrects whatever hints missed."""
        await self._expand()
        await asyncio.gather(*(self._scan(source) for source in list(self._sources.values())))

    async def reread(self, path: str, agent_ids: Collection[str]) -> None:
        """Read these agents of a workspace again, before they are judged."""
        source = self._sources.get(path)
        if source is None:
            return
        async with source.lock:
            if not source.hung and source.workspace.clock.readable:
                await self._read_some(source, {agent_id + HEARTBEAT for agent_id in agent_ids})

    def _await_batch(self, source: WorkspaceSource) -> None:
        self._schedule.once(f"agents.batch:{source.workspace.path}", BATCH, lambda: self._batch(source))

    async def _batch(self, source: WorkspaceSource) -> None:
        async with source.lock:
            hints, source.hints = source.hints, set()
            if not hints or source.hung:
                return
            if Signal.RESCAN in hints and not self._postpone(source):
                await self._read_all(source)
            elif hints := hints - {Signal.RESCAN}:
                await self._read_some(source, hints)

    def _postpone(self, source: WorkspaceSource) -> bool:
        """Return whether a full reading has to wait for its pause; if so, schedule it."""
        wait = source.full_after - now().mono
        if wait <= 0:
            return False
        name = f"agents.rescan:{source.workspace.path}"
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
        except DeadlineMissed as missed:
            await self._mark_hung(source, missed)
            return
        if change.rescan_needed:
            if not self._postpone(source):
                await self._read_all(source)
            return
        source.found_some(change.malformed)
        self._trace_log.note(source.workspace)
        await self._agents.take(source.workspace.path, change.agents, self._reading(source, pushed=True))
        self._deadline_timer.update()
        self._tasks.take(source.workspace.path, change.work)

    async def _read_all(self, source: WorkspaceSource) -> None:
        began = now().mono
        try:
            followed, traces = await source.worker.run(
                self._follow_and_scan, source, now().wall, deadline=READ_DEADLINE
            )
        except DeadlineMissed as missed:
            await self._mark_hung(source, missed)
            return
        source.followed = followed
        moment = now()
        shortest, longest = FULL_READ_PAUSE
        pause = min(max(FULL_READ_SHARE * (moment.mono - began), shortest), longest)
        source.full_after = moment.mono + pause
        if traces.state == "unreadable":
            await self._mark_lost(source, traces.error or "it cannot be read", gone=traces.gone)
            return
        if traces.state == "waiting" and self._store.in_workspace(source.workspace.path):
            await self._mark_lost(source, ".claude/coordination was there before the restart and is gone")
            return
        blind = not source.workspace.clock.readable
        source.workspace.clock.regained(moment.mono)
        source.workspace.state = "waiting" if traces.state == "waiting" else followed.state
        source.workspace.error = followed.reason if followed.state == "poll" else None
        source.found_all(traces)
        self._trace_log.note(source.workspace)
        if blind:
            self._store.rejudge(source.workspace.path, moment.mono)
        for some in in_slices(self._complete(source, traces)):
            await self._agents.take(source.workspace.path, some, self._reading(source, pushed=False))
            self._tasks.update()
            await asyncio.sleep(0)
        self._agents.read_all(source.workspace.path, traces.agents)
        self._deadline_timer.update()
        await self._tasks.take_all(source.workspace.path, traces, fresh=not source.read_once)
        source.last_observed = source.workspace.clock.now(began)
        source.read_once = traces.state == "read"
        self._poll(source)

    def _follow_and_scan(self, source: WorkspaceSource, wall: float) -> tuple[Followed, WorkspaceTraces]:
        """Watch the workspace, then read it in full; runs in a trace worker.

        Watching begins first, so that what changes during the reading is announced.
        """
        followed = self._backend.follow(source.workspace.path)
        return followed, source.reader.scan(wall)

    def _complete(self, source: WorkspaceSource, traces: WorkspaceTraces) -> Mapping[str, AgentTraces | None]:
        """Return the agents of a full reading, with None for every known agent that it did not find."""
        agents: dict[str, AgentTraces | None] = dict(traces.agents)
        for agent in self._store.in_workspace(source.workspace.path):
            agents.setdefault(agent.key[1], None)
        return agents

    def _reading(self, source: WorkspaceSource, *, pushed: bool) -> Reading:
        return source.reading(self._store, pushed=pushed, starting=not self._deadline_timer.running)

    async def _mark_hung(self, source: WorkspaceSource, missed: DeadlineMissed) -> None:
        source.hung = True
        missed.future.add_done_callback(lambda _: self._answers_again(source))
        await self._mark_lost(source, f"the file system does not answer ({READ_DEADLINE:g} s)")

    def _answers_again(self, source: WorkspaceSource) -> None:
        if self._sources.get(source.workspace.path) is not source:
            return
        source.hung = False
        self.hint(source.workspace.path, Signal.RESCAN)

    async def _mark_lost(self, source: WorkspaceSource, error: str, *, gone: bool = False) -> None:
        moment = now()
        path = source.workspace.path
        if gone and source.from_glob:
            await self._drop(source)
            return
        if source.workspace.error != error:
            log.warning("workspace %s cannot be read: %s", path, error)
        source.workspace.clock.lost(moment.mono)
        source.read_once = False
        source.workspace.state, source.workspace.error = "unreadable", error
        self._store.rejudge(path, moment.mono)
        self._tasks.lost(path)
        if self._deadline_timer.running:
            await self._agents.record_verdicts(
                [self._store.shown_key(agent.key) for agent in self._store.in_workspace(path)]
            )
        self._deadline_timer.update()

    async def _drop(self, source: WorkspaceSource) -> None:
        """Remove a workspace that is no longer configured, or whose project is gone; its lock is held."""
        path = source.workspace.path
        source.hung = True
        self._sources.pop(path, None)
        self._backend.unfollow(path)
        await self._agents.drop(path)
        self._tasks.drop(path)  # without a pause before the next line: an answer sees both or neither
        self._store.workspaces.pop(path, None)

    async def _expand(self) -> None:
        """Find the workspaces that the configuration names now; drop the others and add new ones."""
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
                workspace = Workspace(path=path, clock=ObservedClock(blind_since=now().mono))
                self._store.workspaces[path] = workspace
                self._sources[path] = WorkspaceSource(
                    reader=self._backend.reader(path),
                    workspace=workspace,
                    worker=self._remote if one.remote else self._local,
                    from_glob=one.from_glob,
                )

    def _poll(self, source: WorkspaceSource) -> None:
        name = f"agents.poll:{source.workspace.path}"
        if source.followed.state == "poll":
            self._schedule.once(name, POLL, lambda: self._scan(source))
