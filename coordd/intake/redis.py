"""Decide when Redis is read: everything after each new connection and at intervals, and at once what changed.

The counterpart of files.py, with the same batches and the same reducer behind it, for one source whose path
is "". It uses the connection that redislink/connection.py makes and mends: :meth:`RedisIntake.up` and
:meth:`RedisIntake.down` tell of it. How Redis is followed (``mode``), and what moves between the phases:

===========  =================================  ==========================================================
``mode``     what is read                       ends
===========  =================================  ==========================================================
None         nothing, or the first full         ``push`` or ``poll`` after the first full reading, by
             reading is under way               whether the server announces changes
``poll``     everything, each :data:`POLL`      ``push`` once the server announces changes
``push``     the keys announced, and            None when the connection is lost
             everything each :data:`RESCAN`
===========  =================================  ==========================================================

A lost connection ends ``poll`` as well. Beside that, two facts decide whether silence of an agent counts: the
last full reading succeeded (``state`` of the workspace is ``read``), and agents can write (``standstill`` is
None). While either fails, the source counts as blind (runtime/clocks.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any

from coordd.agents.departures import MAX_SILENT, Departures
from coordd.agents.reducer import Reading
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentsChange
from coordd.agents.workspace import Workspace
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.files import BATCH, FULL_READ_SHARE, POLL, RESCAN
from coordd.intake.pending import PendingKeys
from coordd.intake.source import SLICE, SourceState, TraceLog, in_slices
from coordd.intake.tasks import TaskIntake
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import RedisLost, RedisSession
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import Schedule, now
from coordd.sources.redis.change_listener import ChangeListener
from coordd.sources.redis.reader import RedisReader
from coordd.sources.redis.standstill import standstill_of

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two checks whether agents can write, and whether announcements still arrive."""
MENDED = 4.0
"""Seconds between two full readings while a part of Redis cannot be read."""
_SILENT = f"more than {MAX_SILENT} without any key left; further ones leave the list at once"
PATH = ""
"""The path of Redis among the sources of the store."""


class RedisIntake:
    """Follow the agents and tasks in one Redis.

    ``mode`` is how it is followed (table above). ``standstill`` completes the sentence "Redis …" with the
    reason why agents cannot write although Redis can be read, None while they can. ``ready`` is set once the
    first reading has ended, or the connection is lost.

    Args:
        broken: takes the failure of a connection, which then is given up.
        flushed: is called when whole databases may have been emptied.
    """

    def __init__(
        self,
        *,
        url: str,
        store: AgentStore,
        reader: RedisReader,
        schedule: Schedule,
        agents: AgentIntake,
        tasks: TaskIntake,
        deadline_timer: DeadlineTimer,
        trace_log: TraceLog,
        broken: Callable[[RedisLost], None],
        flushed: Callable[[], None],
    ) -> None:
        self.mode: str | None = None
        self.standstill: str | None = None
        self.ready = asyncio.Event()
        self._store = store
        self._reader = reader
        self._schedule = schedule
        self._agents = agents
        self._tasks = tasks
        self._deadline_timer = deadline_timer
        self._trace_log = trace_log
        self._broken = broken
        self._flushed = flushed
        self._listening = ChangeListener(url=url, on_change=self._on_changed)
        self._source = SourceState(
            workspace=Workspace(path=PATH, clock=ObservedClock(blind_since=now().mono))
        )
        self._lock = asyncio.Lock()
        self._session: RedisSession | None = None
        self._pending = PendingKeys()
        self._departures = Departures(known=lambda agent_id: store.observation((None, agent_id)))
        self._ended = False
        self._follower: asyncio.Task[None] | None = None
        self._first: asyncio.Task[None] | None = None
        self._cost = 0.0
        store.workspaces[PATH] = self._source.workspace

    @property
    def troubles(self) -> dict[str, str]:
        """What cannot be read although Redis answers: kind of key to reason."""
        if self._session is None:
            return {}
        workspace = self._source.workspace
        unreadable = (
            {"everything": workspace.error} if workspace.state == "unreadable" and workspace.error else {}
        )
        return dict(self._reader.troubles) or unreadable

    def up(self, session: RedisSession, facts: RedisFacts) -> None:
        """Begin to follow Redis over a new connection."""
        if self._ended:
            return
        self._session = session
        self._departures.connected(facts.run_id)
        self._pending.clear()
        self._follower = asyncio.ensure_future(self._follow(session))

    def down(self, trouble: str) -> None:
        """Note that the connection is lost: what only Redis knows is unknown until the next one.

        ``trouble`` says why; while there is no connection, a further call only replaces the reason.
        """
        if self._session is None and self._source.workspace.state == "unreadable":
            self._source.workspace.error = trouble
            return
        self._session = None
        self.mode = self.standstill = None
        self.ready.set()
        if self._follower is not None and self._follower is not asyncio.current_task():
            self._follower.cancel()
        self._follower = None
        self._mark_lost(trouble)

    def gap(self, seconds: float) -> None:
        """Take a gap, in which the loop did not run, out of the clock, and read everything again."""
        self._source.workspace.clock.skip(seconds)
        self.rescan_soon()

    def rescan_soon(self) -> None:
        """Read everything again now, before the next rescan is due."""
        if self._session is not None and self.mode is not None:
            self._schedule.once("redis.rescan", 0.0, self._rescan)

    async def reread(self, _path: str, agent_ids: Collection[str]) -> None:
        """Read these agents again, before they are judged."""
        async with self._lock:
            if (session := self._session) is not None and self._source.read_once:
                await self._contain_failure(session, self._reread(session, agent_ids))

    async def stop(self) -> None:
        """Stop reading, after the reading under way has ended."""
        self._ended = True
        async with self._lock:
            self._session = None
            if self._follower is not None:
                self._follower.cancel()
                with suppress(asyncio.CancelledError):
                    await self._follower

    async def _follow(self, session: RedisSession) -> None:
        """Read everything once, then follow what changes; ends with the connection."""
        supervisor = asyncio.ensure_future(self._end_on_failure(session, self._supervise(session)))
        try:
            await self._end_on_failure(session, self._listen(session))
        finally:
            supervisor.cancel()
            await self._listening.end()

    async def _listen(self, session: RedisSession) -> None:
        """Follow by polling until the server announces changes, then by its announcements."""
        pushed = await self._listening.begin(session)  # before everything is read
        if not pushed:
            await self._read_and_follow(session, "poll")
            await self._listening.begin_eventually(session)
        # A full reading may take longer than the server may be silent, so it is listened to meanwhile.
        listener = asyncio.ensure_future(self._end_on_failure(session, self._listening.listen()))
        try:
            await self._read_and_follow(session, "push")
            await listener
        finally:
            listener.cancel()

    async def _read_and_follow(self, session: RedisSession, mode: str) -> None:
        """Read everything, then note how Redis is followed from now on."""
        # A lost connection cancels the caller at once, but what was recorded must still be published.
        self._first = asyncio.ensure_future(self._read_first(session))
        await asyncio.shield(self._first)
        if session is self._session:
            self.mode = mode
            self.ready.set()
            self._await_rescan()

    async def _read_first(self, session: RedisSession) -> None:
        async with self._lock:
            if session is self._session:
                await self._contain_failure(session, self._read_all(session))
        if self._pending:  # announced before there was anything to compare it with
            self._schedule.once("redis.batch", BATCH, self._batch)

    def _on_changed(self, keys: Collection[bytes] | None) -> None:
        if keys is None:
            self._flushed()
        self._pending.add(keys)
        waiting = self._schedule.waiting("redis.batch")
        # The job may wait already for keys that are read seldom (_await_slow), and then for longer.
        if waiting is None or waiting > now().mono + BATCH:
            self._schedule.once("redis.batch", BATCH, self._batch)

    async def _supervise(self, session: RedisSession) -> None:
        while True:
            await self._check_writers(session)
            await asyncio.sleep(LOOK_EVERY)
            await self._listening.ping()

    async def _check_writers(self, session: RedisSession) -> None:
        """Find out whether agents can write; while they cannot, their silence does not count."""
        words = await standstill_of(session)
        if session is not self._session or words == self.standstill:
            return
        turned = (words is None) != (self.standstill is None)
        self.standstill = words
        if turned:
            self._update_clock()
            await self._rejudge()
            self._deadline_timer.update()

    def _update_clock(self) -> bool:
        """Let silence count if agents can be read and can write; return whether it did not count before."""
        workspace, mono = self._source.workspace, now().mono
        if workspace.state != "read" or self.standstill is not None:
            workspace.clock.lost(mono)
            return False
        blind = not workspace.clock.readable
        workspace.clock.regained(mono)
        return blind

    async def _batch(self) -> None:
        """Read the keys that were announced, and those whose reading was put off until now."""
        async with self._lock:
            session = self._session
            if session is None or not self._source.read_once:
                return  # the full reading to come covers it
            keys = self._pending.take()
            if keys is None:
                await self._contain_failure(session, self._read_all(session))
            else:
                await self._contain_failure(session, self._read_some(session, keys))

    async def _rescan(self) -> None:
        async with self._lock:
            if (session := self._session) is not None and self.mode is not None:
                await self._contain_failure(session, self._read_all(session))
        if self._session is not None and self._schedule.waiting("redis.rescan") is None:
            self._await_rescan()

    def _await_rescan(self) -> None:
        """Schedule the next full reading, so that they take a twentieth of the time at most."""
        shortest = MENDED if self._reader.troubles else RESCAN
        if self.mode == "poll" or self._source.workspace.state == "unreadable":
            shortest = POLL
        self._schedule.once("redis.rescan", max(shortest, FULL_READ_SHARE * self._cost), self._rescan)

    async def _end_on_failure(self, session: RedisSession, work: Coroutine[Any, Any, None]) -> None:
        """Run work over a connection; its failure ends that connection, but not a later one."""
        try:
            await work
        except RedisLost as lost:
            if session is self._session:
                self._broken(lost)
        except Exception as error:  # a bug must not stop the intake; it is logged with its traceback
            log.exception("following Redis failed")
            if session is self._session:
                self._broken(RedisLost(f"cannot be followed: {type(error).__name__}"))

    async def _contain_failure(self, session: RedisSession, reading: Coroutine[Any, Any, None]) -> None:
        """Run a reading; a lost connection ends the connection, another failure makes Redis unreadable."""
        try:
            await reading
        except RedisLost as lost:
            if session is self._session:
                self._broken(lost)
        except Exception as error:  # a bug must not stop the intake; the next rescan tries again
            log.exception("reading Redis failed")
            if session is self._session:
                self._mark_lost(f"cannot be understood: {type(error).__name__}")

    async def _read_all(self, session: RedisSession) -> None:
        began = now().mono
        traces = await self._reader.scan(session, now().wall)
        self._cost = now().mono - began
        if session is not self._session:
            return
        if traces.state == "unreadable":
            self._mark_lost(traces.error or "cannot be read")
            self._await_rescan()  # Redis may be readable again by then
            return
        workspace = self._source.workspace
        workspace.state, workspace.error = "read", None
        self._source.found_all(traces)
        self._trace_log.note(workspace)
        if self._update_clock():
            await self._rejudge()
        known = [agent.key[1] for agent in self._store.in_workspace(None)]
        first = not self._source.read_once
        await asyncio.sleep(0)  # each of these steps takes long with many agents
        if session is not self._session:
            return
        found = self._departures.of_all(traces.agents, known, first=first)
        if self._departures.full:
            workspace.over_limit = {**workspace.over_limit, "silent agents": _SILENT}
        await asyncio.sleep(0)
        for some in in_slices(found):
            await self._agents.take(PATH, some, self._reading(pushed=False))
            self._tasks.update()
            await asyncio.sleep(0)
            if session is not self._session:
                return  # the part read so far is shown; the reading does not count as full
        self._agents.read_all(PATH, traces.agents)
        self._deadline_timer.update()
        await self._tasks.take_all(PATH, traces, fresh=first)
        if session is not self._session:
            return
        self._source.last_observed = workspace.clock.now(began)
        self._source.read_once = True
        self._await_rescan()
        self._await_slow()

    async def _read_some(self, session: RedisSession, keys: Collection[bytes]) -> None:
        await self._apply(session, await self._reader.read(session, keys, now().wall), pushed=True)
        self._await_slow()

    async def _reread(self, session: RedisSession, agent_ids: Collection[str]) -> None:
        await self._check_writers(session)
        await self._apply(session, await self._reader.reread(session, agent_ids, now().wall), pushed=False)

    async def _apply(self, session: RedisSession, change: AgentsChange, *, pushed: bool) -> None:
        if session is not self._session:
            return
        if change.rescan_needed:
            await self._read_all(session)
            return
        self._source.found_some(change.malformed)
        self._trace_log.note(self._source.workspace)
        agents = self._departures.of_some(change.agents)
        await self._agents.take(PATH, agents, self._reading(pushed=pushed))
        self._deadline_timer.update()
        self._tasks.take(PATH, change.work)

    def _await_slow(self) -> None:
        """Schedule the reading of keys that change all the time and are therefore read seldom."""
        if self._reader.due is not None:
            delay = max(BATCH, self._reader.due - now().mono)
            waiting = self._schedule.waiting("redis.batch")
            if waiting is None or waiting > now().mono + delay:
                self._schedule.once("redis.batch", delay, self._batch)

    def _reading(self, *, pushed: bool) -> Reading:
        return self._source.reading(self._store, pushed=pushed, starting=not self._deadline_timer.running)

    def _mark_lost(self, trouble: str) -> None:
        workspace, moment = self._source.workspace, now()
        workspace.clock.lost(moment.mono)
        workspace.state, workspace.error = "unreadable", trouble
        self._source.read_once = False
        self._tasks.lost(PATH)
        self._schedule.once("redis.lost", 0.0, self._record_loss)

    async def _rejudge(self) -> None:
        """Judge all agents of Redis again, after it was lost or came back."""
        keys = [self._store.shown_key(agent.key) for agent in self._store.in_workspace(None)]
        for start in range(0, len(keys), SLICE):
            self._store.rejudge_some(keys[start : start + SLICE], now().mono)
            self._tasks.update()
            await asyncio.sleep(0)

    async def _record_loss(self) -> None:
        await self._rejudge()
        self._deadline_timer.update()
