"""Reads samples back from the record files, a slice at a time, in a thread; the loop has its turn in between.

Whatever was in the files before the first slice is read, in the order of writing, wherever rotation and
compression have put it; damaged lines are passed over, and so are files that coordd did not make: what
somebody else left in a project is not to become samples in the owner's Redis.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

import msgspec

from coordd.records.moments import Span
from coordd.records.scan import RecordQuery, Scan
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.redis.commands import Sample, sample_of

SLICE = 0.002
"""Seconds of one slice: pure Python in one thread slows all others."""
DEADLINE = 10.0
"""Seconds after which a slice hangs: the file system is slow or dead."""
T = TypeVar("T")


class Refill:
    """One pass over the files of a topic.

    Args:
        directory: where the record files are.
        topic: ``agent`` or ``system``.
        since: epoch seconds; the first moment of interest, None for all there is.
        count, size: samples and bytes that a piece has about at the most.
    """

    def __init__(
        self, *, directory: str, topic: str, since: float | None, worker: Worker, count: int, size: int
    ) -> None:
        self._topic = topic
        self._worker = worker
        self._count = count
        self._size = size
        self._batches = Scan(
            directory, RecordQuery(topic, Span(since)), decode=msgspec.json.decode, owned=True
        ).batches()
        self._ended = False

    async def next(self) -> list[Sample] | None:
        """The next samples; None at the end.

        Raises:
            OSError: the files may not be read.
            Late: reading hangs.
        """
        while not self._ended:
            if samples := await self._run(self._slice):
                return samples
        return None

    async def close(self) -> None:
        """Let go of the files, in the thread's queue: a slice may still run there."""
        with suppress(DeadlineMissed):
            await self._run(self._close)

    async def _run(self, call: Callable[[], T]) -> T:
        return await self._worker.run(call, deadline=DEADLINE)

    def _slice(self) -> list[Sample]:
        """Runs in the thread."""
        end = monotonic() + SLICE
        samples: list[Sample] = []
        size = 0
        for batch in self._batches:
            for line, record in batch:
                sample = sample_of(self._topic, line, record)
                if sample is not None:
                    samples.append(sample)
                    size += len(line)
            if len(samples) >= self._count or size >= self._size or monotonic() >= end:
                return samples
        self._ended = True
        return samples

    def _close(self) -> None:
        # A slice that hangs in a dead file system has lost its thread, and keeps the generator busy.
        with suppress(ValueError):
            self._batches.close()
