"""Decide which connections a server admits, and which it drops for a newcomer. Pure: no sockets.

The control socket and the dashboard both use it. Connections are counted by user and by process (or by
address, whatever is known of a client), and those of the one with most are dropped first, so that no single
client can keep the others out. When the server is full, the first of these is dropped for a newcomer::

    1. one without a whole request: none was ever made, or one has begun and not ended
    2. one that is idle: it waits for its client
    3. one that would be in 1, but is younger than GRACE and not of the user with most connections
    4. one of another user or process with more than half of all connections, even while it is answered

Subscribers are never dropped for a newcomer's connection, only for a newcomer's subscription.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

MOST = 1024
RESERVED = 4
"""Connections that are reserved for root and the daemon's own user."""
GRACE = 0.25
"""Seconds for which a newcomer may be silent before it counts as having no request."""


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

    def __len__(self) -> int:
        return len(self._connections)

    def connections(self) -> list[C]:
        """Return all connections, in the order in which they came."""
        return list(self._connections)

    def add(self, connection: C) -> None:
        """Count a new connection."""
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
        connections = self._droppable(newcomer)
        largest = max(self._users.values(), default=0)
        incomplete, idle, young = [], [], []
        for connection in connections:
            if connection.subscribed or not connection.waits:
                continue
            if not connection.incomplete:
                idle.append(connection)
            elif now - connection.since < self._grace and (
                connection.silent or self._users[connection.caller.user] < largest
            ):
                young.append(connection)
            else:
                incomplete.append(connection)
        for candidates in (incomplete, idle, young):
            if candidates:
                return min(candidates, key=self._share)
        # The rest are being answered, or subscribed.
        greedy = self._greedy(newcomer, self._users, self._processes, self.limit)
        return next(
            (
                connection
                for connection in reversed(connections)
                if greedy(connection) and not connection.subscribed
            ),
            None,
        )

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
        """Return the subscriber to drop for another process; None unless one process has more than half."""
        connections = list(self._subscribers)
        users: Counter[object] = Counter(connection.caller.user for connection in connections)
        processes: Counter[object] = Counter(connection.caller.key for connection in connections)
        greedy = self._greedy(newcomer, users, processes, self.subscribers_limit)
        return next(
            (
                one
                for one in reversed(connections)
                if greedy(one) and newcomer.privileged >= one.caller.privileged
            ),
            None,
        )

    def _full_of_subscribers(self, newcomer: Caller) -> bool:
        privileged = sum(connection.caller.privileged for connection in self._subscribers)
        return self._taken(newcomer, len(self._subscribers), privileged) >= self.subscribers_limit

    def _taken(self, newcomer: Caller, taken: int, privileged: int) -> int:
        """Return how many connections this client cannot have: those in use and those reserved for others."""
        if newcomer.privileged:
            return taken
        return taken + max(0, self._reserved - privileged)

    def _droppable(self, newcomer: Caller) -> list[C]:
        """Return the connections that may be dropped; for the privileged also the reserved ones."""
        if newcomer.privileged or self._privileged > self._reserved:
            return list(self._connections)
        return [connection for connection in self._connections if not connection.caller.privileged]

    def _greedy(
        self, newcomer: Caller, users: Counter[object], processes: Counter[object], limit: int
    ) -> Callable[[C], bool]:
        """Return a test for connections of another user or process that has more than half of ``limit``."""

        def greedy(connection: C) -> bool:
            user, process = connection.caller.user, connection.caller.key
            other_user = user != newcomer.user and users[user] * 2 > limit
            return other_user or (process != newcomer.key and processes[process] * 2 > limit)

        return greedy

    def _share(self, connection: C) -> tuple[int, int, float]:
        """Return a sort key: first those of the user and process with most, then the longest waiting."""
        return -self._users[connection.caller.user], -self._processes[connection.caller.key], connection.since

    def _count(self, caller: Caller, by: int) -> None:
        self._privileged += by if caller.privileged else 0
        for counter, key in ((self._users, caller.user), (self._processes, caller.key)):
            counter[key] += by
            if not counter[key]:
                del counter[key]


def allowed_connections() -> int:
    """Return how many connections to allow: half of this process's descriptors, at most :data:`MOST`."""
    try:
        import resource

        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, OSError, ValueError):
        return 128
    return MOST if soft == resource.RLIM_INFINITY else max(8, min(MOST, soft // 2))
