"""Write samples to Redis in one task, for as long as there is a connection: the sink ``redis``.

Each topic has a writer of its own (:class:`TopicWriter`), so one that is refused stops none of the others.
Nothing here raises: a failure is in the status::

    status     becomes                                        when
    ok         failing (an event, sink.failed)                the connection is lost, or a topic is refused
    failing    failing, "what it missed is being written"     there is a connection, and Redis takes samples
    failing    ok (an event, sink.recovered)                  everything that was missed is written
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Raw

from coordd.model import SinkStatus
from coordd.records.moments import EARLIEST, LATEST, key
from coordd.redislink.facts import RedisFacts
from coordd.redislink.session import Command, RedisLost
from coordd.runtime.clocks import Moment
from coordd.runtime.worker import Worker
from coordd.sinks.base import Notice
from coordd.sinks.redis.checkpoint import parse_checkpoint
from coordd.sinks.redis.commands import TOPICS, Sample
from coordd.sinks.redis.refusals import CATCHING_UP
from coordd.sinks.redis.topic_queue import KEEP, TopicQueue
from coordd.sinks.redis.topic_writer import Exchange, Refused, TopicWriter
from coordd.sinks.transitions import Transitions
from coordd.util.timestamps import format_utc, parse_timestamp

log = logging.getLogger(__name__)

LINGER = 0.1
"""Seconds that a record waits for others: a busy fleet costs ten exchanges a second, not hundreds."""
OVERLAP = 120.0
"""Seconds of records read again from before a checkpoint: they were on their way when it was made."""
LAST_TRY = 1.0
_FORGOTTEN_AT_ONCE = 200
_AGE_EVERY = 5.0
_CLOSE_FILES_AFTER = 60.0
"""Seconds of outage after which files being read are closed, so that their space can be freed."""


class RedisSink:
    """Write samples to one Redis; a tenant of its :class:`coordd.redislink.connection.RedisConnection`.

    Args:
        metrics_dir: where the record files are.
        ttl: seconds that a sample lives in Redis; may be replaced.
        worker: the thread in which the record files are read.
        random: gives a number in [0, 1), for the jitter of retries.
        on_notice: called when it begins to fail, when it has recovered, when records are dropped.
        broken: called when the connection failed.
        shown_url: the URL of this Redis, without the password. Checkpoints of others are ignored.
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
        shown_url: str = "",
        keep: int = KEEP,
    ) -> None:
        self.ttl = ttl
        self._now = now
        self._broken = broken
        self._shown_url = shown_url
        self._by_topic = {
            topic: TopicWriter(
                queue=TopicQueue(topic, keep=keep),
                metrics_dir=metrics_dir,
                worker=worker,
                now=now,
                random=random,
            )
            for topic in TOPICS
        }
        self._writers = list(self._by_topic.values())
        self._session: Exchange | None = None
        self._run_id: str | None = None
        self._trouble: str | None = None
        self._lost_at: float | None = None
        self._transitions = Transitions(
            self.name, on_notice, unexplained="they are too old, or somebody else uses their keys"
        )
        self._aged = 0
        self._aged_at = 0.0
        self._suspected: list[bytes] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def offer(self, topic: str, samples: Sequence[Sample]) -> None:
        """Queue samples that were just written to the record files, in that order; never waits.

        Args:
            topic: ``agent`` or ``system``.
            samples: all of that topic.
        """
        if not samples:
            return
        self._by_topic[topic].queue.put(samples)
        if self._session is not None:
            self._wake.set()
        else:
            self._age()

    async def forget(self, samples: Sequence[Sample]) -> int | None:
        """Take agents' samples out of Redis; return how many were there, None while it cannot be asked."""
        fields: dict[bytes, list[bytes]] = {}
        for one in samples:
            if one.field is not None:
                fields.setdefault(one.key, []).append(one.field)
        self._by_topic["agent"].queue.drop({(one.key, one.field) for one in samples})
        session, deleted = self._session, 0
        if session is None:
            return None
        commands: list[Command] = [("HDEL", key, *dict.fromkeys(names)) for key, names in fields.items()]
        try:
            for begin in range(0, len(commands), _FORGOTTEN_AT_ONCE):
                replies = await session.call(*commands[begin : begin + _FORGOTTEN_AT_ONCE])
                if not all(isinstance(reply, int) for reply in replies):
                    return None
                deleted += sum(reply for reply in replies if isinstance(reply, int))
        except RedisLost as lost:
            if self._session is session:
                self.down(str(lost))
                self._broken(lost)
            return None
        return deleted

    def up(self, session: Exchange, facts: RedisFacts) -> None:
        """Begin to write over a new connection: what waits, and everything that this server may lack."""
        if facts.run_id is None or facts.run_id != self._run_id or self._suspected:
            self._suspected = []
            self._all_missing()
        self._run_id = facts.run_id
        self._session, self._trouble, self._lost_at = session, None, None
        for writer in self._writers:
            writer.try_again()
        self._settle()
        self._wake.set()
        if self._task is None and not self._stopping:
            self._task = asyncio.ensure_future(self._run())

    def down(self, trouble: str) -> None:
        """Stop writing: the connection is lost. ``trouble`` says what is wrong, after the word Redis."""
        self._session = None
        self._trouble = f"Redis {trouble}"
        if self._lost_at is None:
            self._lost_at = self._now().mono
        self._settle()

    def suspect_loss(self) -> None:
        """Note that a database was emptied, perhaps this one; :meth:`verify` finds out."""
        if not self._suspected:  # the keys of two seconds: one of them may be younger than the flush
            self._suspected = [key for writer in self._writers for key in writer.latest]

    async def verify(self) -> None:
        """Ask whether the latest keys are still there, and write everything again if they are not."""
        session, suspected = self._session, self._suspected
        if session is None or not suspected:
            return
        try:
            replies = await session.call(*[("EXISTS", one) for one in suspected])
        except RedisLost as lost:
            if self._session is session:
                self.down(str(lost))
                self._broken(lost)
            return
        self._suspected = []
        if 0 in replies:
            log.info("samples in Redis were removed, and are written again")
            self._all_missing()
            self._wake.set()

    def status(self) -> SinkStatus:
        """Return the state and the counts as they are now; ``written`` includes what was written again."""
        self._age()
        failing = self._transitions.failing
        return SinkStatus(
            state="failing" if failing else "ok",
            written=sum(writer.written for writer in self._writers),
            backlog=sum(writer.queue.waiting for writer in self._writers),
            dropped=self._dropped,
            error=(self._fault or CATCHING_UP) if failing else None,
        )

    def checkpoint(self) -> dict[str, object] | None:
        """Return the checkpoint for the snapshot; None while it is not known what Redis has."""
        oldest = min(writer.queue.oldest() for writer in self._writers)
        if self._run_id is None or oldest == EARLIEST:
            return None
        until = format_utc(self._now().wall) if oldest == LATEST else oldest.decode()
        return {"run_id": self._run_id, "until": until, "place": self._shown_url}

    def resume(self, checkpoint: Raw | bytes) -> None:
        """Continue where the last run ended; called before the first :meth:`up`.

        Args:
            checkpoint: the snapshot's field as JSON; anything but a checkpoint of this Redis is ignored.
        """
        known = parse_checkpoint(checkpoint)
        if known is None or known.place != self._shown_url:
            return
        until = parse_timestamp(known.until)
        if until > self._now().wall + 1:  # the clock was set back: it is unknown what Redis has
            return
        self._run_id = known.run_id
        for writer in self._writers:
            writer.queue.missing_since(key(max(0.0, until - OVERLAP), EARLIEST))

    async def stop(self) -> None:
        """Try once more to write what waits, for a second at most; then end the task."""
        self._stopping = True
        if self._task is not None:
            for writer in self._writers:
                writer.retry_at = 0.0
            self._wake.set()
            await asyncio.wait({self._task}, timeout=LAST_TRY)
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for writer in self._writers:
            writer.abandon()
            await writer.closed(within=LAST_TRY / 2)

    async def _run(self) -> None:
        turn = 0
        while True:
            self._wake.clear()
            session, mono = self._session, self._now().mono
            ready = [writer for writer in self._writers if not writer.idle and writer.retry_at <= mono]
            if session is not None and ready:
                turn += 1
                await self._step(ready[turn % len(ready)], session)
                continue
            self._settle()
            if self._stopping:
                return
            retries = [writer.retry_at - mono for writer in self._writers if writer.retry_at > mono]
            with suppress(TimeoutError):
                async with asyncio.timeout(min(retries) if retries and session else None):
                    await self._wake.wait()
            if not self._stopping:
                await asyncio.sleep(LINGER)

    async def _step(self, writer: TopicWriter, session: Exchange) -> None:
        try:
            await writer.step(session, ttl=self.ttl)
        except RedisLost as lost:
            if self._session is session:
                self.down(str(lost))
                self._broken(lost)
        except Refused as refused:
            if refused.lossy:
                self._all_missing()
            writer.refused(str(refused))
        except Exception as error:  # a bug must not end the task; it is logged with its traceback
            log.exception("writing samples to Redis failed")
            writer.refused(f"writing samples fails: {type(error).__name__}")
        self._settle()

    def _all_missing(self) -> None:
        for writer in self._writers:
            writer.all_missing()

    def _age(self) -> None:
        """Stop counting samples that are older than their time to live in Redis."""
        moment = self._now()
        if self._aged_at <= moment.mono < self._aged_at + _AGE_EVERY:
            return
        self._aged_at = moment.mono
        horizon = key(max(0.0, moment.wall - self.ttl), EARLIEST)
        for writer in self._writers:
            self._aged += writer.queue.age(horizon)
            if self._lost_at is not None and moment.mono - self._lost_at > _CLOSE_FILES_AFTER:
                writer.abandon()
        self._settle()

    @property
    def _dropped(self) -> int:
        return self._aged + sum(writer.dropped for writer in self._writers)

    @property
    def _fault(self) -> str | None:
        return self._trouble or next((writer.refusal for writer in self._writers if writer.refusal), None)

    def _settle(self) -> None:
        """Report each change between failing and ok, and the first record given up."""
        caught_up = all(writer.idle for writer in self._writers)
        self._transitions.note(self._fault, dropped=self._dropped, recovered=caught_up)
