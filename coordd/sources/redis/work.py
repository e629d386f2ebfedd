"""What is known of tasks in Redis: claims, progress, and what is available. Pure values that change.

A task may be claimed under either of two keys; a claim is there as long as one of them is. What is available
comes from a set, a sorted set and any number of lists; a task that is in several is one task. A task with a
claim that counts is not available (coordd/tasks/claim_state.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from coordd.agents.traces import Claim, Progress
from coordd.sources.bounds import Budget, weight
from coordd.sources.redis.parse import merge_both
from coordd.tasks.claim_state import is_released

_STEADY = 2.0  # seconds by which an end of time that is worked out from a TTL may waver


class Claims:
    """Both claims of each task, and in ``merged`` what they come to."""

    def __init__(self, *, limit: int, text: Budget) -> None:
        self.merged: dict[str, Claim] = {}
        self._text = text
        self.overfull = False
        self._limit = limit
        self._both: dict[str, tuple[Claim | None, Claim | None]] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._reading = 0

    def begin(self) -> None:
        """A full reading begins."""
        self._reading += 1
        self.overfull = False

    def end(self) -> None:
        """It has ended: what it did not find is no more."""
        reading = self._reading
        for slot in (0, 1):
            for task in [task for task, seen in self._seen.items() if seen[slot] != reading]:
                self.put(slot, task, None)

    def put(self, slot: int, task: str, claim: Claim | None, expires_at: float | None = None) -> bool:
        """One of a task's two keys says this, None where it is not there; whether the claim is another now.

        Args:
            slot: which of the keys.
            task: its id.
            claim: what it says.
            expires_at: when the key goes by itself, epoch seconds; counts if the claim has no such time.
        """
        first, second = self._both.get(task, (None, None))
        old = second if slot else first
        if claim is not None and claim.expires_at is None and expires_at is not None:
            if old is not None and old.expires_at is not None and abs(old.expires_at - expires_at) < _STEADY:
                expires_at = old.expires_at
            claim = replace(claim, expires_at=expires_at)
        if claim is not None:
            if old is None and (first, second) == (None, None) and len(self._both) >= self._limit:
                self.overfull = True
                return False
            seen = self._seen.get(task, (0, 0))
            self._seen[task] = (seen[0], self._reading) if slot else (self._reading, seen[1])
        if claim == old:
            return False
        self._text.give(weight(old))
        if claim is not None and not self._text.take(weight(claim)):
            self.overfull = True
            claim = None
            if old is None:
                if (first, second) == (None, None):
                    del self._seen[task]
                return False
        first, second = both = (first, claim) if slot else (claim, second)
        merged = merge_both(first, second)
        if merged is None:
            del self._both[task], self._seen[task], self.merged[task]
            return True
        self._both[task] = both
        changed = self.merged.get(task) != merged
        if changed:
            self.merged[task] = merged
        return changed

    def frees(self, task: str) -> bool:
        """Whether no claim that counts keeps the task from being available."""
        claim = self.merged.get(task)
        return claim is None or is_released(claim.status)


class ProgressTold:
    """The progress of each task, in ``told``."""

    def __init__(self, *, limit: int, text: Budget) -> None:
        self.told: dict[str, Progress] = {}
        self._text = text
        self.overfull = False
        self._limit = limit
        self._seen: dict[str, int] = {}
        self._reading = 0

    def begin(self) -> None:
        """A full reading begins."""
        self._reading += 1
        self.overfull = False

    def end(self) -> None:
        """It has ended: what it did not find is no more."""
        for task in [task for task, seen in self._seen.items() if seen != self._reading]:
            self.put(task, None)

    def put(self, task: str, progress: Progress | None) -> bool:
        """What is told of a task, None for nothing; whether that is another thing now."""
        old = self.told.get(task)
        if progress is not None and old is None and len(self.told) >= self._limit:
            self.overfull = True
            return False
        if progress is not None and progress == old:
            self._seen[task] = self._reading
            return False
        self._text.give(weight(old))
        if progress is not None and not self._text.take(weight(progress)):
            self.overfull = True
            progress = None
        if progress is None:
            self._seen.pop(task, None)
            return self.told.pop(task, None) is not None
        self._seen[task] = self._reading
        self.told[task] = progress
        return True


class Available:
    """The tasks that each source offers, by its key, and how many more there are than it names."""

    def __init__(self) -> None:
        self._named: dict[bytes, tuple[str, ...]] = {}
        self._unnamed: dict[bytes, int] = {}
        self._offers: dict[str, int] = {}

    @property
    def unnamed(self) -> int:
        """How many tasks more there are than are named."""
        return sum(self._unnamed.values())

    def sources(self) -> Iterator[bytes]:
        """The keys that offer something."""
        return iter(self._named)

    def named_by(self, key: bytes) -> int:
        """How many tasks this source names."""
        return len(self._named.get(key, ()))

    def crowded(self, key: bytes, limit: int) -> bool:
        """Whether there are so many sources already that this one finds no place."""
        return key not in self._named and len(self._named) >= limit

    @property
    def named(self) -> int:
        """How many names all sources together take."""
        return sum(map(len, self._named.values()))

    def offered(self, task: str) -> bool:
        """Whether some source names the task."""
        return task in self._offers

    def put(self, key: bytes, named: tuple[str, ...], unnamed: int) -> set[str]:
        """A source offers this now; the tasks that are offered no longer, or were not before."""
        before, now = set(self._named.pop(key, ())), set(named)
        self._unnamed.pop(key, None)
        if named or unnamed:
            self._named[key], self._unnamed[key] = named, unnamed
        touched = set()
        for task in now - before:
            count = self._offers.get(task, 0)
            self._offers[task] = count + 1
            if not count:
                touched.add(task)
        for task in before - now:
            count = self._offers.pop(task)
            if count > 1:
                self._offers[task] = count - 1
            else:
                touched.add(task)
        return touched

    def keep(self, keys: Iterable[bytes]) -> set[str]:
        """No other sources than these are there any more; the tasks that are gone with them."""
        touched: set[str] = set()
        for key in self._named.keys() - set(keys):
            touched |= self.put(key, (), 0)
        return touched

    def free(self, claims: Claims) -> tuple[str, ...]:
        """All tasks that are named and free, sorted."""
        return tuple(sorted(task for task in self._offers if claims.frees(task)))
