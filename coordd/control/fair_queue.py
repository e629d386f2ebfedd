"""A queue that users take turns in, and of each user its processes: who brings much holds up itself alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

Who = tuple[int | None, int | None]
"""A uid and a process id, by the kernel's word."""

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items, each of a process of a user."""

    def __init__(self) -> None:
        self._users: OrderedDict[int | None, OrderedDict[int | None, deque[T]]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, who: Who, item: T) -> None:
        """Queue an item behind what this process has queued."""
        processes = self._users.setdefault(who[0], OrderedDict())
        processes.setdefault(who[1], deque()).append(item)
        self._size += 1

    def take(self, may: Callable[[Who], bool] | None = None) -> T | None:
        """The item whose turn it is, of a process that ``may``; None when there is none."""
        for uid, processes in self._users.items():
            for pid in processes:
                if may is None or may((uid, pid)):
                    item = self._pop(uid, pid, newest=False)
                    if uid in self._users:
                        self._users.move_to_end(uid)
                    if pid in processes:
                        processes.move_to_end(pid)
                    return item
        return None

    def give_up(self, newcomer: Who) -> T | None:
        """The newest item of the process that has most, if that leaves it more than the newcomer has."""
        whos = [(len(queue), (uid, pid)) for uid, ps in self._users.items() for pid, queue in ps.items()]
        if not whos:
            return None
        most, who = max(whos, key=lambda one: one[0])
        own = len(self._queue_of(newcomer))
        return self._pop(*who, newest=True) if most > own + 1 else None

    def discard(self, who: Who, item: T) -> None:
        """Take an item out, if it is still there."""
        queue = self._queue_of(who)
        if item in queue:
            queue.remove(item)
            self._size -= 1
            self._tidy(*who)

    def _queue_of(self, who: Who) -> deque[T]:
        processes = self._users.get(who[0])
        found = None if processes is None else processes.get(who[1])
        return deque() if found is None else found

    def _pop(self, uid: int | None, pid: int | None, *, newest: bool) -> T:
        queue = self._users[uid][pid]
        item = queue.pop() if newest else queue.popleft()
        self._size -= 1
        self._tidy(uid, pid)
        return item

    def _tidy(self, uid: int | None, pid: int | None) -> None:
        if not self._users[uid][pid]:
            del self._users[uid][pid]
            if not self._users[uid]:
                del self._users[uid]
