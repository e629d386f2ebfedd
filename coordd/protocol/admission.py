"""Who may come in to a server, and who gives way to whom. Pure: it knows neither sockets nor loops.

The rules of the control socket, and alike of the dashboard. Places are counted by user and by process, or by
address, whatever is known of a client: whoever holds most gives way first, so that one of them cannot keep
the others out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

MOST = 1024
KEPT = 4
"""Places that only root and the daemon's own user may take."""
GRACE = 0.25
"""Seconds for which a newcomer may be silent before it counts as one who brings no request."""


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

    def __len__(self) -> int:
        return len(self._guests)

    def guests(self) -> list[G]:
        """All of them, in the order in which they came."""
        return list(self._guests)

    def enter(self, guest: G) -> None:
        """Count a newcomer."""
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
        guests = self._those_who_may_give_way(newcomer)
        largest = max(self._users.values(), default=0)
        incomplete, idle, young = [], [], []
        for guest in guests:
            if guest.subscribed or not guest.waits:
                continue
            if not guest.incomplete:
                idle.append(guest)
            elif now - guest.since < self._grace and (
                guest.silent or self._users[guest.caller.user] < largest
            ):
                young.append(guest)
            else:
                incomplete.append(guest)
        for those in (incomplete, idle, young):
            if those:
                return min(those, key=self._share)
        # Those who are left are being answered, or subscribed.
        greedy = self._greedy(newcomer, self._users, self._whos, self.limit)
        return next((guest for guest in reversed(guests) if greedy(guest) and not guest.subscribed), None)

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
        """Whose subscription ends for that of another process; None unless one has more than half of all."""
        guests = list(self._subscribers)
        users: Counter[object] = Counter(guest.caller.user for guest in guests)
        whos: Counter[object] = Counter(guest.caller.who for guest in guests)
        greedy = self._greedy(newcomer, users, whos, self.subscribers_limit)
        return next(
            (one for one in reversed(guests) if greedy(one) and newcomer.privileged >= one.caller.privileged),
            None,
        )

    def _full_of_subscribers(self, newcomer: Caller) -> bool:
        privileged = sum(guest.caller.privileged for guest in self._subscribers)
        return self._taken(newcomer, len(self._subscribers), privileged) >= self.subscribers_limit

    def _taken(self, newcomer: Caller, taken: int, privileged: int) -> int:
        """Places that this one cannot have: to strangers, those kept for root and the own user too."""
        if newcomer.privileged:
            return taken
        return taken + max(0, self._kept - privileged)

    def _those_who_may_give_way(self, newcomer: Caller) -> list[G]:
        """No stranger takes one of the places that are kept."""
        if newcomer.privileged or self._privileged > self._kept:
            return list(self._guests)
        return [guest for guest in self._guests if not guest.caller.privileged]

    def _greedy(
        self, newcomer: Caller, users: Counter[object], whos: Counter[object], places: int
    ) -> Callable[[G], bool]:
        """Tells those of another user, or of another process, that has more than half of the places."""

        def greedy(guest: G) -> bool:
            user, who = guest.caller.user, guest.caller.who
            other_user = user != newcomer.user and users[user] * 2 > places
            return other_user or (who != newcomer.who and whos[who] * 2 > places)

        return greedy

    def _share(self, guest: G) -> tuple[int, int, float]:
        """Sorts those first whose user, and whose process, hold most; then the longest waiting."""
        return -self._users[guest.caller.user], -self._whos[guest.caller.who], guest.since

    def _count(self, caller: Caller, by: int) -> None:
        self._privileged += by if caller.privileged else 0
        for counter, key in ((self._users, caller.user), (self._whos, caller.who)):
            counter[key] += by
            if not counter[key]:
                del counter[key]


def allowed_connections() -> int:
    """At most :data:`MOST`, and half of the descriptors that this process may have; it needs some itself."""
    try:
        import resource

        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except (ImportError, OSError, ValueError):
        return 128
    return MOST if soft == resource.RLIM_INFINITY else max(8, min(MOST, soft // 2))
