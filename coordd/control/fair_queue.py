"""Queue items so that users take turns, and so do the processes of each: a busy one delays only itself."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, TypeVar

PeerKey = tuple[int | None, int | None]
"""A uid and a process id, as the kernel tells them."""

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Queue items by user and process."""

    def __init__(self) -> None:
        self._users: OrderedDict[int | None, OrderedDict[int | None, deque[T]]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, peer: PeerKey, item: T) -> None:
        """Add an item behind those of the same process."""
        processes = self._users.setdefault(peer[0], OrderedDict())
        processes.setdefault(peer[1], deque()).append(item)
        self._size += 1

    def take(self, may: Callable[[PeerKey], bool] | None = None) -> T | None:
        """Remove and return the item whose turn it is, of a process that ``may``; None if there is none."""
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

    def give_up(self, newcomer: PeerKey) -> T | None:
        """Remove and return the newest item of the longest queue, if 2 longer than the newcomer's."""
        lengths = [(len(queue), (uid, pid)) for uid, ps in self._users.items() for pid, queue in ps.items()]
        if not lengths:
            return None
        most, peer = max(lengths, key=lambda one: one[0])
        own = len(self._queue_of(newcomer))
        return self._pop(*peer, newest=True) if most > own + 1 else None

    def discard(self, peer: PeerKey, item: T) -> None:
        """Remove an item, if it is still queued."""
        queue = self._queue_of(peer)
        if item in queue:
            queue.remove(item)
            self._size -= 1
            self._tidy(*peer)

    def _queue_of(self, peer: PeerKey) -> deque[T]:
        processes = self._users.get(peer[0])
        found = None if processes is None else processes.get(peer[1])
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
