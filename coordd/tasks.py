"""Who holds what: claims, progress and available tasks of all workspaces, judged at the moment of reading.

A change marks what it touches; :meth:`Board.settle` then judges that, and what time alone has changed since
(a heap of deadlines), so that a question costs only what is new. Time is passed in; no clock is read and
nothing is opened here.

What an agent's progress is: a change of a claim it holds, of the progress told of one of its tasks, or of its
list of tasks. An agent that lives, holds a task and has made none for ``stall_after`` is stalled; time in
which its source could not be read, or coordd did not run, does not count. What was found at the start is as
old as it says itself.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from coordd.claims import Hold, claim_state, is_over, next_change
from coordd.clocks import Moment
from coordd.model import ClaimState, Status, TaskCounts
from coordd.reducer import FUTURE, Key
from coordd.state import Picture
from coordd.traces import Claim, Progress, WorkChange, WorkspaceTraces

T = TypeVar("T")

MAX_NEWS = 1000
"""So much news is kept for whoever asks next; more is counted only."""
CLOCK_STEP = 0.05
"""Seconds by which the two clocks must part for claims to be held against the new time."""

Place = tuple[str, str]
"""Workspace ("": none) and the id of a task or an agent."""


@dataclass(slots=True)
class Held:
    """A claim that counts. ``since`` is the observed time from which on its holder's absence is counted."""

    claim: Claim
    since: float
    holder: Status | None = None
    state: ClaimState = "held"


@dataclass(slots=True)
class Room:
    """The work of one workspace. What was last known is kept while ``knows_…`` says it is unknown now.

    ``moved`` holds the observed time at which each task's claim or progress last changed.
    """

    claims: dict[str, Held] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    available: list[str] = field(default_factory=list)
    moved: dict[str, float] = field(default_factory=dict)
    knows_claims: bool = False
    knows_progress: bool = False
    knows_available: bool = False


@dataclass(slots=True)
class Hand:
    """What one agent holds; ``tasks`` is its own list, None where it was never read."""

    claims: set[str] = field(default_factory=set)
    tasks: tuple[str, ...] | None = None
    status: Status | None = None
    moved: float | None = None


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened to a task (``subject``) held by ``agent_id``, or to an agent (``subject``)."""

    kind: Literal["task.claimed", "task.released", "claim.orphaned", "agent.stalled"]
    workspace: str | None
    subject: str
    agent_id: str | None = None
    holder: Status | None = None
    tasks: tuple[str, ...] = ()
    idle: float | None = None


class Board:
    """All tasks and claims. ``touched`` is to be told of every agent whose verdict or tasks change."""

    def __init__(self, *, picture: Picture, stall_after: float) -> None:
        self.stall_after = stall_after
        self.rooms: dict[str, Room] = {}
        self.hands: dict[Place, Hand] = {}
        self.orphans: set[Place] = set()
        self.stalled: set[Place] = set()
        self.version = 0
        self.missed_news = 0
        self._picture = picture
        self._counts: dict[ClaimState, int] = {"held": 0, "expired": 0, "orphaned": 0}
        self._news: list[News] = []
        self._touched: set[Key] = set()
        self._claims_due: set[Place] = set()
        self._hands_due: set[Place] = set()
        self._deadlines: list[tuple[float, str, Place]] = []
        self._timed: dict[tuple[str, Place], float] = {}
        self._offset: float | None = None
        self._lively: frozenset[Key] | None = None

    def touched(self, key: Key) -> None:
        """The verdict on this agent or its list of tasks is another one, or it came or went."""
        self._touched.add(key)

    def starting(self, lively: Iterable[Key]) -> None:
        """What is found until :meth:`started` was so before, and is no news.

        But for claims whose holder the last run knew as not inactive (``lively``) and that is so now.
        """
        self._lively = frozenset(lively)

    def started(self) -> None:
        """From now on everything is news."""
        self._lively = None

    def take_all(self, path: str, traces: WorkspaceTraces, now: Moment, *, fresh: bool) -> None:
        """Take over a full reading. ``fresh``: nobody was listening before, so written times count."""
        room = self.rooms.setdefault(path, Room())
        room.knows_claims = traces.claims is not None
        room.knows_progress = traces.progress is not None
        room.knows_available = traces.tasks_available is not None
        counting = {t: c for t, c in (traces.claims or {}).items() if not is_over(c.status)}
        before = {task: held.claim for task, held in room.claims.items()}
        change = WorkChange(
            _difference(before, counting) if room.knows_claims else {},
            _difference(room.progress, traces.progress) if traces.progress is not None else {},
        )
        room.available = list(traces.tasks_available or ())
        self._take(path, room, change, now, fresh=fresh)
        self._claims_due.update((path, task) for task in room.claims)
        self._prune(room, self._observed(path, now.mono) - self.stall_after)

    def take(self, path: str, change: WorkChange, now: Moment) -> None:
        """Take over a partial reading of a workspace that was read in full before."""
        room = self.rooms.get(path)
        if room is not None and change:
            for task, there in change.available.items():
                index = bisect_left(room.available, task)
                if (room.available[index : index + 1] == [task]) is not there:
                    insort(room.available, task) if there else room.available.pop(index)
            self._take(path, room, change, now, fresh=False)

    def lost(self, path: str) -> None:
        """The workspace cannot be read: its tasks are unknown."""
        room = self.rooms.get(path)
        if room is not None:
            room.knows_claims = room.knows_progress = room.knows_available = False
            self._hands_due.update(place for place in self.stalled if place[0] == path)
            self.version += 1

    def drop(self, path: str) -> None:
        """The workspace is no longer one of ours."""
        room = self.rooms.pop(path, None)
        for task, held in room.claims.items() if room else ():
            self._counts[held.state] -= 1
            self.orphans.discard((path, task))
        for place in [place for place in self.hands if place[0] == path]:
            del self.hands[place]
            self.stalled.discard(place)
        self.version += 1

    def rejudge_all(self) -> None:
        """Judge everything anew, for a clock or a limit is another one."""
        self._claims_due.update((path, task) for path, room in self.rooms.items() for task in room.claims)
        self._hands_due.update(self.hands)

    def settle(self, now: Moment) -> None:
        """Bring everything up to this moment."""
        self._picture.expire(now.mono)
        offset = now.wall - now.mono
        if self._offset is None or abs(offset - self._offset) > CLOCK_STEP:
            self._offset = offset
            self.rejudge_all()
        while self._deadlines and self._deadlines[0][0] <= now.mono:
            due, kind, place = heapq.heappop(self._deadlines)
            if self._timed.get((kind, place)) == due:
                del self._timed[(kind, place)]
                (self._claims_due if kind == "claim" else self._hands_due).add(place)
        touched, self._touched = self._touched, set()
        for key in touched:
            self._agent_changed(key, now)
        claims, self._claims_due = self._claims_due, set()
        for place in claims:
            self._judge_claim(place, now)
        hands, self._hands_due = self._hands_due, set()
        for place in hands:
            self._judge_hand(place, now)

    def next_deadline(self) -> float | None:
        """Monotonic time of the next possible change; may be too early, never too late after a settling."""
        return self._deadlines[0][0] if self._deadlines else None

    @property
    def has_news(self) -> bool:
        """Whether :meth:`take_news` has something."""
        return bool(self._news)

    def take_news(self) -> tuple[list[News], int]:
        """What happened since it was last asked, and how much more was not kept."""
        news, self._news = self._news, []
        missed, self.missed_news = self.missed_news, 0
        return news, missed

    def counts(self, now: Moment) -> TaskCounts:
        """How many there are; None where some workspace does not tell, and where there is none at all."""
        self.settle(now)
        rooms = [self.rooms.get(path) for path in self._picture.workspaces]
        if not rooms:
            return TaskCounts()
        claims = all(room is not None and room.knows_claims for room in rooms)
        available = all(room is not None and room.knows_available for room in rooms)
        return TaskCounts(
            available=sum(len(room.available) for room in rooms if room) if available else None,
            claimed=sum(self._counts.values()) if claims else None,
            expired=self._counts["expired"] if claims else None,
            orphaned=self._counts["orphaned"] if claims else None,
        )

    def knows(self, place: Place) -> bool:
        """Whether it can be told what this agent holds, and whether it makes progress."""
        room = self.rooms.get(place[0])
        return room is not None and room.knows_claims and room.knows_progress

    def idle(self, place: Place, now: Moment) -> float:
        """Seconds since the last progress of an agent that holds something."""
        observed = self._observed(place[0], now.mono)
        room, hand = self.rooms.get(place[0]) or Room(), self.hands[place]
        times = [room.moved[task] for task in self.holdings(place) if task in room.moved]
        if hand.moved is not None:
            times.append(hand.moved)
        if not times:
            hand.moved = observed
            return 0.0
        return max(0.0, observed - max(times))

    def holdings(self, place: Place) -> tuple[str, ...]:
        """The tasks that an agent claims or lists as its own, sorted."""
        hand = self.hands.get(place)
        return tuple(sorted(hand.claims.union(hand.tasks or ()))) if hand else ()

    def holder(self, path: str, agent_id: str | None) -> Status | None:
        """The verdict on an agent that a claim in this workspace names; None where it left no trace."""
        if agent_id is None:
            return None
        status = self._picture.status_of((path or None, agent_id))
        return status or self._picture.status_of((None, agent_id))

    def _take(self, path: str, room: Room, change: WorkChange, now: Moment, *, fresh: bool) -> None:
        observed = self._observed(path, now.mono)
        self.version += 1
        for task, claim in change.claims.items():
            counts = claim is not None and not is_over(claim.status)
            held = room.claims.get(task)
            if held is not None and (not counts or held.claim.agent_id != claim.agent_id):  # type: ignore[union-attr]
                self._let_go(path, room, task, observed)
                held = None
            if claim is None or not counts:
                continue
            at = _written(claim.claimed_at, now.wall, observed) if fresh else observed
            if held is None:
                self._hold(path, room, claim, at)
            else:
                held.claim, held.since = claim, observed
            room.moved[task] = at
            self._claims_due.add((path, task))
        for task, progress in change.progress.items():
            at = observed
            if progress == room.progress.get(task):
                continue
            if progress is None:
                del room.progress[task]
            else:
                room.progress[task] = progress
                at = _written(progress.timestamp, now.wall, observed) if fresh else observed
            room.moved[task] = max(at, room.moved.get(task, at))
        self._hands_due.update(place for place in self.stalled if place[0] == path)

    def _hold(self, path: str, room: Room, claim: Claim, at: float) -> None:
        room.claims[claim.task] = Held(claim, since=at)
        self._counts["held"] += 1
        if claim.agent_id is not None:
            place = (path, claim.agent_id)
            hand = self.hands.get(place)
            if hand is None:
                hand = self.hands[place] = Hand(status=self.holder(path, claim.agent_id))
            hand.claims.add(claim.task)
            self._hands_due.add(place)
        if self._lively is None:
            self._tell(News("task.claimed", path or None, claim.task, claim.agent_id))

    def _let_go(self, path: str, room: Room, task: str, observed: float) -> None:
        held = room.claims.pop(task)
        self._counts[held.state] -= 1
        self.orphans.discard((path, task))
        room.moved[task] = observed
        if held.claim.agent_id is not None:
            place = (path, held.claim.agent_id)
            hand = self.hands[place]
            hand.claims.discard(task)
            hand.moved = observed
            self._hands_due.add(place)
        self._tell(News("task.released", path or None, task, held.claim.agent_id))

    def _agent_changed(self, key: Key, now: Moment) -> None:
        # An agent of Redis alone may be the one that a claim in any workspace names.
        places = [(key[0], key[1])] if key[0] else [(path, key[1]) for path in ("", *self.rooms)]
        for path, agent_id in places:
            place = (path, agent_id)
            agent = self._picture.get((path or None, agent_id))
            tasks = agent.traces.tasks if agent and agent.traces else None
            hand = self.hands.get(place)
            if hand is None:
                if not tasks:
                    continue
                hand = self.hands[place] = Hand(status=self.holder(path, agent_id))
            observed = self._observed(path, now.mono)
            status = self.holder(path, agent_id)
            if status == "active" and hand.status == "inactive":
                hand.moved = observed  # whoever comes back gets its time anew
            if agent is None:
                tasks = ()
            if tasks is not None and tasks != hand.tasks:
                if self._lively is None:
                    hand.moved = observed
                hand.tasks = tasks
            hand.status = status
            self._claims_due.update((path, task) for task in hand.claims)
            self._hands_due.add(place)

    def _judge_claim(self, place: Place, now: Moment) -> None:
        path, task = place
        room = self.rooms.get(path)
        held = room.claims.get(task) if room and room.knows_claims else None
        if held is None:
            return
        hold = self._evidence(path, held, now)
        wait = next_change(hold)
        if wait is not None:
            self._await("claim", place, now.mono + max(wait, 0.001))
        state = claim_state(hold)
        if state == held.state:
            return
        self._counts[held.state] -= 1
        self._counts[state] += 1
        held.state = state
        self.version += 1
        self.orphans.discard(place)
        if state == "orphaned":
            self.orphans.add(place)
            agent_id = held.claim.agent_id
            if self._lively is None or (path or None, agent_id) in self._lively:
                self._tell(News("claim.orphaned", path or None, task, agent_id, hold.holder))

    def _evidence(self, path: str, held: Held, now: Moment) -> Hold:
        claim, timeout = held.claim, self._picture.timeout
        observed = self._observed(path, self._picture.horizon(now.mono))
        holder = self.holder(path, claim.agent_id)
        if holder == "inactive":
            held.since = observed - timeout  # should it leave, it has long been silent
        elif holder is None and held.holder in ("active", "unknown"):
            held.since = observed  # it has just left
        if holder != held.holder:
            held.holder = holder
            self.version += 1
        absent = None
        if holder is None and claim.agent_id is not None:
            absent = max(0.0, observed - held.since)
        left = None if claim.expires_at is None else claim.expires_at - now.wall
        return Hold(holder, absent, left, timeout)

    def _judge_hand(self, place: Place, now: Moment) -> None:
        hand = self.hands.get(place)
        if hand is not None and not hand.claims and not hand.tasks:
            del self.hands[place]
            hand = None
        stalled = False
        if hand is not None and self.holder(*place) == "active" and self.knows(place):
            at = Moment(now.wall, self._picture.horizon(now.mono))
            idle = self.idle(place, at)
            stalled = idle >= self.stall_after
            if not stalled:
                self._await("hand", place, now.mono + max(self.stall_after - idle, 0.001))
            elif place not in self.stalled and self._lively is None:
                self._tell(
                    News(
                        "agent.stalled",
                        place[0] or None,
                        place[1],
                        tasks=self.holdings(place)[:10],
                        idle=round(idle, 3),
                    )
                )
        if stalled != (place in self.stalled):
            self.version += 1
            (self.stalled.add if stalled else self.stalled.discard)(place)

    def _await(self, kind: str, place: Place, due: float) -> None:
        known = self._timed.get((kind, place))
        if known is not None and known <= due:
            return
        self._timed[(kind, place)] = due
        heapq.heappush(self._deadlines, (due, kind, place))
        if len(self._deadlines) > 100 + 4 * (sum(self._counts.values()) + len(self.hands)):
            self._sweep()

    def _sweep(self) -> None:
        """Take from the heap what is gone: a claim for a year may be given back within a minute."""
        self._timed = {
            (kind, place): due
            for (kind, place), due in self._timed.items()
            if (place in self.hands if kind == "hand" else self._is_claim(place))
        }
        self._deadlines = [(due, kind, place) for (kind, place), due in self._timed.items()]
        heapq.heapify(self._deadlines)

    def _is_claim(self, place: Place) -> bool:
        room = self.rooms.get(place[0])
        return room is not None and place[1] in room.claims

    def _prune(self, room: Room, before: float) -> None:
        gone = [
            task
            for task, moved in room.moved.items()
            if moved < before and task not in room.claims and task not in room.progress
        ]
        for task in gone:
            del room.moved[task]

    def _observed(self, path: str, mono: float) -> float:
        return self._picture.workspaces[path].clock.now(mono)

    def _tell(self, news: News) -> None:
        if len(self._news) < MAX_NEWS:
            self._news.append(news)
        else:
            self.missed_news += 1


def _difference(before: Mapping[str, T], now: Mapping[str, T]) -> dict[str, T | None]:
    changed: dict[str, T | None] = {task: value for task, value in now.items() if before.get(task) != value}
    changed.update((task, None) for task in before.keys() - now.keys())
    return changed


def _written(written: float | None, wall: float, observed: float) -> float:
    """A written time on the source's clock; one that is not known or lies ahead is now."""
    if written is None or written > wall + FUTURE:
        return observed
    return observed - max(0.0, wall - written)
