"""What of one topic is not in Redis yet. Pure: no clock, no Redis, no file.

The most recent records that wait are kept; of older ones only the earliest moment and how many they are:
they are read back from the record files, from that moment on. Moments are bytes that order like time
(:mod:`coordd.records.moments`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from coordd.records.moments import EARLIEST, LATEST, moment_of

KEEP = 4096
KEEP_BYTES = 3 * 1024 * 1024
_TENS = 18
"""Characters of a moment up to its tens of seconds: by these, records that are not kept are counted."""


class TopicQueue:
    """The records of ``topic`` that wait, in the order of writing.

    Args:
        keep: how many are kept at the most; beyond that the oldest is only counted.
        keep_bytes: and how many bytes of them.
    """

    def __init__(self, topic: str, *, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self.topic = topic
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._recent: deque[bytes] = deque()
        self._bytes = 0
        self._hand: list[bytes] = []
        self._behind: bytes | None = None
        self._counts: dict[bytes, int] = {}
        self._reading: bytes | None = None
        self._read_counts: dict[bytes, int] = {}

    @property
    def waiting(self) -> int:
        """How many records are known to wait."""
        counted = sum(self._counts.values()) + sum(self._read_counts.values())
        return len(self._recent) + len(self._hand) + counted

    @property
    def behind(self) -> bool:
        """Whether the record files must be read before what is kept may be written."""
        return self._behind is not None

    @property
    def empty(self) -> bool:
        """Whether everything is in Redis."""
        return not self._recent and not self._hand and self._behind is None and self._reading is None

    def put(self, records: Sequence[bytes]) -> None:
        """Records that were just written to the record files."""
        for record in records:
            self._recent.append(record)
            self._bytes += len(record)
        while self._recent and (len(self._recent) > self._keep or self._bytes > self._keep_bytes):
            self._let_go(self._pop())

    def take(self, *, count: int, size: int) -> list[bytes]:
        """The oldest of what is kept, at most so many and (but for the first) so many bytes; now in hand."""
        while self._recent and len(self._hand) < count:
            size -= len(self._recent[0])
            if size < 0 and self._hand:
                break
            self._hand.append(self._pop())
        return self._hand

    def done(self) -> None:
        """What is in hand is in Redis."""
        self._hand = []

    def back(self) -> None:
        """What is in hand is not in Redis, or nobody knows: it waits in front again."""
        self._recent.extendleft(reversed(self._hand))
        self._bytes += sum(map(len, self._hand))
        self._hand = []
        self.put(())

    def missing_since(self, moment: bytes) -> None:
        """Whatever was written from ``moment`` on may be missing in Redis."""
        self._behind = moment if self._behind is None else min(self._behind, moment)

    def begin_reading(self) -> bytes:
        """Everything in the record files is about to be read; returns from which moment on."""
        self._reading, self._behind = self._behind or EARLIEST, None
        self._read_counts, self._counts = self._counts, {}
        return self._reading

    def end_reading(self, *, whole: bool) -> None:
        """It was read and is in Redis, or was given up."""
        since, self._reading = self._reading, None
        counts, self._read_counts = self._read_counts, {}
        if since is not None and not whole:
            self.missing_since(since)
            for tens, count in counts.items():
                self._counts[tens] = self._counts.get(tens, 0) + count

    def age(self, horizon: bytes) -> int:
        """Count what is from before ``horizon`` no more; returns how many records that were.

        Where the clock was set wrong for a while they are read back all the same.
        """
        forgotten = 0
        while self._recent and (moment := _moment(self._recent[0])) < horizon:
            self._pop()
            self.missing_since(moment)
            forgotten += 1
        for counts in (self._counts, self._read_counts):
            for tens in [tens for tens in counts if tens < horizon[:_TENS]]:
                forgotten += counts.pop(tens)
        return forgotten

    def oldest(self) -> bytes:
        """The earliest moment from which on something may be missing in Redis; LATEST: nothing is."""
        moments = [_moment(record) for record in (*self._hand, *self._recent)]
        moments += [moment for moment in (self._behind, self._reading) if moment is not None]
        return min(moments, default=LATEST)

    def _pop(self) -> bytes:
        record = self._recent.popleft()
        self._bytes -= len(record)
        return record

    def _let_go(self, record: bytes) -> None:
        moment = _moment(record)
        self.missing_since(moment)
        tens = moment[:_TENS]
        self._counts[tens] = self._counts.get(tens, 0) + 1


def _moment(record: bytes) -> bytes:
    return moment_of(record) or EARLIEST
