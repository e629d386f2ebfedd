"""Build and run the parts that exist only where a Redis is configured: connection, source and sink.

Imported by parts.py only in that case: redis-py takes 8 MB of memory, which other daemons are spared.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

from msgspec import Raw

from coordd.config.build import Config
from coordd.model import SinkStatus
from coordd.redislink.connection import RedisConnection
from coordd.redislink.state import OnEvent, RedisState
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import Worker
from coordd.sinks.redis.checkpoint import with_checkpoint
from coordd.sinks.redis.commands import TOPICS, sample_of, samples_of
from coordd.sinks.redis.sink import RedisSink
from coordd.sources.base import OneSource
from coordd.sources.bounds import Bounds
from coordd.sources.redis.keys import Keyspace
from coordd.sources.redis.reader import RedisReader
from coordd.sources.redis.source import RedisSource

LOAD_DEADLINE = 60.0
FLUSH_PAUSE = 5.0
"""Seconds from a flush of Redis until coordd checks its own samples; one check serves several flushes."""


class RedisService:
    """The connection to one Redis, with the source and the sink that use it."""

    def __init__(
        self,
        *,
        config: Config,
        url: str,
        state: RedisState,
        schedule: Schedule,
        bounds: Bounds,
        on_event: OnEvent,
    ) -> None:
        self._worker = Worker("coordd-redis", replaceable=True)
        self._schedule = schedule
        self._connection = RedisConnection(url=url, random=random.random, on_change=state.changed)
        self.finder = OneSource()
        if config.coordination.mode != "file":
            source = RedisSource(
                url=url,
                reader=RedisReader(
                    mono=lambda: now().mono,
                    bounds=bounds,
                    keyspace=Keyspace(config.coordination.redis_prefix),
                ),
                broken=self._connection.report_lost,
                flushed=self._flushed,
            )
            self.finder = OneSource(source)
            self._connection.users.append(source)
            self._connection.exchanged.append(source.exchanged)
            state.feed = lambda: source.mode
            state.troubles = lambda: source.troubles
            state.standstill = lambda: source.state.standstill
        self._sink: RedisSink | None = None
        if config.coordination.redis_writable:
            self._sink = RedisSink(
                metrics_dir=config.storage.metrics_dir,
                ttl=config.redis.ttl,
                worker=self._worker,
                now=now,
                random=random.random,
                on_notice=lambda notice: on_event(notice.kind, notice.subject, notice.message, notice.detail),
                broken=self._connection.report_lost,
                shown_url=self._connection.shown_url,
            )
            self._connection.users.append(self._sink)
        state.follow(lambda: self._connection.facts)
        self._loading: asyncio.Future[None] | None = None

    def load(self) -> None:
        """Begin to import redis-py, in a thread."""
        self._loading = asyncio.ensure_future(self._worker.run(self._connection.load, deadline=LOAD_DEADLINE))

    async def start(self, checkpoint: Raw | bytes) -> None:
        """Begin to connect; the source tells when it can be read.

        ``checkpoint`` is that of the last run, as JSON.
        """
        if self._loading is not None:
            await self._loading
        if self._sink is not None:
            self._sink.resume(checkpoint)
        self._connection.start()

    def gap(self) -> None:
        """Check the connection now: the process did not run for a while."""
        self._connection.check_soon()

    def apply(self, config: Config) -> None:
        """Apply what a reload may change."""
        if self._sink is not None:
            self._sink.ttl = config.redis.ttl

    def offer(self, topic: str, records: Sequence[bytes], made_of: Sequence[object]) -> None:
        """Queue samples for Redis of records that were just written to the files; see samples_of()."""
        if self._sink is not None and topic in TOPICS:
            self._sink.offer(topic, samples_of(topic, records, made_of))

    async def forget(self, records: Sequence[tuple[object, ...]]) -> tuple[int, float] | None:
        """Take samples out of Redis of records that are purged: host, timestamp, workspace and id of each.

        Returns:
            How many were there, and for how many seconds at most there may be others, 0 for none; None where
            no samples are written to Redis.
        """
        if self._sink is None:
            return None
        names = ("host", "timestamp", "workspace", "agent_id")
        fields = [dict(zip(names, one, strict=True)) for one in records]
        found = [sample for one in fields if (sample := sample_of("agent", b"", one)) is not None]
        deleted = await self._sink.forget(found)
        return (0, self._sink.ttl) if deleted is None else (deleted, 0.0)

    def statuses(self) -> dict[str, SinkStatus]:
        """Return the sink's status by its name; {} where no samples are written to Redis."""
        return {} if self._sink is None else {self._sink.name: self._sink.status()}

    def with_checkpoint(self, document: Mapping[str, object]) -> Mapping[str, object]:
        """Return the snapshot's document with the sink's checkpoint for the next run."""
        return document if self._sink is None else with_checkpoint(document, self._sink.checkpoint())

    def _flushed(self) -> None:
        """Check the samples soon: Redis says that a database was emptied, but not which one."""
        if self._sink is None:
            return
        self._sink.suspect_loss()
        if self._schedule.waiting("redis.flushed") is None:
            self._schedule.once("redis.flushed", FLUSH_PAUSE, self._sink.verify)

    async def stop(self) -> None:
        """Write what waits, for a second at most, and disconnect."""
        if self._sink is not None:
            await self._sink.stop()
        await self._connection.stop()
        self._worker.close()
