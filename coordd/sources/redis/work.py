"""Keep what is known of tasks in Redis: claims, progress, and what is available. Pure values that change.

A task may be claimed under either of two keys; it is claimed as long as one of them exists. A set, a sorted
set and any number of lists offer tasks; a task in several of them is one task. A claim keeps a task from
being available unless it has been released (coordd/tasks/claim_state.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from coordd.agents.traces import Claim, Progress
from coordd.sources.bounds import Budget, weight
from coordd.sources.redis.parse import merge_both
from coordd.tasks.claim_state import is_released

_STEADY = 2.0  # seconds by which an expiry computed from a TTL may vary


class Claims:
    """Keep both claims of each task; ``merged`` maps each task to the one claim that they make."""

    def __init__(self, *, limit: int, text: Budget) -> None:
        self.merged: dict[str, Claim] = {}
        self._text = text
        self.truncated = False
        self._limit = limit
        self._both: dict[str, tuple[Claim | None, Claim | None]] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._reading = 0

    def begin(self) -> None:
        """Begin a full reading."""
        self._reading += 1
        self.truncated = False

    def end(self) -> None:
        """End a full reading: remove the claims that it did not find."""
        reading = self._reading
        for slot in (0, 1):
            for task in [task for task, seen in self._seen.items() if seen[slot] != reading]:
                self.put(slot, task, None)

    def put(self, slot: int, task: str, claim: Claim | None, expires_at: float | None = None) -> bool:
        """Set one of a task's two claims, None if its key is missing; return whether the merged one changed.

        Args:
            slot: which of the two keys, 0 or 1.
            task: its id.
            claim: what the key says.
            expires_at: when the key expires, epoch seconds, None if it does not. The claim ends then, or at
                the written time if that is later: agents renew one or the other.
        """
        first, second = self._both.get(task, (None, None))
        old = second if slot else first
        if claim is not None and expires_at is not None:
            claim = _ending(claim, expires_at, None if old is None else old.expires_at)
        if claim is not None:
            if old is None and (first, second) == (None, None) and len(self._both) >= self._limit:
                self.truncated = True
                return False
            seen = self._seen.get(task, (0, 0))
            self._seen[task] = (seen[0], self._reading) if slot else (self._reading, seen[1])
        if claim == old:
            return False
        self._text.give(weight(old))
        if claim is not None and not self._text.take(weight(claim)):
            self.truncated = True
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

    def leaves_free(self, task: str) -> bool:
        """Return whether no claim keeps the task from being available."""
        claim = self.merged.get(task)
        return claim is None or is_released(claim.status)


def _ending(claim: Claim, expires_at: float, before: float | None) -> Claim:
    """Return the claim with its end: the later of the written time and that at which its key expires.

    The latter wavers, since it is worked out from the time left; ``before`` is the end as it was.
    """
    written = claim.expires_at
    if written is not None and written >= expires_at:
        return claim
    if before is not None and abs(before - expires_at) < _STEADY and before >= (written or before):
        expires_at = before
    return replace(claim, expires_at=expires_at)


class TaskProgress:
    """Keep the progress of each task, in ``by_task``."""

    def __init__(self, *, limit: int, text: Budget) -> None:
        self.by_task: dict[str, Progress] = {}
        self._text = text
        self.truncated = False
        self._limit = limit
        self._seen: dict[str, int] = {}
        self._reading = 0

    def begin(self) -> None:
        """Begin a full reading."""
        self._reading += 1
        self.truncated = False

    def end(self) -> None:
        """End a full reading: remove the progress that it did not find."""
        for task in [task for task, seen in self._seen.items() if seen != self._reading]:
            self.put(task, None)

    def put(self, task: str, progress: Progress | None) -> bool:
        """Set a task's progress, None if there is none; return whether it changed."""
        old = self.by_task.get(task)
        if progress is not None and old is None and len(self.by_task) >= self._limit:
            self.truncated = True
            return False
        if progress is not None and progress == old:
            self._seen[task] = self._reading
            return False
        self._text.give(weight(old))
        if progress is not None and not self._text.take(weight(progress)):
            self.truncated = True
            progress = None
        if progress is None:
            self._seen.pop(task, None)
            return self.by_task.pop(task, None) is not None
        self._seen[task] = self._reading
        self.by_task[task] = progress
        return True


class Available:
    """Keep the tasks that each source offers, by its key, and how many further ones it has."""

    def __init__(self) -> None:
        self._named: dict[bytes, tuple[str, ...]] = {}
        self._unnamed: dict[bytes, int] = {}
        self._offers: dict[str, int] = {}

    @property
    def unnamed(self) -> int:
        """The number of available tasks whose ids are not kept."""
        return sum(self._unnamed.values())

    def sources(self) -> Iterator[bytes]:
        """Return the keys that offer tasks."""
        return iter(self._named)

    def named_by(self, key: bytes) -> int:
        """Return how many task ids of this source are kept."""
        return len(self._named.get(key, ()))

    def is_full(self, key: bytes, limit: int) -> bool:
        """Return whether there are so many sources already that this one does not fit."""
        return key not in self._named and len(self._named) >= limit

    @property
    def named(self) -> int:
        """The number of task ids kept, of all sources together."""
        return sum(map(len, self._named.values()))

    def offered(self, task: str) -> bool:
        """Return whether some source offers the task."""
        return task in self._offers

    def put(self, key: bytes, named: tuple[str, ...], unnamed: int) -> set[str]:
        """Set what a source offers; return the tasks that became available or ceased to be."""
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
        """Forget all sources but these; return the tasks that are no longer offered."""
        touched: set[str] = set()
        for key in self._named.keys() - set(keys):
            touched |= self.put(key, (), 0)
        return touched

    def free(self, claims: Claims) -> tuple[str, ...]:
        """Return all tasks that are offered and not claimed, sorted."""
        return tuple(sorted(task for task in self._offers if claims.leaves_free(task)))
