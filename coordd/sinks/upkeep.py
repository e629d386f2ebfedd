"""Run housekeeping at start, after each rotation, once an hour, and when a reload changes its limits.

housekeeping.py does the work, in a thread of its own: nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from coordd.config.build import StorageConfig
from coordd.runtime.clock_watch import uptime
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.housekeeping import Housekeeper
from coordd.sinks.record_file import MAX_PART_BYTES, RecordFile
from coordd.sinks.retention import Policy

log = logging.getLogger(__name__)

FIRST_AFTER = 1.0
"""Seconds after the start, so that the first answers are not delayed."""
EVERY = 3600.0
SLACK = 120.0
"""Seconds that a run may wait for another wake-up."""
DEADLINE = 3600.0
"""Seconds for one run; gzipping a month of the largest files takes minutes."""
DOUBTFUL_AFTER = 86_400.0
"""Seconds by which a clock that was set makes its day doubtful."""
PARTS = 8
"""A part grows to at most this share of the byte budget, so that there are whole parts to remove."""

T = TypeVar("T")

OnEvent = Callable[[str, str, str, Mapping[str, object]], None]


class Upkeep:
    """Schedule the housekeeper.

    Args:
        files: the series of all sinks.
        storage: the limits; :meth:`apply` replaces them.
        worker: the thread for it.
        on_event: records an event: kind, subject, message, detail.
        on_counted: is called after each run, when the sinks have counted anew what is not theirs.
    """

    def __init__(
        self,
        *,
        files: Sequence[RecordFile],
        storage: StorageConfig,
        worker: Worker,
        schedule: Schedule,
        on_event: OnEvent,
        on_counted: Callable[[], Awaitable[None]],
    ) -> None:
        self._files = files
        self._on_counted = on_counted
        self._housekeeper = Housekeeper(writers=files, policy=_policy(storage))
        self._worker = worker
        self._schedule = schedule
        self._on_event = on_event
        self._opened: int | None = None
        self._round: asyncio.Task[None] | None = None
        self._again = False
        self._offset = 0.0
        self._bound_parts(storage)

    def start(self) -> None:
        """Schedule the runs; they happen in the background."""
        self._offset = now().wall - uptime()
        self._opened = self._parts_opened()
        self._schedule.once("records.housekeeping.soon", FIRST_AFTER, self.run)
        self._schedule.every("records.housekeeping", EVERY, self.run, slack=SLACK)

    def apply(self, storage: StorageConfig) -> None:
        """Apply new limits, and run soon if they changed."""
        policy = _policy(storage)
        if policy != self._housekeeper.policy:
            self._housekeeper.policy = policy
            self._bound_parts(storage)
            self._soon()

    def look(self) -> None:
        """Run soon if a part was begun since the last call; called after each batch of records."""
        opened = self._parts_opened()
        if self._opened is not None and opened != self._opened:
            self._opened = opened
            self._soon()

    async def run(self) -> None:
        """Begin a run; if one is under way, another follows it."""
        if self._round is not None:
            self._again = True
            return
        # Not in the job itself: a run may take minutes, and a daemon that ends does not wait for it.
        self._round = asyncio.ensure_future(self._run())
        self._round.add_done_callback(self._ended)

    async def aside(self, call: Callable[[], T]) -> T:
        """Call something between two runs, in their thread; it then has the files to itself.

        Raises:
            DeadlineMissed: it takes longer than an hour.
            OSError: as it does.
        """
        return await self._worker.run(call, deadline=DEADLINE)

    @property
    def files(self) -> Sequence[RecordFile]:
        """The series of all sinks."""
        return self._files

    def close(self) -> None:
        """Stop waiting; what the thread is doing ends with the process, and the next process finishes it."""
        self._opened = None
        if self._round is not None:
            self._round.cancel()
        self._worker.close()

    async def _run(self) -> None:
        try:
            wall = now().wall
            # A clock that was set by days does not tell which files are old.
            doubtful = abs(wall - uptime() - self._offset) > DOUBTFUL_AFTER
            round_of = partial(self._housekeeper.run, wall, doubtful=doubtful)
            report = await self._worker.run(round_of, deadline=DEADLINE)
        except DeadlineMissed as late:
            log.warning("keeping the record files bounded takes very long: %s", late)
            return
        for notice in report.notices:
            log.warning("%s", notice.message)
            self._on_event(notice.kind, notice.subject, notice.message, notice.detail)
        await self._on_counted()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._round = None
        if task.cancelled():
            return
        if error := task.exception():
            log.error("keeping the record files bounded failed", exc_info=error)
        if self._again:
            self._again = False
            self._soon()

    def _soon(self) -> None:
        self._schedule.once("records.housekeeping.soon", 0.0, self.run)

    def _parts_opened(self) -> int:
        return sum(file.opened for file in self._files)

    def _bound_parts(self, storage: StorageConfig) -> None:
        for file in self._files:
            file.max_part_bytes = min(MAX_PART_BYTES, storage.max_bytes // PARTS)


def _policy(storage: StorageConfig) -> Policy:
    return Policy(
        retention_days=storage.retention_days,
        compress_after_days=storage.compress_after_days,
        max_bytes=storage.max_bytes,
    )
