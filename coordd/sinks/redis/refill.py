"""Read samples back from the record files, a slice at a time, in a thread: the event loop runs in between.

Everything that was in the files before the first slice is read, in the order of writing, wherever rotation
and compression have put it. Damaged lines are passed over. So are files that coordd did not make: what
somebody else left in a project must not become samples in the owner's Redis.
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
"""Seconds of one slice; Python code in one thread slows all others."""
DEADLINE = 10.0
"""Seconds after which a slice is taken to hang: the file system is slow or dead."""
T = TypeVar("T")


class Refill:
    """Go over the files of a topic once.

    Args:
        directory: where the record files are.
        topic: ``agent`` or ``system``.
        since: epoch seconds; the first moment to read, None for everything.
        count, size: samples and bytes that one answer of :meth:`next` has at most, about.
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
        """Return the next samples; None at the end.

        Raises:
            OSError: the files may not be read.
            DeadlineMissed: reading hangs.
        """
        while not self._ended:
            if samples := await self._run(self._slice):
                return samples
        return None

    async def close(self) -> None:
        """Let go of the files, in the thread: a slice may still run there."""
        with suppress(DeadlineMissed):
            await self._run(self._close)

    async def _run(self, call: Callable[[], T]) -> T:
        return await self._worker.run(call, deadline=DEADLINE)

    def _slice(self) -> list[Sample]:
        """Read for one slice; runs in the thread."""
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
        # A slice that hangs in a dead file system keeps the generator busy: ValueError.
        with suppress(ValueError):
            self._batches.close()
