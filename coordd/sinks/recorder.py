"""Bring records to the sinks: encode them, pass them to the writer thread, wait, and sync in time.

The event loop never touches a disk. :meth:`Recorder.record` returns when every sink has taken the batch
(written it, or put it in its backlog and said so in its status), or when the writer is late; clients are
told of records only after that.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from coordd.model import AgentSample, Event, PerformanceRow, SinkStatus, SystemSample, Topic
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.base import Batch, Notice, Sink
from coordd.util.timestamps import format_utc

log = logging.getLogger(__name__)

WRITE_DEADLINE = 1.0
"""Seconds that clients wait for the writer; after that ``status`` shows the sinks failing."""

OPEN_CLOSE_DEADLINE = 5.0
"""Seconds for making the sinks ready, with the repair of torn files, and for closing them, with an fsync."""

SYNC_DEADLINE = 30.0
"""Seconds after which an fsync that does not return shows in ``status``."""

EVENTS_AFTER = 0.05
"""Seconds that an event waits for others, to be written with them."""

MAX_WAITING = 1000
"""Batches that may wait while the writer thread hangs; more are dropped and counted."""


_LEVELS = {
    "task": logging.DEBUG,  # they come and go; `coordctl events` shows them
    "records": logging.WARNING,
    "clock": logging.WARNING,
    "socket": logging.WARNING,
    "housekeeping": logging.ERROR,
    "config.rejected": logging.ERROR,
    "sink.failed": logging.ERROR,
    "sink.dropping": logging.ERROR,
}
"""The log level of an event, by its kind or by the kind's first word; INFO for any other."""


def _level_of(kind: str) -> int:
    return _LEVELS.get(kind, _LEVELS.get(kind.partition(".")[0], logging.INFO))


@dataclass(frozen=True, slots=True)
class _Outcome:
    statuses: Mapping[str, SinkStatus]
    notices: Sequence[Notice]
    retry_at: float | None
    dirty: bool


class Recorder:
    """Write records to the sinks, from the event loop.

    ``publish`` gets all records but the performance rows after they were written and before :meth:`record`
    returns, in the order of writing: the topic, the records encoded, and what each was encoded from.
    ``settled`` is called when the sinks have done something.
    """

    def __init__(
        self,
        *,
        sinks: Sequence[Sink],
        writer: Worker,
        syncer: Worker,
        schedule: Schedule,
        host: str,
        fsync_interval: float,
        publish: Callable[[Topic, Sequence[bytes], Sequence[object]], None] = lambda *_: None,
    ) -> None:
        self._sinks = sinks
        self._writer = writer
        self._syncer = syncer
        self._schedule = schedule
        self._host = host
        self._fsync_interval = fsync_interval
        self._publish = publish
        self.settled: Callable[[], None] = lambda: None
        self._encode = msgspec.json.Encoder().encode
        self._statuses: Mapping[str, SinkStatus] = {sink.name: SinkStatus() for sink in sinks}
        self._events: list[Event] = []
        self._waiting = 0
        self._dropped = 0
        self._syncing = False
        self._synced_at = -math.inf
        self._writing_late: float | None = None
        self._syncing_late: float | None = None

    def statuses(self) -> Mapping[str, SinkStatus]:
        """Return the status of each sink, by name."""
        error = None
        for what, since in (("a write", self._writing_late), ("fsync", self._syncing_late)):
            if since is not None:
                error = error or f"{what} has not returned for {now().mono - since:.0f} s"
        if error is None and not self._dropped:
            return self._statuses
        return {
            name: replace(
                status,
                state="failing" if error else status.state,
                error=error or status.error,
                dropped=status.dropped + self._dropped,
            )
            for name, status in self._statuses.items()
        }

    async def open(self) -> None:
        """Prepare the sinks; one that fails says so in its status."""
        await self._submit(
            lambda sink, wall, mono: sink.open(wall=wall, mono=mono), deadline=OPEN_CLOSE_DEADLINE
        )

    async def record(
        self,
        *,
        system: Sequence[SystemSample] = (),
        agent: Sequence[AgentSample] = (),
        performance: Sequence[PerformanceRow] = (),
    ) -> None:
        """Write one batch, with the events that wait, to every sink."""
        events, self._events = self._events, []
        batch = Batch(
            system=[self._encode(one) for one in system],
            agent=[self._encode(one) for one in agent],
            event=[self._encode(one) for one in events],
            performance=performance,
        )
        await self._submit(
            lambda sink, wall, mono: sink.write(batch, wall=wall, mono=mono),
            records=len(system) + len(agent) + len(events) + len(performance),
        )
        self._publish("agent", batch.agent, agent)
        self._publish("event", batch.event, events)
        self._publish("system", batch.system, system)

    def event(
        self, kind: str, subject: str, message: str, detail: Mapping[str, object] | None = None
    ) -> None:
        """Log an event, and record it with the next batch or shortly."""
        # Repeated lines are limited by their format: with the kind in it, one kind of event hides no other.
        log.log(_level_of(kind), f"{kind}: %s", message)
        self._events.append(
            Event(
                timestamp=format_utc(now().wall),
                host=self._host,
                kind=kind,
                subject=subject,
                message=message,
                detail=detail or {},
            )
        )
        if self._schedule.waiting("records.events") is None:
            self._schedule.once("records.events", EVENTS_AFTER, self._flush_events)

    async def roll(self) -> None:
        """Move every sink to the current day."""
        await self._submit(lambda sink, wall, mono: sink.roll(wall=wall, mono=mono))

    async def begin_next(self, series: Collection[str]) -> None:
        """Go on in other files with these series, once what waits is written."""
        await self.record()
        await self._submit(lambda sink, wall, mono: sink.begin_next(series, wall=wall, mono=mono))

    async def check(self, first: Callable[[], None]) -> None:
        """Call ``first`` in the writer thread, then have every sink restore what somebody removed.

        Raises:
            Exception: whatever ``first`` raises; the sinks are checked all the same.
        """
        failures: list[Exception] = []

        def check(sink: Sink, wall: float, mono: float) -> None:
            if sink is self._sinks[0]:
                try:
                    first()
                except Exception as failure:
                    failures.append(failure)
            sink.check(wall=wall, mono=mono)

        await self._submit(check)
        for failure in failures:
            raise failure

    async def refresh(self) -> None:
        """Take the status of every sink anew, after another thread has changed it."""
        await self._submit(lambda _sink, _wall, _mono: None)

    async def close(self) -> None:
        """Write what waits, bring it to stable storage and let go."""
        if self._events:
            await self.record()
        await self._submit(
            lambda sink, wall, mono: sink.close(wall=wall, mono=mono), deadline=OPEN_CLOSE_DEADLINE
        )
        self._writer.close()
        self._syncer.close()

    async def _flush_events(self) -> None:
        if self._events:
            await self.record()

    async def _submit(
        self,
        act: Callable[[Sink, float, float], None],
        *,
        records: int = 0,
        deadline: float = WRITE_DEADLINE,
    ) -> None:
        if self._waiting >= MAX_WAITING:
            self._dropped += records
            return
        moment = now()
        self._waiting += 1
        try:
            outcome = await self._writer.run(self._work, act, moment.wall, moment.mono, deadline=deadline)
        except DeadlineMissed as late:
            self._writing_late = self._writing_late or moment.mono
            late.future.add_done_callback(self._returned)
            return
        except BaseException:
            self._waiting -= 1
            raise
        self._waiting -= 1
        self._writing_late = None  # the thread works in order: whatever came before has returned as well
        self._settle(outcome)

    def _returned(self, future: asyncio.Future[_Outcome]) -> None:
        """Take the outcome of a write that missed its deadline and has ended after all."""
        self._waiting -= 1
        if not future.cancelled() and future.exception() is None:
            self._settle(future.result())
            if not self._waiting:
                self._writing_late = None

    def _work(self, act: Callable[[Sink, float, float], None], wall: float, mono: float) -> _Outcome:
        """Let each sink act, and collect what they report; runs in the writer thread."""
        for sink in self._sinks:
            act(sink, wall, mono)
        retries = [at for sink in self._sinks if (at := sink.retry_at) is not None]
        return _Outcome(
            statuses={sink.name: sink.status() for sink in self._sinks},
            notices=[notice for sink in self._sinks for notice in sink.take_notices()],
            retry_at=min(retries, default=None),
            dirty=any(sink.dirty for sink in self._sinks),
        )

    def _settle(self, outcome: _Outcome) -> None:
        self._statuses = outcome.statuses
        self.settled()
        for notice in outcome.notices:
            self.event(notice.kind, notice.subject, notice.message, notice.detail)
        if outcome.retry_at is not None:
            delay = max(0.01, outcome.retry_at - now().mono)
            self._schedule.once("records.retry", delay, self._retry)
        if outcome.dirty and not self._syncing:
            self._syncing = True
            # At once after a pause, in the same wake-up as the write. Else half of the interval after the
            # last one, so that even a slow fsync ends within the whole.
            due = self._synced_at + self._fsync_interval / 2
            self._schedule.once("records.sync", max(0.0, due - now().mono), self._sync)

    async def _retry(self) -> None:
        await self._submit(lambda sink, wall, mono: sink.pump(wall=wall, mono=mono))

    async def _sync(self) -> None:
        self._syncing = False
        began = self._synced_at = now().mono
        try:
            outcome = await self._syncer.run(self._sync_all, deadline=SYNC_DEADLINE)
        except DeadlineMissed as late:
            self._syncing_late = self._syncing_late or began
            late.future.add_done_callback(self._synced)
            return
        self._settle(outcome)

    def _synced(self, future: asyncio.Future[_Outcome]) -> None:
        """Take the outcome of an fsync that missed its deadline and has ended after all."""
        self._syncing_late = None
        if not future.cancelled() and future.exception() is None:
            self._settle(future.result())

    def _sync_all(self) -> _Outcome:
        """Sync every sink; runs in the fsync thread."""
        return self._work(lambda sink, _wall, _mono: sink.sync(), 0.0, 0.0)
