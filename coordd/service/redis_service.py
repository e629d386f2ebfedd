"""The parts of the daemon that exist only where a Redis is configured; nothing else imports what they need.

Beside daemon.py, which makes one of it, the only place that builds things: redis-py takes 8 MB, and whoever
has no Redis is spared all of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

from coordd.agents.store import AgentStore
from coordd.config.build import Config
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.redis import RedisIntake
from coordd.intake.source import TraceLog
from coordd.intake.tasks import TaskIntake
from coordd.model import SinkStatus
from coordd.redislink.connection import RedisConnection
from coordd.redislink.state import OnEvent, RedisState
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.redis.checkpoint import load_mark, with_mark
from coordd.sinks.redis.sink import RedisSink
from coordd.sources.bounds import Bounds
from coordd.sources.redis.reader import RedisReader

log = logging.getLogger(__name__)

LOAD_DEADLINE = 60.0
FLUSH_PAUSE = 5.0
"""Seconds from a flush of Redis to a look at what it took of our samples; one look does for several."""
FIRST_READING = 1.5
"""Seconds that the start waits for the first reading of Redis: one that does not answer holds nothing up."""


class RedisService:
    """Link, feed and sink of one Redis."""

    def __init__(
        self,
        *,
        config: Config,
        url: str,
        state: RedisState,
        store: AgentStore,
        schedule: Schedule,
        agents: AgentIntake,
        tasks: TaskIntake,
        deadline_timer: DeadlineTimer,
        trace_log: TraceLog,
        bounds: Bounds,
        on_event: OnEvent,
    ) -> None:
        self._worker = Worker("coordd-redis", replaceable=True)
        self._schedule = schedule
        self._link = RedisConnection(url=url, random=random.random, on_change=state.changed)
        self._feed: RedisIntake | None = None
        if config.coordination.mode != "file":
            self._feed = RedisIntake(
                url=url,
                store=store,
                reader=RedisReader(mono=lambda: now().mono, bounds=bounds),
                schedule=schedule,
                agents=agents,
                tasks=tasks,
                deadline_timer=deadline_timer,
                trace_log=trace_log,
                broken=self._link.report_lost,
                flushed=self._flushed,
            )
            self._link.users.append(self._feed)
            deadline_timer.redis = self._feed.reread
            state.feed = lambda: self._feed.mode if self._feed else None
            state.troubles = lambda: self._feed.troubles if self._feed else {}
            state.standstill = lambda: self._feed.standstill if self._feed else None
        self._sink: RedisSink | None = None
        if config.coordination.redis_writable:
            self._sink = RedisSink(
                metrics_dir=config.storage.metrics_dir,
                ttl=config.redis.ttl,
                worker=self._worker,
                now=now,
                random=random.random,
                on_notice=lambda notice: on_event(notice.kind, notice.subject, notice.message, notice.detail),
                broken=self._link.report_lost,
                place=self._link.shown_url,
            )
            self._link.users.append(self._sink)
        state.follow(lambda: self._link.facts)
        self._loading: asyncio.Future[None] | None = None
        self._resuming: asyncio.Future[object] | None = None

    def load(self, snapshot: str, root: str | None) -> None:
        """Begin to import redis-py, and to read what the last run wrote of its sink, in a thread."""
        if self._sink is not None:
            self._resuming = asyncio.ensure_future(
                self._worker.run(load_mark, snapshot, root, deadline=LOAD_DEADLINE)
            )
        self._loading = asyncio.ensure_future(self._worker.run(self._link.load, deadline=LOAD_DEADLINE))

    async def start(self) -> None:
        """Connect and read everything once; returns after :data:`FIRST_READING` seconds at the latest."""
        if self._loading is not None:
            await self._loading
        if self._sink is not None and self._resuming is not None:
            try:
                self._sink.resume(await self._resuming)
            except DeadlineMissed:  # a disk that hangs; without a mark nothing is lost, only written again
                log.warning("the snapshot cannot be read in time: the last hour is written to Redis again")
        self._link.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READING):
                await self._link.first_check()
                if self._feed is not None:
                    await self._feed.ready.wait()

    def gap(self, seconds: float) -> None:
        """The loop did not turn for so long."""
        self._link.check_soon()
        if self._feed is not None:
            self._feed.gap(seconds)

    def rescan_soon(self) -> None:
        """Read everything again, now rather than at the next rescan."""
        if self._feed is not None:
            self._feed.rescan_soon()

    def apply(self, config: Config) -> None:
        """Take what a reload may change."""
        if self._sink is not None:
            self._sink.ttl = config.redis.ttl

    def offer(self, topic: str, records: Sequence[bytes]) -> None:
        """Records that were just written to the record files."""
        if self._sink is not None:
            self._sink.offer(topic, records)

    def statuses(self) -> dict[str, SinkStatus]:
        """The sink's status by its name; nothing where none writes to Redis."""
        return {} if self._sink is None else {self._sink.name: self._sink.status()}

    def marked(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """The snapshot, with what the next run needs to know of the sink."""
        return document if self._sink is None else with_mark(document, self._sink.mark())

    def _flushed(self) -> None:
        """Redis says that a database was emptied, not which one."""
        if self._sink is None:
            return
        self._sink.doubt()
        if self._schedule.waiting("redis.flushed") is None:
            self._schedule.once("redis.flushed", FLUSH_PAUSE, self._sink.look)

    async def stop_reading(self) -> None:
        """Read no more."""
        if self._feed is not None:
            await self._feed.stop()

    async def stop(self) -> None:
        """Write what waits, if that takes no time, and disconnect."""
        if self._sink is not None:
            await self._sink.stop()
        await self._link.stop()
        self._worker.close()
