"""The way of one topic's records to Redis, a piece at a time: what must be read back, then what is kept.

Only while nothing is missing any more that was written before is a kept record sent, so a later one is never
overtaken by an earlier one for good. What fails is raised, and nothing is forgotten by it.
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
from coordd.sinks.redis.commands import Sample, plan, sample_of
from coordd.sinks.redis.refill import Refill
from coordd.sinks.redis.refusals import is_of_one_key, may_have_lost, refusal
from coordd.sinks.redis.topic_queue import TopicQueue
from coordd.util.regular_files import explain
from coordd.util.timestamps import parse_timestamp

PAUSE = 1.0
"""Seconds between two tries at the least, while Redis refuses; the backoff comes on top."""
COUNT, SIZE = 200, 128 * 1024
"""Samples and bytes written at once: a few milliseconds of work, and in time on a slow network too."""


class Exchange(Protocol):
    """What is used of :class:`coordd.redislink.session.RedisSession`."""

    async def call(self, *commands: Command) -> list[Reply]:
        """Replies in order, or RedisLost."""
        ...


class Refused(Exception):
    """Samples are not taken, or cannot be read back; the text says why.

    ``lossy``: some that were taken before may be gone.
    """

    def __init__(self, why: str, *, lossy: bool = False) -> None:
        self.lossy = lossy
        super().__init__(why)


class TopicWriter:
    """What is under way of one topic.

    ``written`` counts records in Redis, those written again as well; ``dropped`` those that never will be.
    ``latest`` are the last two keys that got samples. ``refusal`` says why the last try was refused, and
    ``retry_at`` the monotonic time of the next.
    """

    def __init__(
        self,
        *,
        lane: TopicQueue,
        metrics_dir: str,
        worker: Worker,
        now: Callable[[], Moment],
        random: Callable[[], float],
    ) -> None:
        self.lane = lane
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
        self._held: list[Sample] = []  # read back, and not in Redis yet
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether everything is in Redis."""
        return self.lane.empty

    async def step(self, wire: Exchange, *, ttl: float) -> None:
        """Write one piece.

        Raises:
            RedisLost: the connection failed.
            Refused: that, or the record files, did not do what was asked.
        """
        if self._refill is None and self.lane.behind:
            self._refill = self._begin(ttl)
        if self._refill is not None:
            await self._refill_step(self._refill, wire, ttl)
        else:
            await self._live_step(wire, ttl)

    async def _refill_step(self, refill: Refill, wire: Exchange, ttl: float) -> None:
        try:
            held = self._held or await refill.next()
        except DeadlineMissed:
            self.abandon()
            raise Refused(f"{self._metrics_dir}: reading the records back takes too long") from None
        except OSError as error:
            self.abandon()
            raise Refused(f"the records cannot be read back: {explain(error)}") from error
        if self._refill is not refill:  # given up meanwhile
            return
        if held is None:
            self._refill = None
            self.lane.end_reading(whole=True)
            self._close_soon(refill)
            self._went_well()
            return
        self._held = held
        await self._write(wire, held, ttl)
        if self._refill is refill:
            self._held = []

    async def _live_step(self, wire: Exchange, ttl: float) -> None:
        records = self.lane.take(count=COUNT, size=SIZE)
        try:
            samples = [sample_of(self.lane.topic, record) for record in records]
            expired = await self._write(wire, [sample for sample in samples if sample is not None], ttl)
        except BaseException:
            self.lane.back()
            raise
        self.dropped += expired
        self.lane.done()

    def _begin(self, ttl: float) -> Refill:
        """Read on from the moment that is missing: whole seconds, and no more than lives in Redis."""
        since = self.lane.begin_reading()
        living = self._now().wall - ttl
        start = living if since == EARLIEST else max(living, parse_timestamp(since.decode()))
        return Refill(
            directory=self._metrics_dir,
            topic=self.lane.topic,
            since=max(0.0, start // 1),
            worker=self._worker,
            count=COUNT,
            size=SIZE,
        )

    async def _write(self, wire: Exchange, samples: Sequence[Sample], ttl: float) -> int:
        """All that still lives is in Redis when this returns; how many do not."""
        made = plan(samples, wall=self._now().wall, ttl=ttl)
        if not made.commands:
            await asyncio.sleep(0)  # many such pieces may follow one another
            self._went_well()
            return made.expired
        spoiled = 0
        for reply, carried in zip(await wire.call(*made.commands), made.carried, strict=True):
            if not isinstance(reply, ServerError):
                continue
            if not is_of_one_key(reply):
                raise Refused(refusal(self.lane.topic, reply), lossy=may_have_lost(reply))
            spoiled += carried
        if samples[-1].key not in self.latest:
            self.latest = (*self.latest[-1:], samples[-1].key)
        self.written += len(samples) - made.expired - spoiled
        self.dropped += spoiled
        self._went_well()
        return made.expired

    def refused(self, why: str) -> None:
        """The last try was in vain: try again, but not at once."""
        self.refusal = why
        self.retry_at = self._now().mono + PAUSE + self._backoff.next()

    def try_again(self) -> None:
        """Nothing speaks against another try."""
        self.refusal, self.retry_at = None, 0.0

    def _went_well(self) -> None:
        self.try_again()
        self._backoff.reset()

    def all_missing(self) -> None:
        """Redis may have none of the records."""
        self.abandon()
        self.lane.missing_since(EARLIEST)

    def abandon(self) -> None:
        """Read back no further, and let go of the files; what was being read is missing again."""
        if self._refill is not None:
            self._close_soon(self._refill)
        self._refill, self._held = None, []
        self.lane.end_reading(whole=False)

    async def closed(self, *, within: float) -> None:
        """Wait until no file is open any more, for so many seconds at most."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=within)

    def _close_soon(self, refill: Refill) -> None:
        closing = asyncio.ensure_future(refill.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
