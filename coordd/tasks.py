"""Who holds what: claims, progress and available tasks of all sources, judged at the moment of reading.

A change marks what it touches; :meth:`Board.settle` then judges that, and what time alone has changed since
(deadlines), so that a question costs only what is new. Time is passed in; no clock is read and nothing is
opened here.

What an agent's progress is: a change of a claim it holds, of the progress told of one of its tasks, or of its
list of tasks. An agent that lives, holds a task and has made none for ``stall_after`` is stalled; time in
which its source could not be read, or coordd did not run, does not count. What was found at the start is as
old as it says itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from coordd.claims import Hold, claim_state, is_over, next_change
from coordd.clocks import Moment
from coordd.deadlines import Deadlines
from coordd.doubles import Doubles
from coordd.model import ClaimState, Status, TaskCounts
from coordd.reducer import FUTURE, Key
from coordd.rooms import Hand, Held, Room
from coordd.state import Picture
from coordd.traces import Claim, WorkChange, WorkspaceTraces

MAX_NEWS = 1000
"""So much news is kept for whoever asks next; more is counted only."""
CLOCK_STEP = 0.05
"""Seconds by which the two clocks must part for claims to be held against the new time."""

Place = tuple[str, str]
"""Workspace ("": none) and the id of a task or an agent."""


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
        self.orphans: set[Place] = set()
        self.stalled: set[Place] = set()
        self.version = 0
        self._picture = picture
        self._counts: dict[ClaimState, int] = {"held": 0, "expired": 0, "orphaned": 0}
        self._news: list[News] = []
        self._missed_news = 0
        self._touched: set[Key] = set()
        self._claims_due: set[Place] = set()
        self._hands_due: set[Place] = set()
        self._deadlines: Deadlines[tuple[str, str, str]] = Deadlines(wanted=self._lives)
        self._offset: float | None = None
        self._lively: frozenset[Key] | None = None
        self._doubles = Doubles(self.rooms)

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
        self._take(path, room, room.compare(traces), now, fresh=fresh)
        room.prune(self._observed(path, now.mono) - self.stall_after)
        # Whether they can be told may be another matter than before.
        self._claims_due.update((path, task) for task in room.claims)
        self._hands_due.update((path, agent_id) for agent_id in room.hands)

    def take(self, path: str, change: WorkChange, now: Moment) -> None:
        """Take over a partial reading of a workspace that was read in full before."""
        room = self.rooms.get(path)
        if room is not None and change:
            room.offer(change)
            self._take(path, room, change, now, fresh=False)

    def lost(self, path: str) -> None:
        """The workspace cannot be read: its tasks are unknown."""
        room = self.rooms.get(path)
        if room is not None:
            room.forget()
            self._hands_due.update((path, agent_id) for agent_id in room.hands)
            self.version += 1

    def drop(self, path: str) -> None:
        """The workspace is no longer one of ours."""
        room = self.rooms.pop(path, None)
        for task, held in room.claims.items() if room else ():
            if task in self._doubles.claims:
                self._undouble(task)
            self._counts[held.state] -= 1
            self._recount_double(task)
        self.orphans = {place for place in self.orphans if place[0] != path}
        self.stalled = {place for place in self.stalled if place[0] != path}
        self.version += 1

    def rejudge_all(self) -> None:
        """Judge everything anew, for a clock or a limit is another one."""
        for path, room in self.rooms.items():
            self._claims_due.update((path, task) for task in room.claims)
            self._hands_due.update((path, agent_id) for agent_id in room.hands)

    def settle(self, now: Moment) -> None:
        """Bring everything up to this moment."""
        self._picture.expire(now.mono)
        offset = now.wall - now.mono
        if self._offset is None or abs(offset - self._offset) > CLOCK_STEP:
            self._offset = offset
            self.rejudge_all()
        for kind, path, name in self._deadlines.take(now.mono):
            (self._claims_due if kind == "claim" else self._hands_due).add((path, name))
        touched, self._touched = self._touched, set()
        for key in touched:
            self._agent_changed(key, now)
        claims, self._claims_due = self._claims_due, set()
        for path, task in claims:
            self._judge_claim(path, task, now)
        hands, self._hands_due = self._hands_due, set()
        for path, agent_id in hands:
            self._judge_hand(path, agent_id, now)

    def next_deadline(self) -> float | None:
        """Monotonic time of the next possible change; may be too early, never too late after a settling."""
        return self._deadlines.first()

    @property
    def has_news(self) -> bool:
        """Whether :meth:`take_news` has something."""
        return bool(self._news)

    def take_news(self) -> tuple[list[News], int]:
        """What happened since it was last asked, and how much more was not kept."""
        news, missed = self._news, self._missed_news
        self._news, self._missed_news = [], 0
        return news, missed

    def counts(self, now: Moment) -> TaskCounts:
        """How many there are; None where some workspace does not tell, and where there is none at all."""
        self.settle(now)
        rooms = [self.rooms.get(path) for path in self._picture.workspaces]
        if not rooms:
            return TaskCounts()
        claims = all(room is not None and room.knows_claims for room in rooms)
        available = all(room is not None and room.knows_available for room in rooms)
        offered = sum(len(self.available(path)) for path in self.rooms) if available else 0
        return TaskCounts(
            available=offered + sum(room.unnamed for room in rooms if room) if available else None,
            claimed=sum(self._counts.values()) if claims else None,
            expired=self._counts["expired"] if claims else None,
            orphaned=self._counts["orphaned"] if claims else None,
        )

    def available(self, path: str) -> list[str]:
        """The available tasks of a source, sorted, without those that another one shows (doubles.py)."""
        return self._doubles.available(path, self.version)

    def is_double(self, path: str, task: str) -> bool:
        """Whether this claim in Redis is the one that a workspace has as well, and is shown there."""
        return not path and task in self._doubles.claims

    def knows(self, place: Place) -> bool:
        """Whether it can be told what this agent holds, and whether it makes progress."""
        rooms = [self.rooms.get(path) for path in self._sources(place)]
        return all(room is not None and room.knows_claims and room.knows_progress for room in rooms)

    def knows_claims(self, place: Place) -> bool:
        """Whether it can be told what this agent claims."""
        rooms = [self.rooms.get(path) for path in self._sources(place)]
        return all(room is not None and room.knows_claims for room in rooms)

    def holdings(self, place: Place) -> tuple[str, ...]:
        """The tasks that an agent claims or lists as its own, sorted."""
        return tuple(sorted({task for _, hand in self.hands(place) for task in hand.holds()}))

    def idle(self, place: Place, now: Moment) -> float:
        """Seconds since the last progress of an agent that holds something."""
        return min(self.rooms[path].idle(hand, self._judged(path, now)) for path, hand in self.hands(place))

    def hands(self, place: Place) -> list[tuple[str, Hand]]:
        """What the agent that is shown at this place holds, in each source where it holds something."""
        agent_id = place[1]
        return [
            (path, room.hands[agent_id])
            for path, room in self.rooms.items()
            if agent_id in room.hands and self._place(path, agent_id) == place
        ]

    def holder(self, path: str, agent_id: str | None) -> Status | None:
        """The verdict on an agent that a claim in this source names; None where it left no trace."""
        if agent_id is None:
            return None
        return self._picture.status_of(self._picture.resolve(path, agent_id))

    def _sources(self, place: Place) -> set[str]:
        return {place[0], *self._picture.sources_of((place[0] or None, place[1]))}

    def _place(self, path: str, agent_id: str) -> Place:
        key = self._picture.resolve(path, agent_id)
        return (key[0] or "", key[1])

    def _take(self, path: str, room: Room, change: WorkChange, now: Moment, *, fresh: bool) -> None:
        observed = self._observed(path, now.mono)
        self.version += 1
        for task, claim in change.claims.items():
            counting = None if claim is None or is_over(claim.status) else claim
            held = room.claims.get(task)
            if held is not None and (counting is None or held.claim.agent_id != counting.agent_id):
                self._let_go(path, room, task, observed)
                held = None
            if counting is None:
                continue
            at = _written(counting.claimed_at, now.wall, observed) if fresh else observed
            if held is None:
                self._hold(path, room, counting, at)
            else:
                held.claim, held.since = counting, observed
            room.moved[task] = at
            self._claims_due.add((path, task))
        for task, written in room.tell_progress(change.progress):
            at = _written(written, now.wall, observed) if fresh else observed
            room.moved[task] = max(at, room.moved.get(task, at))
        self._hands_due.update((path, place[1]) for place in self.stalled if place[1] in room.hands)

    def _hold(self, path: str, room: Room, claim: Claim, at: float) -> None:
        room.claims[claim.task] = Held(claim, since=at)
        self._counts["held"] += 1
        if claim.agent_id is not None:
            hand = room.hand(claim.agent_id)
            hand.claims.add(claim.task)
            hand.status = self.holder(path, claim.agent_id)
            self._hands_due.add((path, claim.agent_id))
        self._recount_double(claim.task)
        if self._lively is None and claim.task not in self._doubles.claims:
            self._tell(News("task.claimed", path or None, claim.task, claim.agent_id))

    def _let_go(self, path: str, room: Room, task: str, observed: float) -> None:
        double = task in self._doubles.claims
        if double:
            self._undouble(task)
        held = room.claims.pop(task)
        self._counts[held.state] -= 1
        self.orphans.discard((path, task))
        room.moved[task] = observed
        if held.claim.agent_id is not None:
            hand = room.hand(held.claim.agent_id)
            hand.claims.discard(task)
            hand.moved = observed
            self._hands_due.add((path, held.claim.agent_id))
        self._recount_double(task)
        if not double:
            self._tell(News("task.released", path or None, task, held.claim.agent_id))

    def _recount_double(self, task: str) -> None:
        """See whether the claim of this task in Redis is one that a workspace has as well: it counts once."""
        double = self._doubles.is_one(task)
        if double == (task in self._doubles.claims):
            return
        if not double:
            self._undouble(task)
            return
        self._doubles.claims.add(task)
        self._counts[self.rooms[""].claims[task].state] -= 1
        self.orphans.discard(("", task))
        self.version += 1

    def _undouble(self, task: str) -> None:
        self._doubles.claims.discard(task)
        state = self.rooms[""].claims[task].state
        self._counts[state] += 1
        if state == "orphaned":
            self.orphans.add(("", task))
        self.version += 1

    def _agent_changed(self, key: Key, now: Moment) -> None:
        agent_id = key[1]
        if self._picture.status_of(key) is None:
            self.stalled.discard((key[0] or "", agent_id))
        # What Redis has of a workspace's agent is its own, too; and an agent of Redis alone may be the one
        # that a claim in any workspace names.
        for path in dict.fromkeys([key[0], ""] if key[0] else ["", *self.rooms]):
            agent = self._picture.get((path or None, agent_id))
            tasks = agent.traces.tasks if agent and agent.traces else None if agent else ()
            room = self.rooms.get(path)
            if room is None:
                if not tasks or path not in self._picture.workspaces:
                    continue
                room = self.rooms[path] = Room()
            if not tasks and agent_id not in room.hands:
                continue
            hand, observed = room.hand(agent_id), self._observed(path, now.mono)
            status = self.holder(path, agent_id)
            if status == "active" and hand.status == "inactive":
                hand.moved = observed  # whoever comes back gets its time anew
            if tasks is not None and tasks != hand.tasks:
                if self._lively is None and (hand.tasks is not None or tasks):
                    hand.moved = observed
                hand.tasks = tasks
            hand.status = status
            self._claims_due.update((path, task) for task in hand.claims)
            self._hands_due.add((path, agent_id))

    def _judge_claim(self, path: str, task: str, now: Moment) -> None:
        room = self.rooms.get(path)
        held = room.claims.get(task) if room and room.knows_claims else None
        if held is None:
            return
        hold = self._evidence(path, held, now)
        wait = next_change(hold)
        if wait is not None:
            self._deadlines.put(("claim", path, task), now.mono + wait)
        state = claim_state(hold)
        if state == held.state:
            return
        if self.is_double(path, task):
            held.state = state
            return
        self._counts[held.state] -= 1
        self._counts[state] += 1
        held.state = state
        self.version += 1
        self.orphans.discard((path, task))
        if state == "orphaned":
            self.orphans.add((path, task))
            agent_id = held.claim.agent_id
            if self._lively is None or (path or None, agent_id) in self._lively:
                self._tell(News("claim.orphaned", path or None, task, agent_id, hold.holder))

    def _evidence(self, path: str, held: Held, now: Moment) -> Hold:
        claim, timeout = held.claim, self._picture.timeout
        observed = self._judged(path, now)
        holder = self.holder(path, claim.agent_id)
        if holder == "inactive":
            held.since = observed - timeout  # should it leave, it has long been silent
        elif holder is None and held.holder is not None and held.holder != "inactive":
            held.since = observed  # it has just left
        if holder != held.holder:
            held.holder = holder
            self.version += 1
        absent = None
        if holder is None and claim.agent_id is not None:
            absent = max(0.0, observed - held.since)
        left = None if claim.expires_at is None else claim.expires_at - now.wall
        return Hold(holder, absent, left, timeout)

    def _judge_hand(self, path: str, agent_id: str, now: Moment) -> None:
        place = self._place(path, agent_id)
        if place != (path, agent_id):
            self.stalled.discard((path, agent_id))
        hands = []
        for where, hand in self.hands(place):
            if hand.holds():
                hands.append((where, hand))
            else:
                del self.rooms[where].hands[agent_id]
        stalled = False
        if hands and hands[0][1].status == "active" and self.knows(place):
            idle = self.idle(place, now)
            stalled = idle >= self.stall_after
            if not stalled:
                self._deadlines.put(("hand", hands[0][0], agent_id), now.mono + self.stall_after - idle)
            elif place not in self.stalled and self._lively is None:
                held = self.holdings(place)
                news = News("agent.stalled", place[0] or None, agent_id, tasks=held, idle=round(idle, 3))
                self._tell(news)
        if stalled != (place in self.stalled):
            self.version += 1
            (self.stalled.add if stalled else self.stalled.discard)(place)

    def _lives(self, item: tuple[str, str, str]) -> bool:
        room = self.rooms.get(item[1])
        return room is not None and item[2] in (room.claims if item[0] == "claim" else room.hands)

    def _observed(self, path: str, mono: float) -> float:
        return self._picture.workspaces[path].clock.now(mono)

    def _judged(self, path: str, now: Moment) -> float:
        return self._observed(path, self._picture.horizon(now.mono))

    def _tell(self, news: News) -> None:
        if len(self._news) < MAX_NEWS:
            self._news.append(news)
        else:
            self._missed_news += 1


def _written(written: float | None, wall: float, observed: float) -> float:
    """A written time on the source's clock; one that is not known or lies ahead is now."""
    if written is None or written > wall + FUTURE:
        return observed
    return observed - max(0.0, wall - written)
