"""Keep records in memory, for tests of code that writes to sinks.

It passes the contract tests of the real sinks.
"""

# ruff: noqa: ARG002 - the protocol names what a fake has no use for

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from coordd.model import SinkStatus
from coordd.runtime.backoff import Backoff
from coordd.sinks.backlog import Backlog
from coordd.sinks.base import Batch, Notice, Sink

_KEY = "records"


class MemorySink:
    """Keep JSON records in ``records``, in the order in which they were written.

    Set ``fault`` to a disk's error and nothing more is written; set ``sync_fault`` and syncs fail. ``rolled``
    has the times that :meth:`roll` was called with.

    Args:
        name: as ``status`` calls it.
        random: gives a number in [0, 1), for the jitter of retries.
        backlog: how many records may wait.
    """

    def __init__(
        self, *, random: Callable[[], float] = lambda: 0.0, name: str = "memory", backlog: int = 100_000
    ) -> None:
        self.records: list[bytes] = []
        self.fault: str | None = None
        self.sync_fault: str | None = None
        self.rolled: list[float] = []
        self._name = name
        self._backlog: Backlog[bytes] = Backlog(limit=backlog)
        self._backoff = Backoff(random=random)
        self._retry_at: float | None = None
        self._error: str | None = None
        self._sync_error: str | None = None
        self._failing = False
        self._dropped_before = 0
        self._dropping = False
        self._unsynced = 0
        self._durable = 0
        self._closed = False
        self._notices: deque[Notice] = deque(maxlen=100)

    @property
    def name(self) -> str:
        """Return the name by which ``status`` lists this sink."""
        return self._name

    @property
    def dirty(self) -> bool:
        """Return whether ``sync`` has something to do."""
        return self._unsynced > 0 or self._sync_error is not None

    @property
    def durable(self) -> int:
        """Return how many records a successful sync has covered."""
        return self._durable

    @property
    def retry_at(self) -> float | None:
        """Return the monotonic time to call ``pump`` at."""
        return self._retry_at

    def open(self, *, wall: float, mono: float) -> None:
        """Do the same as :meth:`roll`."""
        self.roll(wall=wall, mono=mono)

    def write(self, batch: Batch, *, wall: float, mono: float) -> None:
        """Keep the JSON records of the batch: system, agent, event."""
        records = (*batch.system, *batch.agent, *batch.event)
        if self._closed or self.fault is not None or self._backlog:
            self._backlog.put(_KEY, records)
            if self._closed:
                self._backlog.give_up()
            elif self._retry_at is None or mono >= self._retry_at:
                self._try(mono)
        else:
            self._take(records)
        self._report()

    def pump(self, *, wall: float, mono: float) -> None:
        """Try again what failed, if its time has come."""
        if self._retry_at is not None and mono >= self._retry_at:
            self._try(mono)
            self._report()

    def roll(self, *, wall: float, mono: float) -> None:
        """Append ``wall`` to ``rolled``; fails as writing does."""
        self.rolled.append(wall)
        self.check(wall=wall, mono=mono)

    def check(self, *, wall: float, mono: float) -> None:
        """Fail as writing does while ``fault`` is set."""
        if self.fault is not None and not self._closed and self._retry_at is None:
            self._try(mono)
            self._report()

    def sync(self) -> None:
        """Count everything written as durable, unless ``sync_fault`` is set."""
        if self.dirty:
            if self.sync_fault is None:
                self._durable += self._unsynced
                self._unsynced = 0
            self._sync_error = self.sync_fault
            self._report()

    def close(self, *, wall: float, mono: float) -> None:
        """Try once more and give up what waits."""
        if self._closed:
            return
        self._try(mono)
        self._closed = True
        self._retry_at = None
        self._backlog.give_up()
        self._report()
        self.sync()
        del self.records[len(self.records) - self._unsynced :]
        self._backlog.dropped += self._unsynced
        self._unsynced = 0
        self._report()

    def status(self) -> SinkStatus:
        """Return the state, the error and the counts as they are now."""
        error = self._error or self._sync_error
        return SinkStatus(
            state="ok" if error is None else "failing",
            written=len(self.records),
            backlog=len(self._backlog),
            dropped=self._backlog.dropped,
            error=error,
        )

    def take_notices(self) -> list[Notice]:
        """Return and forget what happened since the last call."""
        notices = list(self._notices)
        self._notices.clear()
        return notices

    def _try(self, mono: float) -> None:
        self._error = self.fault
        if self.fault is not None:
            self._retry_at = mono + self._backoff.next()
            return
        waiting = self._backlog.head(_KEY, len(self._backlog))
        self._backlog.done(_KEY, len(waiting))
        self._take(waiting)
        self._backoff.reset()
        self._retry_at = None

    def _take(self, records: Sequence[bytes]) -> None:
        self.records += records
        self._unsynced += len(records)

    def _report(self) -> None:
        error = self._error or self._sync_error
        dropped = self._backlog.dropped
        if dropped > self._dropped_before and not self._dropping:
            self._dropping = True
            self._notices.append(Notice("sink.dropping", self._name, f"{self._name}: records are dropped"))
        if (error is not None) == self._failing:
            return
        self._failing = error is not None
        if error is not None:
            self._notices.append(Notice("sink.failed", self._name, error, {"error": error}))
            return
        lost, self._dropped_before, self._dropping = dropped - self._dropped_before, dropped, False
        self._notices.append(Notice("sink.recovered", self._name, "records again", {"dropped": lost}))


def _fits(fake: MemorySink) -> Sink:
    """Have the type checker confirm that the fake is a sink."""
    return fake
