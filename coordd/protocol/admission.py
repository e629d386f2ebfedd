"""Who may come in to a server, and who gives way to whom. Pure: it knows neither sockets nor loops.

The rules of the control socket, and alike of the dashboard. Places are counted by user and by process, or by
address, whatever is known of a client: whoever holds most gives way first, so that one of them cannot keep
the others out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from heapq import nsmallest
from typing import Generic, NamedTuple, Protocol, TypeVar

MOST = 1024
KEPT = 4
"""Places that only root and the daemon's own user may take."""
GRACE = 0.25
"""Seconds for which a newcomer may be silent before it counts as one who brings no request."""
LITTLE = 4
"""Who holds a fourth of what another user, or process, does holds little: in a rush of theirs its bytes wait
in the kernel, and that its request is not whole is no reason to send it away before them."""
REUSED = 0.02
"""Seconds for which an order in which guests give way is good: in a rush, many newcomers come in one turn."""


class Caller(NamedTuple):
    """Who is at the other end: a user and one of its processes, or an address and None."""

    user: object
    process: object
    privileged: bool = False
    """Whether places are kept for it."""

    @property
    def who(self) -> tuple[object, object]:
        """User and process."""
        return self.user, self.process


class Guest(Protocol):
    """What is asked of a connection.

    ``since`` is when its last whole request came, or when it, or its half request, began. ``silent``: not a
    byte ever came. ``incomplete``: no request is whole, or one has begun and not ended. ``waits``: nothing
    is being done for it; it is for its client to speak, or to read.
    """

    caller: Caller
    since: float
    silent: bool
    subscribed: bool

    @property
    def incomplete(self) -> bool: ...  # noqa: D102

    @property
    def waits(self) -> bool: ...  # noqa: D102


G = TypeVar("G", bound=Guest)


class Doors(Generic[G]):
    """All connections of a server. ``limit``: at once; ``kept``: of them, for the privileged alone."""

    def __init__(self, *, limit: int, kept: int = 0, grace: float = GRACE) -> None:
        self.limit = limit
        self.subscribers_limit = max(1, limit // 2)
        self._kept = min(kept, limit // 4)
        self._grace = grace
        self._guests: dict[G, None] = {}
        self._subscribers: dict[G, None] = {}
        self._users: Counter[object] = Counter()
        self._whos: Counter[object] = Counter()
        self._privileged = 0
        self._order: deque[tuple[G, float]] = deque()
        self._young: deque[tuple[G, float]] = deque()
        self._ordered_at = 0.0
        self._of_everybody = False
        self._barren = False

    def __len__(self) -> int:
        return len(self._guests)

    def guests(self) -> list[G]:
        """All of them, in the order in which they came."""
        return list(self._guests)

    def enter(self, guest: G) -> None:
        """Count a newcomer."""
        self._barren = False
        self._guests[guest] = None
        self._count(guest.caller, 1)

    def leave(self, guest: G) -> None:
        """Count it no more; again does nothing."""
        if guest in self._guests:
            del self._guests[guest]
            self._subscribers.pop(guest, None)
            self._count(guest.caller, -1)

    def full(self, newcomer: Caller) -> bool:
        """Whether somebody has to give way before this one can come in."""
        return self._taken(newcomer, len(self._guests), self._privileged) >= self.limit

    def gives_way(self, newcomer: Caller, now: float) -> G | None:
        """Whose place a newcomer takes; None when it has to be refused."""
        everybody = newcomer.privileged or self._privileged > self._kept
        if everybody != self._of_everybody or not 0 <= now - self._ordered_at < REUSED:
            self._of_everybody = everybody
            self._forget_order()
        guest = self._first(self._order)
        if guest is None and not self._barren:
            self._look(now)
            guest = self._first(self._order)
        if guest is not None:
            return guest
        # Those who are left are being answered, or subscribed, or have hardly come.
        greedy = self._greedy(newcomer, self._users, self._whos, self.limit)
        if greedy is not None:
            for guest in reversed(self._guests):
                if not guest.subscribed and greedy(guest) and (everybody or not guest.caller.privileged):
                    return guest
        guest = self._first(self._young)
        if guest is not None and self._holds(guest.caller) < self._holds(newcomer):
            self._young.appendleft((guest, guest.since))  # who has most does not push out who has less
            return None
        return guest

    def _first(self, order: deque[tuple[G, float]]) -> G | None:
        """The next that still gives way; what has spoken or was answered meanwhile is another matter."""
        while order:
            guest, since = order.popleft()
            if guest in self._guests and guest.since == since and self._gives(guest):
                return guest
        return None

    def _forget_order(self) -> None:
        self._order.clear()
        self._young.clear()
        self._barren = False

    def _look(self, now: float) -> None:
        """Find the first of those who give way: a few, for who holds most changes with them."""
        most_of_user = max(self._users.values(), default=0)
        most_of_who = max(self._whos.values(), default=0)
        incomplete, idle, young = [], [], []
        for guest in self._guests:
            if not self._gives(guest):
                continue
            caller = guest.caller
            if not guest.incomplete:
                idle.append(guest)
            elif (
                self._users[caller.user] * LITTLE <= most_of_user
                or self._whos[caller.who] * LITTLE <= most_of_who
                or (
                    now - guest.since < self._grace
                    and (guest.silent or self._users[caller.user] < most_of_user)
                )
            ):
                young.append(guest)
            else:
                incomplete.append(guest)
        few = max(1, self.limit // 64)
        self._order.extend((one, one.since) for one in nsmallest(few, incomplete or idle, key=self._share))
        self._young = deque((one, one.since) for one in nsmallest(few, young, key=self._share))
        self._ordered_at = now
        self._barren = not self._order  # and so until somebody comes, or for a while

    def _holds(self, caller: Caller) -> tuple[int, int]:
        return self._users[caller.user], self._whos[caller.who]

    def _gives(self, guest: G) -> bool:
        """Whether nothing is being done for it, or to come for it, and its place is not one that is kept."""
        return guest.waits and not guest.subscribed and (self._of_everybody or not guest.caller.privileged)

    def subscribe(self, guest: G) -> bool:
        """Count a subscriber, if there is room for one; whether there was."""
        if guest not in self._subscribers:
            if self._full_of_subscribers(guest.caller):
                return False
            self._subscribers[guest] = None
        return True

    def unsubscribe(self, guest: G) -> None:
        """Count it as a subscriber no more."""
        self._subscribers.pop(guest, None)

    def gives_up(self, newcomer: Caller) -> G | None:
        """Whose subscription ends for that of another process; None unless one has too large a share."""
        users: Counter[object] = Counter(guest.caller.user for guest in self._subscribers)
        whos: Counter[object] = Counter(guest.caller.who for guest in self._subscribers)
        greedy = self._greedy(newcomer, users, whos, self.subscribers_limit)
        if greedy is None:
            return None
        found = (one for one in reversed(self._subscribers) if newcomer.privileged >= one.caller.privileged)
        return next((one for one in found if greedy(one)), None)

    def _full_of_subscribers(self, newcomer: Caller) -> bool:
        privileged = sum(guest.caller.privileged for guest in self._subscribers)
        return self._taken(newcomer, len(self._subscribers), privileged) >= self.subscribers_limit

    def _taken(self, newcomer: Caller, taken: int, privileged: int) -> int:
        """Places that this one cannot have: to strangers, those kept for root and the own user too."""
        if newcomer.privileged:
            return taken
        return taken + max(0, self._kept - privileged)

    @staticmethod
    def _greedy(
        newcomer: Caller, users: Counter[object], whos: Counter[object], places: int
    ) -> Callable[[G], bool] | None:
        """Tells those of another user, or of another process, that has more than half of the places, or more
        than an equal share of them while the newcomer's has less; None where there is none."""
        large_users = _large(users, newcomer.user, places)
        large_whos = _large(whos, newcomer.who, places)
        if not large_users and not large_whos:
            return None
        return lambda guest: guest.caller.user in large_users or guest.caller.who in large_whos

    def _share(self, guest: G) -> tuple[int, int, float]:
        """Sorts those first whose user, and whose process, hold most; then the longest waiting."""
        return -self._users[guest.caller.user], -self._whos[guest.caller.who], guest.since

    def _count(self, caller: Caller, by: int) -> None:
        self._privileged += by if caller.privileged else 0
        for counter, key in ((self._users, caller.user), (self._whos, caller.who)):
            counter[key] += by
            if not counter[key]:
                del counter[key]


def _large(counted: Counter[object], newcomer: object, places: int) -> frozenset[object]:
    """Those with more than all would have if each had as many, or half of all if the newcomer has that."""
    share = places / (len(counted) + (newcomer not in counted))
    if counted[newcomer] + 1 > share:
        share = places / 2
    return frozenset(one for one, count in counted.items() if count > share and one != newcomer)


def allowed_connections() -> int:
    """At most :data:`MOST`, and half of the descriptors that this process may have; it needs some itself."""
    try:
        import resource

        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, OSError, ValueError):
        return 128
    return MOST if soft == resource.RLIM_INFINITY else max(8, min(MOST, soft // 2))
