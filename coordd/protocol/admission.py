"""Decide which connections a server admits, and which it drops for a newcomer. Pure: no sockets.

The control socket and the dashboard both use it. Connections are counted by user and by process (or by
address, whatever is known of a client), and those of the one with most are dropped first, so that no single
client can keep the others out. When the server is full, the first of these is dropped for a newcomer::

    1. one without a whole request: none was ever made, or one has begun and not ended
    2. one that is idle: it waits for its client
    3. one of another user or process with more than an equal share of all connections, while the newcomer's
       has less, or with more than half; even while it is answered
    4. one that would be in 1, but is of a user or process with few connections (LITTLE), or younger than
       GRACE; never for a newcomer whose user or process holds more

Subscribers are never dropped for a newcomer's connection, only for a newcomer's subscription.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from heapq import nsmallest
from typing import Generic, NamedTuple, Protocol, TypeVar

from coordd.util.descriptors import shares

MOST = 1024
RESERVED = 4
"""Connections that are reserved for root and the daemon's own user."""
GRACE = 0.25
"""Seconds for which a newcomer may be silent before it counts as having no request."""
LITTLE = 4
"""A user or process with at most one in so many of another's connections has few. While the other rushes in,
its bytes wait in the kernel: that its request is not whole is no reason to drop it before the other's."""
REUSED = 0.02
"""Seconds for which an order of connections to drop is used again: a rush brings many newcomers at once."""


class Caller(NamedTuple):
    """The client of a connection: a user and one of its processes, or an address and None."""

    user: object
    process: object
    privileged: bool = False
    """Whether reserved connections are for it."""

    @property
    def key(self) -> tuple[object, object]:
        """Return user and process, by which connections are counted."""
        return self.user, self.process


class Connection(Protocol):
    """What a connection tells about itself.

    ``since`` is when its last whole request came, or when it, or its unfinished request, began. ``silent``:
    no byte ever came. ``incomplete``: no request is whole, or one has begun and not ended. ``waits``: the
    server does nothing for it, and waits for its client to send or to read.
    """

    caller: Caller
    since: float
    silent: bool
    subscribed: bool

    @property
    def incomplete(self) -> bool: ...  # noqa: D102

    @property
    def waits(self) -> bool: ...  # noqa: D102


C = TypeVar("C", bound=Connection)


class Admission(Generic[C]):
    """Count the connections of a server, and choose which to drop.

    ``limit`` is how many there may be at once, ``reserved`` how many of them only the privileged may have.
    """

    def __init__(self, *, limit: int, reserved: int = 0, grace: float = GRACE) -> None:
        self.limit = limit
        self.subscribers_limit = max(1, limit // 2)
        self._reserved = min(reserved, limit // 4)
        self._grace = grace
        self._connections: dict[C, None] = {}
        self._subscribers: dict[C, None] = {}
        self._users: Counter[object] = Counter()
        self._processes: Counter[object] = Counter()
        self._privileged = 0
        self._order: deque[tuple[C, float]] = deque()
        self._young: deque[tuple[C, float]] = deque()
        self._ordered_at = 0.0
        self._of_everybody = False
        self._barren = False

    def __len__(self) -> int:
        return len(self._connections)

    def connections(self) -> list[C]:
        """Return all connections, in the order in which they came."""
        return list(self._connections)

    def add(self, connection: C) -> None:
        """Count a new connection."""
        self._barren = False
        self._connections[connection] = None
        self._count(connection.caller, 1)

    def remove(self, connection: C) -> None:
        """Stop counting a connection; harmless when it is not counted."""
        if connection in self._connections:
            del self._connections[connection]
            self._subscribers.pop(connection, None)
            self._count(connection.caller, -1)

    def full(self, newcomer: Caller) -> bool:
        """Return whether a connection must be dropped before this client can have one."""
        return self._taken(newcomer, len(self._connections), self._privileged) >= self.limit

    def connection_to_drop(self, newcomer: Caller, now: float) -> C | None:
        """Return the connection to drop for a newcomer; None when the newcomer has to be refused."""
        everybody = newcomer.privileged or self._privileged > self._reserved
        if everybody != self._of_everybody or not 0 <= now - self._ordered_at < REUSED:
            self._of_everybody = everybody
            self._forget_order()
        connection = self._first(self._order)
        if connection is None and not self._barren:
            self._find_order(now)
            connection = self._first(self._order)
        if connection is not None:
            return connection
        # The rest are being answered, or subscribed, or have hardly come.
        greedy = self._greedy(newcomer, self._users, self._processes, self.limit)
        if greedy is not None:
            for connection in reversed(self._connections):
                may_go = everybody or not connection.caller.privileged
                if not connection.subscribed and greedy(connection) and may_go:
                    return connection
        connection = self._first(self._young)
        if connection is not None and self._held_by(connection.caller) < self._held_by(newcomer):
            self._young.appendleft((connection, connection.since))  # who has most drops nobody who has less
            return None
        return connection

    def subscribe(self, connection: C) -> bool:
        """Count a subscriber if there is room for one; return whether there was."""
        if connection not in self._subscribers:
            if self._full_of_subscribers(connection.caller):
                return False
            self._subscribers[connection] = None
        return True

    def unsubscribe(self, connection: C) -> None:
        """Stop counting a connection as a subscriber."""
        self._subscribers.pop(connection, None)

    def subscriber_to_drop(self, newcomer: Caller) -> C | None:
        """Return the subscriber to drop for another process; None unless one has too large a share."""
        users: Counter[object] = Counter(one.caller.user for one in self._subscribers)
        processes: Counter[object] = Counter(one.caller.key for one in self._subscribers)
        greedy = self._greedy(newcomer, users, processes, self.subscribers_limit)
        if greedy is None:
            return None
        found = (one for one in reversed(self._subscribers) if newcomer.privileged >= one.caller.privileged)
        return next((one for one in found if greedy(one)), None)

    def _first(self, order: deque[tuple[C, float]]) -> C | None:
        """Take the next connection that still may be dropped: it neither spoke nor was answered meanwhile."""
        while order:
            connection, since = order.popleft()
            if connection in self._connections and connection.since == since and self._droppable(connection):
                return connection
        return None

    def _forget_order(self) -> None:
        self._order.clear()
        self._young.clear()
        self._barren = False

    def _find_order(self, now: float) -> None:
        """Order the first few connections to drop; only a few, for each that goes changes who holds most."""
        most_of_user = max(self._users.values(), default=0)
        most_of_process = max(self._processes.values(), default=0)
        incomplete, idle, young = [], [], []
        for connection in self._connections:
            if not self._droppable(connection):
                continue
            caller = connection.caller
            if not connection.incomplete:
                idle.append(connection)
            elif (
                self._users[caller.user] * LITTLE <= most_of_user
                or self._processes[caller.key] * LITTLE <= most_of_process
                or (
                    now - connection.since < self._grace
                    and (connection.silent or self._users[caller.user] < most_of_user)
                )
            ):
                young.append(connection)
            else:
                incomplete.append(connection)
        few = max(1, self.limit // 64)
        self._order.extend((one, one.since) for one in nsmallest(few, incomplete or idle, key=self._share))
        self._young = deque((one, one.since) for one in nsmallest(few, young, key=self._share))
        self._ordered_at = now
        self._barren = not self._order  # until somebody comes, or for a while

    def _held_by(self, caller: Caller) -> tuple[int, int]:
        return self._users[caller.user], self._processes[caller.key]

    def _droppable(self, connection: C) -> bool:
        """Return whether nothing is done or coming for a connection, and it is not a reserved one."""
        return (
            connection.waits
            and not connection.subscribed
            and (self._of_everybody or not connection.caller.privileged)
        )

    def _full_of_subscribers(self, newcomer: Caller) -> bool:
        privileged = sum(connection.caller.privileged for connection in self._subscribers)
        return self._taken(newcomer, len(self._subscribers), privileged) >= self.subscribers_limit

    def _taken(self, newcomer: Caller, taken: int, privileged: int) -> int:
        """Return how many connections this client cannot have: those in use and those reserved for others."""
        if newcomer.privileged:
            return taken
        return taken + max(0, self._reserved - privileged)

    @staticmethod
    def _greedy(
        newcomer: Caller, users: Counter[object], processes: Counter[object], limit: int
    ) -> Callable[[C], bool] | None:
        """Return a test for connections of another user or process with too many of ``limit``.

        Too many are more than half, or more than an equal share while the newcomer's has less. None where
        nobody has too many.
        """
        large_users = _large(users, newcomer.user, limit)
        large_processes = _large(processes, newcomer.key, limit)
        if not large_users and not large_processes:
            return None
        return lambda one: one.caller.user in large_users or one.caller.key in large_processes

    def _share(self, connection: C) -> tuple[int, int, float]:
        """Return a sort key: first those of the user and process with most, then the longest waiting."""
        return -self._users[connection.caller.user], -self._processes[connection.caller.key], connection.since

    def _count(self, caller: Caller, by: int) -> None:
        self._privileged += by if caller.privileged else 0
        for counter, key in ((self._users, caller.user), (self._processes, caller.key)):
            counter[key] += by
            if not counter[key]:
                del counter[key]


def _large(counted: Counter[object], newcomer: object, limit: int) -> frozenset[object]:
    """Return the users, or processes, that hold more than their share of ``limit``."""
    share = limit / (len(counted) + (newcomer not in counted))
    if counted[newcomer] + 1 > share:
        share = limit / 2
    return frozenset(one for one, count in counted.items() if count > share and one != newcomer)


def allowed_connections() -> int:
    """Return how many connections to allow: their share of the descriptors, at most :data:`MOST`."""
    share = shares().connections
    return MOST if share < 0 else min(MOST, share)
