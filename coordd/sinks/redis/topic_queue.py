"""Track which records of one topic are not in Redis yet. Pure: no clock, no Redis, no file.

The most recent records are kept. Of older ones only the earliest moment and their number are known: they are
read back from the record files, from that moment on. A record is in one of four places::

    place          entered by                       left by
    kept           put(), and back()                take(); becomes "missing" when the queue is full
    in flight      take()                           done(): in Redis;  back(): kept again
    missing        a full queue, missing_since()    begin_reading(), which takes all of them
    being read     begin_reading()                  end_reading(whole=True): in Redis;
                                                    end_reading(whole=False): missing again

While something is missing, records that are kept must wait (``behind``): older ones come first. Moments are
bytes that order like time (:mod:`coordd.records.moments`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from coordd.records.moments import EARLIEST, LATEST, moment_of
from coordd.sinks.redis.commands import Sample

KEEP = 4096
KEEP_BYTES = 3 * 1024 * 1024
_TEN_SECONDS = 18
"""Characters of a moment up to its tens of seconds; records that are not kept are counted by them."""


class TopicQueue:
    """Queue the records of ``topic`` in the order of writing.

    Args:
        keep: how many records are kept at most; older ones are only counted.
        keep_bytes: how many bytes of them are kept at most.
    """

    def __init__(self, topic: str, *, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self.topic = topic
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._recent: deque[Sample] = deque()
        self._bytes = 0
        self._in_flight: list[Sample] = []
        self._missing_since: bytes | None = None
        self._counts: dict[bytes, int] = {}
        self._reading_since: bytes | None = None
        self._read_counts: dict[bytes, int] = {}

    @property
    def waiting(self) -> int:
        """Return how many records are known to be missing in Redis."""
        counted = sum(self._counts.values()) + sum(self._read_counts.values())
        return len(self._recent) + len(self._in_flight) + counted

    @property
    def behind(self) -> bool:
        """Return whether older records may be missing in Redis and have to be read from the files first."""
        return self._missing_since is not None

    @property
    def empty(self) -> bool:
        """Return whether everything is in Redis."""
        return (
            not self._recent
            and not self._in_flight
            and self._missing_since is None
            and self._reading_since is None
        )

    def put(self, records: Sequence[Sample]) -> None:
        """Add records that were just written to the record files."""
        for record in records:
            self._recent.append(record)
            self._bytes += len(record.value)
        while self._recent and (len(self._recent) > self._keep or self._bytes > self._keep_bytes):
            self._count_only(self._pop())

    def drop(self, places: Collection[tuple[bytes, bytes | None]]) -> None:
        """Forget the kept records that would go to one of these keys and fields."""
        kept = [one for one in self._recent if (one.key, one.field) not in places]
        self._bytes -= sum(len(one.value) for one in self._recent) - sum(len(one.value) for one in kept)
        self._recent = deque(kept)

    def take(self, *, count: int, size: int) -> list[Sample]:
        """Return the oldest kept records, in flight now: at most ``count``, and ``size`` bytes (or one)."""
        while self._recent and len(self._in_flight) < count:
            size -= len(self._recent[0].value)
            if size < 0 and self._in_flight:
                break
            self._in_flight.append(self._pop())
        return self._in_flight

    def done(self) -> None:
        """Record that what is in flight is in Redis."""
        self._in_flight = []

    def back(self) -> None:
        """Put what is in flight back in front: it is not in Redis, or that is unknown."""
        self._recent.extendleft(reversed(self._in_flight))
        self._bytes += sum(len(one.value) for one in self._in_flight)
        self._in_flight = []
        self.put(())

    def missing_since(self, moment: bytes) -> None:
        """Record that anything written from ``moment`` on may be missing in Redis."""
        self._missing_since = moment if self._missing_since is None else min(self._missing_since, moment)

    def begin_reading(self) -> bytes:
        """Begin to read the record files; return the moment to read from."""
        self._reading_since, self._missing_since = self._missing_since or EARLIEST, None
        self._read_counts, self._counts = self._counts, {}
        return self._reading_since

    def end_reading(self, *, whole: bool) -> None:
        """End the reading: ``whole`` if all of it is in Redis, else it is missing again."""
        since, self._reading_since = self._reading_since, None
        counts, self._read_counts = self._read_counts, {}
        if since is not None and not whole:
            self.missing_since(since)
            for prefix, count in counts.items():
                self._counts[prefix] = self._counts.get(prefix, 0) + count

    def age(self, horizon: bytes) -> int:
        """Stop counting records from before ``horizon``; return how many those were.

        They are still read back from the files: their times may be wrong, because the clock was.
        """
        forgotten = 0
        while self._recent and (moment := _moment(self._recent[0])) < horizon:
            self._pop()
            self.missing_since(moment)
            forgotten += 1
        for counts in (self._counts, self._read_counts):
            for prefix in [prefix for prefix in counts if prefix < horizon[:_TEN_SECONDS]]:
                forgotten += counts.pop(prefix)
        return forgotten

    def oldest(self) -> bytes:
        """Return the earliest moment from which something may be missing in Redis; LATEST if nothing is."""
        moments = [_moment(record) for record in (*self._in_flight, *self._recent)]
        moments += [moment for moment in (self._missing_since, self._reading_since) if moment is not None]
        return min(moments, default=LATEST)

    def _pop(self) -> Sample:
        record = self._recent.popleft()
        self._bytes -= len(record.value)
        return record

    def _count_only(self, record: Sample) -> None:
        moment = _moment(record)
        self.missing_since(moment)
        prefix = moment[:_TEN_SECONDS]
        self._counts[prefix] = self._counts.get(prefix, 0) + 1


def _moment(record: Sample) -> bytes:
    return moment_of(record.value) or EARLIEST
