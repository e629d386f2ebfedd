"""Follow one source: read it in full after any doubt, and in part what it tells of; take over what it says.

All sources are followed by this one module, whatever they read. The rule: a lock is held from a reading until
the store shows it, so that what is published is what was read last; and a source that hangs delays no other.
What leads to a reading:

=======================================  ========================  =======================================
told or due                              read                      when
=======================================  ========================  =======================================
``readable``                             everything                at once
hints                                    what they name            after :data:`BATCH`
``changed(None)``, more than can wait    everything                after :data:`BATCH`, and not before the
                                                                   pause that the last one earned
``interval`` of the source has passed    everything                then
``due`` of the source                    what is due               then
verdicts of silence are near             these agents              before they are judged
=======================================  ========================  =======================================

Silence counts on the source's clock, which stands still in retrospect while the source cannot be read or
agents cannot beat.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass

from coordd.agents.beats import Reading
from coordd.agents.store import AgentStore
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.pending import PendingHints
from coordd.intake.tasks import TaskIntake
from coordd.intake.trace_log import TraceLog, found_all, found_some
from coordd.runtime.clock_watch import uptime
from coordd.runtime.pace import Pace
from coordd.runtime.schedule import Schedule, now
from coordd.sources.base import Source, SourceLost
from coordd.util.slices import slices

log = logging.getLogger(__name__)

BATCH = 0.05
"""Seconds for which hints are gathered: a thousand beats make one batch and one write."""
SETTLED = 2.0
"""Seconds after which what was announced has been read."""
SLACK = 0.1
"""The share of its interval by which a full reading may be late, so that it shares a wake-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where readings of every source go, and what times them."""

    store: AgentStore
    schedule: Schedule
    agents: AgentIntake
    tasks: TaskIntake
    deadline_timer: DeadlineTimer
    trace_log: TraceLog


class SourceIntake:
    """Follow one source; it implements the listener that the source tells.

    ``first`` is set once a first reading has ended or the source was lost.

    Args:
        source: the source.
        stores: where its readings go.
        drop: removes this source, once nothing is left of it to wait for.
    """

    def __init__(self, source: Source, stores: Stores, *, drop: Callable[[SourceIntake], None]) -> None:
        self.source = source
        self.state = source.state
        self.first = asyncio.Event()
        self._stores = stores
        self._drop = drop
        self._lock = asyncio.Lock()
        self._pending = PendingHints()
        self._pace = Pace()
        self._ended = False
        self._epoch = 0
        self._read_once = False
        self._last_observed = 0.0
        self._readings: set[asyncio.Future[None]] = set()
        self._jobs = f"{self.state.name.kind}:{self.state.name.path}"

    def start(self) -> None:
        """Begin to listen to the source."""
        self.source.start(self, self._stores.agents.known(self.state.name))

    # What the source tells.

    def changed(self, hints: Collection[Hashable] | None) -> None:
        """Note that something changed; called on the loop, up to thousands of times a second."""
        self._pending.add(hints)
        if self._due_later("batch", BATCH):  # one may wait for what is read seldom, and then for longer
            self._once("batch", BATCH, self._batch)

    def readable(self) -> None:
        """Read everything at once: the source can be read (again)."""
        # Not a job of the schedule: the first readings come before that is loaded.
        reading = asyncio.ensure_future(self.scan())
        self._readings.add(reading)  # the loop itself keeps no task alive
        reading.add_done_callback(self._readings.discard)

    def lost(self, trouble: str) -> None:
        """Show that the source cannot be read; a further report only replaces the reason."""
        if self._ended:
            return
        state = self.state
        self.first.set()
        known = state.state == "unreadable"
        state.state, state.error = "unreadable", trouble
        if known and not self._read_once and not state.clock.readable:
            return
        self._epoch += 1
        self._read_once = False
        self._pending.clear()
        state.clock.lost(self._stores.store.horizon(now().mono))  # a gap that ends now is seen by nobody else
        self.source.lost(trouble)
        if state.holds_tasks:
            self._stores.tasks.lost(state.workspace)
        self._once("lost", 0.0, self._rejudge)

    def standstill_changed(self) -> None:
        """Let silence count, or not, after agents became unable to beat or able again."""
        self._update_clock()
        self._once("standstill", 0.0, self._rejudge)

    # What those who run it ask for.

    async def scan(self) -> None:
        """Read everything, after the reading that is under way."""
        async with self._lock:
            if not self._ended:
                await self._contain(self._read_all)

    async def reread(self, agent_ids: Collection[str]) -> None:
        """Read these agents again, before they are judged."""
        async with self._lock:
            if not self._ended and self._read_once:
                await self._contain(lambda: self._reread(agent_ids))

    def scan_soon(self) -> None:
        """Read everything again now, before the next full reading is due, if there is anything to read."""
        if self.source.interval != math.inf:
            self._once("scan", 0.0, self.scan)

    def interrupted(self) -> None:
        """Note that nobody has observed anything for a while that ends now, and is taken out of the clock.

        What is found next has happened since: what was written before that was read.
        """
        if self._read_once:
            settled = self.state.clock.now(now().mono) - SETTLED
            self._last_observed = max(self._last_observed, settled)

    async def stop(self) -> None:
        """End after the reading that is under way."""
        self._ended = True
        self.first.set()  # nobody is to wait for it any more
        async with self._lock:
            for job in ("batch", "scan", "lost", "standstill"):
                self._stores.schedule.cancel(f"{self._jobs}.{job}")
            await self.source.stop()

    async def remove(self) -> None:
        """End, and remove all that the source told of."""
        await self.stop()
        stores, state = self._stores, self.state
        await stores.agents.drop(state)
        if state.holds_tasks:
            stores.tasks.drop(state.workspace)  # without a pause before the next line: see both or neither
        stores.store.drop_source(state)
        stores.deadline_timer.update()  # what remains of an agent may be silent

    # Readings; the lock is held.

    async def _batch(self) -> None:
        async with self._lock:
            if self._ended:
                return
            if self._pending.everything or not self._read_once:
                wait = self._pace.after - now().mono
                if wait <= 0:
                    await self._contain(self._read_all)
                    return
                self._once("scan", wait, self.scan)
            if self._read_once:
                await self._contain(self._read_some)

    async def _read_all(self) -> None:
        epoch, began = self._epoch, now().mono
        self._pending.clear()
        following = await self.source.follow()
        if epoch != self._epoch:
            return
        reading = now().mono
        traces = await self.source.read_all()
        if epoch != self._epoch:
            return
        self._pace.ended(reading, now().mono)
        state = self.state
        state.state = traces.state if traces.state == "waiting" else following.state
        state.error = traces.error if traces.state == "waiting" else following.reason
        found_all(state, traces)
        self._stores.trace_log.note(state)
        if self._update_clock():
            await self._rejudge()
        if epoch == self._epoch and await self._take_all(traces, epoch):
            self._last_observed = state.clock.now(began)
            self._read_once = traces.state == "read"
            self._stores.agents.claims.read(state.name)
            self._await_next()
            if self._pending:  # told before there was anything to compare it with
                self._once("batch", BATCH, self._batch)
        self.first.set()

    async def _take_all(self, traces: SourceTraces, epoch: int) -> bool:
        """Take over a full reading; return whether the source was readable until its end."""
        stores, state, fresh = self._stores, self.state, not self._read_once
        agents: dict[str, AgentTraces | None] = dict(traces.agents)
        for agent_id in stores.agents.known(state.name):
            agents.setdefault(agent_id, None)
        for some in slices(agents.items()):
            await stores.agents.take(state, dict(some), self._reading(pushed=False, fresh=fresh))
            stores.tasks.update()
            await asyncio.sleep(0)
            if epoch != self._epoch:
                return False  # the part read so far is shown; the reading does not count as full
        stores.deadline_timer.update()
        if state.holds_tasks:
            await stores.tasks.take_all(state.workspace, traces, fresh=fresh)
            stores.deadline_timer.update()  # what agents hold says what they do
        return epoch == self._epoch

    async def _read_some(self) -> None:
        epoch, hints, due = self._epoch, self._pending.take(), self.source.due
        if hints or (due is not None and due <= now().mono):
            await self._take_some(epoch, await self.source.read_some(hints), pushed=True)
        if epoch == self._epoch:
            self._await_due()

    async def _reread(self, agent_ids: Collection[str]) -> None:
        await self._take_some(self._epoch, await self.source.reread(agent_ids), pushed=False)

    async def _take_some(self, epoch: int, change: AgentsChange, *, pushed: bool) -> None:
        if epoch != self._epoch:
            return
        if change.rescan_needed:
            if pushed and self._pace.after > now().mono:
                self.changed(None)
            else:  # a verdict may wait for what was to be read again
                await self._read_all()
            return
        stores, state = self._stores, self.state
        found_some(state, change.malformed)
        stores.trace_log.note(state)
        if change.malformed and self._due_later("scan", self.source.interval):
            self._await_next()  # only a full reading finds out that a right was given
        await stores.agents.take(state, change.agents, self._reading(pushed=pushed, fresh=False))
        if state.holds_tasks:
            stores.tasks.take(state.workspace, change.work)
        stores.deadline_timer.update()

    async def _contain(self, reading: Callable[[], Awaitable[None]]) -> None:
        """Run a reading; whatever fails makes the source unreadable, and is tried again in its time."""
        epoch = self._epoch
        try:
            await reading()
        except SourceLost as lost:
            trouble, gone = str(lost), lost.gone
        except Exception as error:  # a bug must not stop the intake; the next full reading tries again
            log.exception("reading %s failed", _words(*self.state.name))
            trouble, gone = f"cannot be understood: {type(error).__name__}", False
        else:
            return
        if gone:
            self._drop(self)
        elif epoch == self._epoch and not self._ended:
            if self.state.error != trouble:
                log.warning("%s cannot be read: %s", _words(*self.state.name), trouble)
            self.lost(trouble)
            self._await_next()

    def _update_clock(self) -> bool:
        """Let silence count if the source can be read and agents can beat; return whether it begins to."""
        state, mono = self.state, now().mono
        if state.state == "unreadable" or state.standstill is not None:
            state.clock.lost(mono)
            return False
        blind = not state.clock.readable
        state.clock.regained(mono)
        return blind

    async def _rejudge(self) -> None:
        """Judge all agents of the source again, after its clock changed or it was lost."""
        stores = self._stores
        await stores.agents.redate(self.state)
        for some in slices(stores.agents.agents_of(self.state.name)):
            stores.store.rejudge(some, now().mono)
            stores.tasks.update()
            await asyncio.sleep(0)
        stores.deadline_timer.update()

    def _reading(self, *, pushed: bool, fresh: bool) -> Reading:
        """Return the times of a reading that was just made; ``pushed``: its change was announced."""
        store, clock, moment = self._stores.store, self.state.clock, now()
        # After a stall that no timer has reported yet, the real time would date a beat into the future.
        observed = clock.now(store.horizon(moment.mono))
        return Reading(
            wall=moment.wall,
            mono=moment.mono,
            observed=observed,
            since=observed if pushed else min(observed, self._last_observed),
            timeout=store.judging.limits.timeout,
            fresh=fresh,
            blind=moment.mono - clock.now(moment.mono),
            slept=max(0.0, uptime() - moment.mono) if fresh else 0.0,
        )

    def _await_next(self) -> None:
        """Schedule the next full reading that nothing else asks for."""
        delay = self._pace.at_least(self.source.interval)
        if delay != math.inf:
            self._once("scan", delay, self.scan, slack=SLACK * delay)
        self._await_due()

    def _await_due(self) -> None:
        """Schedule the reading of what changes all the time and is therefore read seldom."""
        due = self.source.due
        if due is not None and self._read_once:
            delay = max(BATCH, due - now().mono)
            if self._due_later("batch", delay):
                self._once("batch", delay, self._batch)

    def _once(
        self, job: str, delay: float, work: Callable[[], Awaitable[None]], *, slack: float = 0.0
    ) -> None:
        if not self._ended:
            self._stores.schedule.once(f"{self._jobs}.{job}", delay, work, slack=slack)

    def _due_later(self, job: str, delay: float) -> bool:
        """Return whether a job is not due within a delay in seconds."""
        waiting = self._stores.schedule.waiting(f"{self._jobs}.{job}")
        return waiting is None or waiting > now().mono + delay


def _words(kind: str, path: str) -> str:
    return f"workspace {path}" if kind == "file" else f"{kind} {path}".strip()
