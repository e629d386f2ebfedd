"""Write one topic's records to Redis, a piece at a time: first those read back from files, then kept ones.

A kept record is sent only when no earlier one is missing, so an earlier record never overwrites a later one
for good. Failures are raised, and lose nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from coordd.records.moments import EARLIEST
from coordd.redislink.session import Command, Reply
from coordd.redislink.trouble import ServerError
from coordd.runtime.backoff import Backoff
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.redis.commands import Sample, plan
from coordd.sinks.redis.refill import Refill
from coordd.sinks.redis.refusals import refusal
from coordd.sinks.redis.topic_queue import TopicQueue
from coordd.util.regular_files import explain
from coordd.util.timestamps import parse_timestamp

PAUSE = 1.0
"""Seconds at least between two tries while Redis refuses; the backoff comes on top."""
COUNT, SIZE = 200, 128 * 1024
"""Samples and bytes written at once: a few milliseconds of work, and quick enough on a slow network."""


class Exchange(Protocol):
    """Send commands; the part of :class:`coordd.redislink.session.RedisSession` that is used here."""

    async def call(self, *commands: Command) -> list[Reply]:
        """Return the replies in order; raises RedisLost."""
        ...


class Refused(Exception):
    """Internal: samples are refused, or cannot be read back; the text says why.

    ``lossy``: samples that Redis had may be lost.
    """

    def __init__(self, why: str, *, lossy: bool = False) -> None:
        self.lossy = lossy
        super().__init__(why)


class TopicWriter:
    """Write one topic, from its queue and from the record files.

    ``written`` counts records written, including those written again; ``dropped`` those given up. ``latest``
    are the last two keys that got samples. ``refusal`` says why the last try was refused, ``retry_at`` is the
    monotonic time of the next one.
    """

    def __init__(
        self,
        *,
        queue: TopicQueue,
        metrics_dir: str,
        worker: Worker,
        now: Callable[[], Moment],
        random: Callable[[], float],
    ) -> None:
        self.queue = queue
        self.written = 0
        self.dropped = 0
        self.latest: tuple[bytes, ...] = ()
        self.refusal: str | None = None
        self.retry_at = 0.0
        self._metrics_dir = metrics_dir
        self._worker = worker
        self._now = now
        self._backoff = Backoff(random=random, first=0.1, longest=1.5)
        self._refill: Refill | None = None
        self._read_back: list[Sample] = []  # and not in Redis yet
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Return whether everything is in Redis."""
        return self.queue.empty

    async def step(self, session: Exchange, *, ttl: float) -> None:
        """Write one piece.

        Raises:
            RedisLost: the connection failed.
            Refused: Redis refused, or the record files cannot be read.
        """
        if self._refill is None and self.queue.behind:
            self._refill = self._begin(ttl)
        if self._refill is not None:
            await self._refill_step(self._refill, session, ttl)
        else:
            await self._live_step(session, ttl)

    async def _refill_step(self, refill: Refill, session: Exchange, ttl: float) -> None:
        try:
            samples = self._read_back or await refill.next()
        except DeadlineMissed:
            self.abandon()
            raise Refused(f"{self._metrics_dir}: reading the records back takes too long") from None
        except OSError as error:
            self.abandon()
            raise Refused(f"the records cannot be read back: {explain(error)}") from error
        if self._refill is not refill:  # given up meanwhile
            return
        if samples is None:
            self._refill = None
            self.queue.end_reading(whole=True)
            self._close_soon(refill)
            self._went_well()
            return
        self._read_back = samples
        await self._write(session, samples, ttl)
        if self._refill is refill:
            self._read_back = []

    async def _live_step(self, session: Exchange, ttl: float) -> None:
        samples = self.queue.take(count=COUNT, size=SIZE)
        try:
            expired = await self._write(session, samples, ttl)
        except BaseException:
            self.queue.back()
            raise
        self.dropped += expired
        self.queue.done()

    def _begin(self, ttl: float) -> Refill:
        """Begin to read from the earliest missing moment, in whole seconds; nothing older than ``ttl``."""
        since = self.queue.begin_reading()
        living = self._now().wall - ttl
        start = living if since == EARLIEST else max(living, parse_timestamp(since.decode()))
        return Refill(
            directory=self._metrics_dir,
            topic=self.queue.topic,
            since=max(0.0, start // 1),
            worker=self._worker,
            count=COUNT,
            size=SIZE,
        )

    async def _write(self, session: Exchange, samples: Sequence[Sample], ttl: float) -> int:
        """Write samples, and return how many were left out because they have expired."""
        made = plan(samples, wall=self._now().wall, ttl=ttl)
        if not made.commands:
            await asyncio.sleep(0)  # many such pieces may follow one another
            self._went_well()
            return made.expired
        spoiled = 0
        for reply, carried in zip(await session.call(*made.commands), made.carried, strict=True):
            if not isinstance(reply, ServerError):
                continue
            if not reply.means.wrong_type:
                raise Refused(refusal(self.queue.topic, reply), lossy=reply.means.lossy)
            spoiled += carried
        if samples[-1].key not in self.latest:
            self.latest = (*self.latest[-1:], samples[-1].key)
        self.written += len(samples) - made.expired - spoiled
        self.dropped += spoiled
        self._went_well()
        return made.expired

    def refused(self, why: str) -> None:
        """Note why the last try failed, and plan the next one."""
        self.refusal = why
        self.retry_at = self._now().mono + PAUSE + self._backoff.next()

    def try_again(self) -> None:
        """Allow the next try at once."""
        self.refusal, self.retry_at = None, 0.0

    def _went_well(self) -> None:
        self.try_again()
        self._backoff.reset()

    def all_missing(self) -> None:
        """Write everything again: Redis may have none of the records."""
        self.abandon()
        self.queue.missing_since(EARLIEST)

    def abandon(self) -> None:
        """Stop reading back, and let go of the files; what was being read is missing again."""
        if self._refill is not None:
            self._close_soon(self._refill)
        self._refill, self._read_back = None, []
        self.queue.end_reading(whole=False)

    async def closed(self, *, within: float) -> None:
        """Wait until all files are closed, at most ``within`` seconds."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=within)

    def _close_soon(self, refill: Refill) -> None:
        closing = asyncio.ensure_future(refill.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
