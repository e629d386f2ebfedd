"""What is read of Redis when: everything after each new connection and now and then, what changed at once.

The pipeline's other half: the same batches, the same reducer behind it, one source whose path is "". It is a
tenant of the link (redislink/link.py): it reads while there is a connection, and while there is none, what
only Redis knows can be told no more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from coordd.agents.departures import MAX_SILENT, Departures
from coordd.agents.reducer import Reading
from coordd.agents.store import AgentStore, Workspace
from coordd.agents.traces import AgentsChange, AgentTraces
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.files import BATCH, FULL_READ_SHARE, POLL, RESCAN
from coordd.intake.source import SourceState, TraceLog
from coordd.intake.tasks import TaskIntake
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import RedisLost, RedisSession
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import Schedule, now
from coordd.sources.redis.asking import LONGEST_KEY
from coordd.sources.redis.listening import Listening
from coordd.sources.redis.reader import RedisReader
from coordd.sources.redis.standstill import standstill_of

log = logging.getLogger(__name__)

MAX_PENDING = 50_000
"""Announced keys that may wait to be read; beyond that everything is read."""
SLICE = 500
"""Agents that are taken over before the loop turns again."""
LOOK_EVERY = 2.0
"""Seconds between two looks at whether agents can beat, and whether changes would still be heard of."""
MENDED = 4.0
"""Seconds between two full readings while a part of Redis cannot be read."""
_SILENT = f"more than {MAX_SILENT}, of which nothing is left; further ones leave the list at once"
PATH = ""
"""Redis among the sources of the store."""


class RedisIntake:
    """Follows the agents and tasks in one Redis.

    ``broken`` tells the link of a connection that failed, ``flushed`` that whole databases may have been
    emptied. ``standstill`` says of "Redis" why agents cannot beat although it can be read.
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
        judging: DeadlineTimer,
        malformed: TraceLog,
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
        self._judging = judging
        self._malformed = malformed
        self._broken = broken
        self._flushed = flushed
        self._listening = Listening(url=url, told=self._heard)
        self._sight = SourceState(shown=Workspace(path=PATH, clock=ObservedClock(blind_since=now().mono)))
        self._lock = asyncio.Lock()
        self._wire: RedisSession | None = None
        self._pending: set[bytes] = set()
        self._everything = False
        self._departures = Departures(known=lambda agent_id: store.observation((None, agent_id)))
        self._ended = False
        self._following: asyncio.Task[None] | None = None
        self._first: asyncio.Task[None] | None = None
        self._cost = 0.0
        store.workspaces[PATH] = self._sight.shown

    @property
    def troubles(self) -> dict[str, str]:
        """What of Redis cannot be read although it answers: the kind of key, and why."""
        if self._wire is None:
            return {}
        shown = self._sight.shown
        unreadable = {"everything": shown.error} if shown.state == "unreadable" and shown.error else {}
        return dict(self._reader.troubles) or unreadable

    def up(self, wire: RedisSession, facts: RedisFacts) -> None:
        """Begin to read over a new connection."""
        if self._ended:
            return
        self._wire = wire
        self._departures.connected(facts.run_id)
        self._pending.clear()
        self._everything = False
        self._following = asyncio.ensure_future(self._follow(wire))

    def down(self, trouble: str) -> None:
        """The connection is lost: what only Redis knows is unknown until there is another one."""
        if self._wire is None and self._sight.shown.state == "unreadable":
            self._sight.shown.error = trouble
            return
        self._wire = None
        self.mode = self.standstill = None
        self.ready.set()
        if self._following is not None and self._following is not asyncio.current_task():
            self._following.cancel()
        self._following = None
        self._lost(trouble)

    def gap(self, seconds: float) -> None:
        """The loop did not turn for so long."""
        self._sight.shown.clock.skip(seconds)
        self.rescan_soon()

    def rescan_soon(self) -> None:
        """Read everything again, now rather than at the next rescan."""
        if self._wire is not None and self.mode is not None:
            self._schedule.once("redis.rescan", 0.0, self._rescan)

    async def reread(self, _path: str, agent_ids: Collection[str]) -> None:
        """Read these agents once more, before they are judged."""
        async with self._lock:
            if (wire := self._wire) is not None and self._sight.read_once:
                await self._guarded(wire, self._reread(wire, agent_ids))

    async def stop(self) -> None:
        """Read no more; what is under way comes to its end first."""
        self._ended = True
        async with self._lock:
            self._wire = None
            if self._following is not None:
                self._following.cancel()
                with suppress(asyncio.CancelledError):
                    await self._following

    async def _follow(self, wire: RedisSession) -> None:
        """Read everything once, then be told, or ask now and then; ends with the connection."""
        looking = asyncio.ensure_future(self._unbroken(wire, self._look_after(wire)))
        try:
            await self._unbroken(wire, self._hear(wire))
        finally:
            looking.cancel()
            await self._listening.end()

    async def _hear(self, wire: RedisSession) -> None:
        pushed = await self._listening.begin(wire)  # before everything is read
        if not pushed:
            await self._take_up(wire, "poll")
            await self._listening.begin_at_last(wire)
        # To read everything may take longer than the server may be silent: it is listened to meanwhile.
        listening = asyncio.ensure_future(self._unbroken(wire, self._listening.listen()))
        try:
            await self._take_up(wire, "push")
            await listening
        finally:
            listening.cancel()

    async def _take_up(self, wire: RedisSession, mode: str) -> None:
        """Read everything, and go on from there."""
        # Who is told that the connection is lost waits for nobody; what was recorded must still be shown.
        self._first = asyncio.ensure_future(self._read_first(wire))
        await asyncio.shield(self._first)
        if wire is self._wire:
            self.mode = mode
            self.ready.set()
            self._await_rescan()

    async def _read_first(self, wire: RedisSession) -> None:
        async with self._lock:
            if wire is self._wire:
                await self._guarded(wire, self._read_all(wire))
        if self._pending or self._everything:  # heard of before there was anything to compare it with
            self._schedule.once("redis.batch", BATCH, self._batch)

    def _heard(self, keys: Collection[bytes] | None) -> None:
        if keys is None:
            self._flushed()
        if keys is None or len(self._pending) > MAX_PENDING:
            self._pending.clear()
            self._everything = True
        else:
            self._pending.update([key for key in keys if len(key) <= LONGEST_KEY])
        waiting = self._schedule.waiting("redis.batch")
        if waiting is None or waiting > now().mono + BATCH:  # for what is read again only now and then
            self._schedule.once("redis.batch", BATCH, self._batch)

    async def _look_after(self, wire: RedisSession) -> None:
        while True:
            await self._look_at_writers(wire)
            await asyncio.sleep(LOOK_EVERY)
            await self._listening.ping()

    async def _look_at_writers(self, wire: RedisSession) -> None:
        """Find out whether agents can beat: while they cannot, nobody's silence counts."""
        words = await standstill_of(wire)
        if wire is not self._wire or words == self.standstill:
            return
        turned = (words is None) != (self.standstill is None)
        self.standstill = words
        if turned:
            self._see()
            await self._rejudge()
            self._judging.look()

    def _see(self) -> bool:
        """Let silence count if agents can be read and can beat; whether it did not until now."""
        shown, mono = self._sight.shown, now().mono
        if shown.state != "read" or self.standstill is not None:
            shown.clock.lost(mono)
            return False
        blind = not shown.clock.readable
        shown.clock.regained(mono)
        return blind

    async def _batch(self) -> None:
        """Read what was announced, and what was put off until now."""
        async with self._lock:
            wire = self._wire
            if wire is None or not self._sight.read_once:
                return  # the full reading that is to come will see it
            keys, self._pending = self._pending, set()
            if self._everything:
                self._everything = False
                await self._guarded(wire, self._read_all(wire))
            else:
                await self._guarded(wire, self._read_some(wire, keys))

    async def _rescan(self) -> None:
        async with self._lock:
            if (wire := self._wire) is not None and self.mode is not None:
                await self._guarded(wire, self._read_all(wire))
        if self._wire is not None and self._schedule.waiting("redis.rescan") is None:
            self._await_rescan()

    def _await_rescan(self) -> None:
        """After a long reading the next one waits longer: it is to take a twentieth of the time at most."""
        shortest = MENDED if self._reader.troubles else RESCAN
        if self.mode == "poll" or self._sight.shown.state == "unreadable":
            shortest = POLL
        self._schedule.once("redis.rescan", max(shortest, FULL_READ_SHARE * self._cost), self._rescan)

    async def _unbroken(self, wire: RedisSession, following: Coroutine[Any, Any, None]) -> None:
        """Whatever fails over a connection ends it, but not the one after it."""
        try:
            await following
        except RedisLost as lost:
            if wire is self._wire:
                self._broken(lost)
        except Exception as error:  # a bug must not end the feed; it is logged with its place
            log.exception("following Redis failed")
            if wire is self._wire:
                self._broken(RedisLost(f"cannot be followed: {type(error).__name__}"))

    async def _guarded(self, wire: RedisSession, reading: Coroutine[Any, Any, None]) -> None:
        try:
            await reading
        except RedisLost as lost:
            if wire is self._wire:
                self._broken(lost)
        except Exception as error:  # a bug must not end the reading; the next rescan tries again
            log.exception("reading Redis failed")
            if wire is self._wire:
                self._lost(f"cannot be understood: {type(error).__name__}")

    async def _read_all(self, wire: RedisSession) -> None:
        began = now().mono
        traces = await self._reader.scan(wire, now().wall)
        self._cost = now().mono - began
        if wire is not self._wire:
            return
        if traces.state == "unreadable":
            self._lost(traces.error or "cannot be read")
            self._await_rescan()  # the next one may find it mended
            return
        shown = self._sight.shown
        shown.state, shown.error = "read", None
        self._sight.found_all(traces)
        self._malformed.note(shown)
        if self._see():
            await self._rejudge()
        known = [agent.key[1] for agent in self._store.in_workspace(None)]
        first = not self._sight.read_once
        await asyncio.sleep(0)  # each of these steps takes long with many agents
        if wire is not self._wire:
            return
        found = self._departures.of_all(traces.agents, known, first=first)
        if self._departures.full:
            shown.crowded = {**shown.crowded, "silent agents": _SILENT}
        await asyncio.sleep(0)
        for some in _slices(found):
            await self._agents.take(PATH, some, self._reading(pushed=False))
            self._tasks.look()
            await asyncio.sleep(0)
            if wire is not self._wire:
                return  # what was read so far is shown, but makes nothing known
        self._agents.read_all(PATH, traces.agents)
        self._judging.look()
        await self._tasks.take_all(PATH, traces, fresh=first)
        if wire is not self._wire:
            return
        self._sight.last_observed = shown.clock.now(began)
        self._sight.read_once = True
        self._await_rescan()
        self._await_slow()

    async def _read_some(self, wire: RedisSession, keys: Collection[bytes]) -> None:
        await self._took(wire, await self._reader.read(wire, keys, now().wall), pushed=True)
        self._await_slow()

    async def _reread(self, wire: RedisSession, agent_ids: Collection[str]) -> None:
        await self._look_at_writers(wire)
        await self._took(wire, await self._reader.reread(wire, agent_ids, now().wall), pushed=False)

    async def _took(self, wire: RedisSession, change: AgentsChange, *, pushed: bool) -> None:
        if wire is not self._wire:
            return
        if change.rescan_needed:
            await self._read_all(wire)
            return
        self._sight.found_some(change.malformed)
        self._malformed.note(self._sight.shown)
        agents = self._departures.of_some(change.agents)
        await self._agents.take(PATH, agents, self._reading(pushed=pushed))
        self._judging.look()
        self._tasks.take(PATH, change.work)

    def _await_slow(self) -> None:
        """What changes all the time is read again only now and then: come back for it."""
        if self._reader.due is not None:
            delay = max(BATCH, self._reader.due - now().mono)
            waiting = self._schedule.waiting("redis.batch")
            if waiting is None or waiting > now().mono + delay:
                self._schedule.once("redis.batch", delay, self._batch)

    def _reading(self, *, pushed: bool) -> Reading:
        return self._sight.reading(self._store, pushed=pushed, starting=not self._judging.running)

    def _lost(self, trouble: str) -> None:
        shown, moment = self._sight.shown, now()
        shown.clock.lost(moment.mono)
        shown.state, shown.error = "unreadable", trouble
        self._sight.read_once = False
        self._tasks.lost(PATH)
        self._schedule.once("redis.lost", 0.0, self._record_loss)

    async def _rejudge(self) -> None:
        """Judge all agents of Redis anew, after it was lost or came back."""
        places = [self._store.place(agent.key) for agent in self._store.in_workspace(None)]
        for start in range(0, len(places), SLICE):
            self._store.rejudge_some(places[start : start + SLICE], now().mono)
            self._tasks.look()
            await asyncio.sleep(0)

    async def _record_loss(self) -> None:
        await self._rejudge()
        self._judging.look()


def _slices(agents: Mapping[str, AgentTraces | None]) -> Iterator[dict[str, AgentTraces | None]]:
    """A few at a time, so that tens of thousands hold up nobody else on the loop."""
    rest = iter(agents.items())
    while some := dict(islice(rest, SLICE)):
        yield some
