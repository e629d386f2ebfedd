"""The sink ``redis``: one task that writes what waits for as long as there is a connection.

Each topic goes its own way (:class:`TopicWriter`): one that is refused stops none of the others. It fails
from the first fault until all is written that was missed. Nothing here raises: a failure is in the status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from coordd.model import SinkStatus
from coordd.records.moments import EARLIEST, LATEST, key
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import RedisLost
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import Worker
from coordd.sinks.base import Notice
from coordd.sinks.redis.checkpoint import read_mark
from coordd.sinks.redis.commands import TOPICS
from coordd.sinks.redis.refusals import CATCHING_UP
from coordd.sinks.redis.topic_queue import KEEP, TopicQueue
from coordd.sinks.redis.topic_writer import Exchange, Refused, TopicWriter
from coordd.util.timestamps import format_utc, parse_timestamp

log = logging.getLogger(__name__)

LINGER = 0.1
"""Seconds that a record waits for company: a busy fleet costs ten exchanges a second, not hundreds."""
OVERLAP = 120.0
"""Seconds before a mark from which records are read again: those that were on their way when it was made."""
LAST_TRY = 1.0
_AGE_EVERY = 5.0
_LET_GO_AFTER = 60.0
"""Seconds of outage after which files that are being read are closed: they may be deleted meanwhile."""


class RedisSink:
    """Writes samples to the Redis of a Link, which it is a tenant of.

    Args:
        metrics_dir: where the record files are.
        ttl: seconds that a sample lives in Redis; may be replaced.
        worker: the thread in which the record files are read.
        random: gives a number in [0, 1), for the jitter of retries.
        on_notice: told when it begins to fail, when it has recovered, when records are given up.
        broken: told that the connection failed.
        place: which Redis this is: its URL without the password. A mark of another place says nothing.
        keep: how many recent records of a topic are kept in memory.
    """

    name = "redis"

    def __init__(
        self,
        *,
        metrics_dir: str,
        ttl: float,
        worker: Worker,
        now: Callable[[], Moment],
        random: Callable[[], float],
        on_notice: Callable[[Notice], None],
        broken: Callable[[RedisLost], None],
        place: str = "",
        keep: int = KEEP,
    ) -> None:
        self.ttl = ttl
        self._now = now
        self._on_notice = on_notice
        self._broken = broken
        self._place = place
        self._courses = {
            topic: TopicWriter(
                lane=TopicQueue(topic, keep=keep),
                metrics_dir=metrics_dir,
                worker=worker,
                now=now,
                random=random,
            )
            for topic in TOPICS
        }
        self._all = list(self._courses.values())
        self._wire: Exchange | None = None
        self._run_id: str | None = None
        self._trouble: str | None = None
        self._lost_at: float | None = None
        self._failing = False
        self._aged = 0
        self._aged_at = 0.0
        self._dropped_before = 0
        self._dropping = False
        self._doubted: list[bytes] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def offer(self, topic: str, records: Sequence[bytes]) -> None:
        """Records that were just written to the record files; never waits.

        Args:
            topic: other ones than ``agent`` and ``system`` are not for Redis.
            records: JSON objects, in the order of writing.
        """
        course = self._courses.get(topic)
        if course is None or not records:
            return
        course.lane.put(records)
        if self._wire is not None:
            self._wake.set()
        else:
            self._age()

    def up(self, wire: Exchange, facts: RedisFacts) -> None:
        """There is a connection: write what waits, and all that this server may not have."""
        if facts.run_id is None or facts.run_id != self._run_id or self._doubted:
            self._doubted = []
            self._all_missing()
        self._run_id = facts.run_id
        self._wire, self._trouble, self._lost_at = wire, None, None
        for course in self._all:
            course.try_again()
        self._settle()
        self._wake.set()
        if self._task is None and not self._stopping:
            self._task = asyncio.ensure_future(self._run())

    def down(self, trouble: str) -> None:
        """There is no connection; ``trouble`` says of "Redis" what is wrong."""
        self._wire = None
        self._trouble = f"Redis {trouble}"
        if self._lost_at is None:
            self._lost_at = self._now().mono
        self._settle()

    def doubt(self) -> None:
        """Somebody emptied a database, maybe ours: :meth:`look` is to find out what became of samples."""
        if not self._doubted:  # two seconds' keys of each: one may be younger than that
            self._doubted = [key for course in self._all for key in course.latest]

    async def look(self) -> None:
        """Find out whether what was doubted is still there, and write everything again if not."""
        wire, doubted = self._wire, self._doubted
        if wire is None or not doubted:
            return
        try:
            replies = await wire.call(*[("EXISTS", one) for one in doubted])
        except RedisLost as lost:
            if self._wire is wire:
                self.down(str(lost))
                self._broken(lost)
            return
        self._doubted = []
        if 0 in replies:
            log.info("samples in Redis were removed, and are written again")
            self._all_missing()
            self._wake.set()

    def status(self) -> SinkStatus:
        """How it does now; ``written`` counts what was written again as well."""
        self._age()
        return SinkStatus(
            state="failing" if self._failing else "ok",
            written=sum(course.written for course in self._all),
            backlog=sum(course.lane.waiting for course in self._all),
            dropped=self._dropped,
            error=(self._fault or CATCHING_UP) if self._failing else None,
        )

    def mark(self) -> dict[str, object] | None:
        """Up to when everything is in which Redis, for the snapshot; None while that is not known."""
        oldest = min(course.lane.oldest() for course in self._all)
        if self._run_id is None or oldest == EARLIEST:
            return None
        until = format_utc(self._now().wall) if oldest == LATEST else oldest.decode()
        return {"run_id": self._run_id, "until": until, "place": self._place}

    def resume(self, mark: object) -> None:
        """Go on where the last run ended; to be called before the first ``up``.

        Args:
            mark: what the snapshot has for it; anything else than a mark of this place is passed over.
        """
        known = read_mark(mark)
        if known is None or known.place != self._place:
            return
        until = parse_timestamp(known.until)
        if until > self._now().wall + 1:  # behind a clock that was set back nobody knows what is there
            return
        self._run_id = known.run_id
        for course in self._all:
            course.lane.missing_since(key(max(0.0, until - OVERLAP), EARLIEST))

    async def stop(self) -> None:
        """One more try to write what waits, for a second at most; then let go."""
        self._stopping = True
        if self._task is not None:
            for course in self._all:
                course.retry_at = 0.0
            self._wake.set()
            await asyncio.wait({self._task}, timeout=LAST_TRY)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for course in self._all:
            course.abandon()
            await course.closed(within=LAST_TRY / 2)

    async def _run(self) -> None:
        turn = 0
        while True:
            self._wake.clear()
            wire, mono = self._wire, self._now().mono
            ready = [course for course in self._all if not course.idle and course.retry_at <= mono]
            if wire is not None and ready:
                turn += 1
                await self._step(ready[turn % len(ready)], wire)
                continue
            self._settle()
            if self._stopping:
                return
            retries = [course.retry_at - mono for course in self._all if course.retry_at > mono]
            with suppress(TimeoutError):
                async with asyncio.timeout(min(retries) if retries and wire else None):
                    await self._wake.wait()
            if not self._stopping:
                await asyncio.sleep(LINGER)

    async def _step(self, course: TopicWriter, wire: Exchange) -> None:
        try:
            await course.step(wire, ttl=self.ttl)
        except RedisLost as lost:
            if self._wire is wire:
                self.down(str(lost))
                self._broken(lost)
        except Refused as refused:
            if refused.lossy:
                self._all_missing()
            course.refused(str(refused))
        except Exception as error:  # a bug must not end the task; it is logged with its place
            log.exception("writing samples to Redis failed")
            course.refused(f"writing samples fails: {type(error).__name__}")
        self._settle()

    def _all_missing(self) -> None:
        for course in self._all:
            course.all_missing()

    def _age(self) -> None:
        """Give up what would not live in Redis any more."""
        moment = self._now()
        if self._aged_at <= moment.mono < self._aged_at + _AGE_EVERY:
            return
        self._aged_at = moment.mono
        horizon = key(max(0.0, moment.wall - self.ttl), EARLIEST)
        for course in self._all:
            self._aged += course.lane.age(horizon)
            if self._lost_at is not None and moment.mono - self._lost_at > _LET_GO_AFTER:
                course.abandon()
        self._note_dropping()

    @property
    def _dropped(self) -> int:
        return self._aged + sum(course.dropped for course in self._all)

    @property
    def _fault(self) -> str | None:
        return self._trouble or next((course.refusal for course in self._all if course.refusal), None)

    def _settle(self) -> None:
        """Tell of each turn between failing and not."""
        fault = self._fault
        self._note_dropping()
        if fault is not None and not self._failing:
            self._failing = True
            message = f"the redis sink cannot record: {fault}"
            self._on_notice(Notice("sink.failed", self.name, message, {"error": fault}))
        elif fault is None and self._failing and all(course.idle for course in self._all):
            lost, self._dropped_before = self._dropped - self._dropped_before, self._dropped
            self._failing = self._dropping = False
            message = f"the redis sink records again; {lost} records were dropped meanwhile"
            self._on_notice(Notice("sink.recovered", self.name, message, {"dropped": lost}))

    def _note_dropping(self) -> None:
        if self._dropping or self._dropped == self._dropped_before:
            return
        self._dropping = True
        why = self._fault or "they are too old, or somebody else uses their keys"
        message = f"the redis sink gives up records: {why}"
        self._on_notice(Notice("sink.dropping", self.name, message, {"dropped": self._dropped}))
