"""Claims, progress and available tasks of all sources, judged at the moment of reading.

A change marks what it touches; :meth:`Board.settle` then judges that, and what time alone has changed since
(deadlines), so that a question costs only what is new. What each agent holds of it is in hands.py. Time is
passed in; no clock is read and nothing is opened here. What was found at the start is as old as it says
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from coordd.agents.reducer import FUTURE, Key
from coordd.agents.roster import Place
from coordd.agents.store import AgentStore
from coordd.agents.traces import Claim, WorkChange, WorkspaceTraces
from coordd.model import ClaimState, TaskCounts
from coordd.runtime.clocks import Moment
from coordd.runtime.deadlines import Deadlines
from coordd.tasks.claim_state import ClaimEvidence, claim_state, is_over, next_change
from coordd.tasks.duplicates import Duplicates
from coordd.tasks.event_buffer import EventBuffer, TaskEvent
from coordd.tasks.holdings import Holdings
from coordd.tasks.work import HeldClaim, SourceTasks

SLICE = 500
"""Claims taken over, or judged, in one step."""
CLOCK_STEP = 0.05
"""Seconds by which the two clocks must part for claims to be held against the new time."""


class Board:
    """All tasks and claims. ``touched`` is to be told of every agent whose verdict or tasks change."""

    def __init__(self, *, store: AgentStore, stall_after: float) -> None:
        self.rooms: dict[str, SourceTasks] = {}
        self.orphans: set[Place] = set()
        self._version = 0
        self._store = store
        self._counts: dict[ClaimState, int] = {"held": 0, "expired": 0, "orphaned": 0}
        self._news = EventBuffer()
        self._touched: set[Key] = set()
        self._claims_due: set[Place] = set()
        self._deadlines: Deadlines[Place] = Deadlines(wanted=self._lives)
        self._offset: float | None = None
        self._lively: frozenset[Key] = frozenset()
        self._running = True
        self._late: set[str] = set()
        self._duplicates = Duplicates(self.rooms)
        self.hands = Holdings(rooms=self.rooms, store=store, news=self._news, stall_after=stall_after)

    @property
    def version(self) -> int:
        """Another number whenever anything that is shown can be another."""
        return self._version + self.hands.version

    def touched(self, key: Key) -> None:
        """The verdict on this agent or its list of tasks is another one, or it came or went."""
        self._touched.add(key)

    def starting(self, lively: Iterable[Key]) -> None:
        """What is found until :meth:`started` was so before, and is no news.

        But for claims whose holder the last run knew as not inactive (``lively``) and that is so now.
        """
        self._lively = frozenset(lively)
        self._running = self.hands.running = False

    def started(self) -> None:
        """From now on everything is news, but for what a source had that could not be read until now."""
        self._running = self.hands.running = True
        self._late = {
            path for path in self._store.workspaces if not ((room := self.rooms.get(path)) and room.read)
        }

    def take_all(self, path: str, traces: WorkspaceTraces, now: Moment, *, fresh: bool) -> None:
        """Take over a full reading. ``fresh``: nobody was listening before, so written times count."""
        for _ in self.take_in_slices(path, traces, lambda: now, fresh=fresh):
            pass

    def take_in_slices(
        self, path: str, traces: WorkspaceTraces, now: Callable[[], Moment], *, fresh: bool
    ) -> Iterator[None]:
        """The same, some at a time: whoever steps through this may do something else at each step.

        It ends before its time where the workspace is lost or dropped meanwhile.
        """
        room = self.rooms.setdefault(path, SourceTasks())
        told = room.knows
        for change in _slices(room.compare(traces)):
            self._take(path, room, change, now(), fresh=fresh)
            yield
            if room.filling is None or self.rooms.get(path) is not room:
                return
        more = room.filled()
        self._version += 1
        self._late.discard(path)
        room.prune(self._observed(path, now().mono) - self.hands.stall_after)
        if not more and room.knows == told:
            return
        for tasks in _some(room.claims):
            self._claims_due.update((path, task) for task in tasks)
            yield
        for agent_ids in _some(room.hands):
            self.hands.look_at((path, agent_id) for agent_id in agent_ids)
            yield

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
            self.hands.look_at_all(path)
            self._version += 1

    def drop(self, path: str) -> None:
        """The workspace is no longer one of ours."""
        room = self.rooms.pop(path, None)
        for task, held in room.claims.items() if room else ():
            if task in self._duplicates.claims:
                self._undouble(task)
            self._counts[held.state] -= 1
            self._recount_double(task)
        self.orphans = {place for place in self.orphans if place[0] != path}
        self.hands.drop(path)
        self._version += 1

    def rejudge_all(self) -> None:
        """Judge everything anew, for a clock or a limit is another one."""
        for path, room in self.rooms.items():
            self._claims_due.update((path, task) for task in room.claims)
            self.hands.look_at_all(path)

    def settle(self, now: Moment) -> None:
        """Bring everything up to this moment."""
        self._store.expire(now.mono)
        offset = now.wall - now.mono
        if self._offset is None or abs(offset - self._offset) > CLOCK_STEP:
            self._offset = offset
            self.rejudge_all()
        self._claims_due.update(self._deadlines.take(now.mono))
        touched, self._touched = self._touched, set()
        for key in touched:
            self._claims_due.update(self.hands.agent_changed(key, now))
        claims, self._claims_due = self._claims_due, set()
        for path, task in claims:
            self._judge_claim(path, task, now)
        self.hands.settle(now)

    def next_deadline(self) -> float | None:
        """Monotonic time of the next possible change; may be too early, never too late after a settling."""
        times = (self._deadlines.first(), self.hands.next_deadline())
        return min((time for time in times if time is not None), default=None)

    @property
    def has_news(self) -> bool:
        """Whether :meth:`take_news` has something."""
        return bool(self._news)

    def take_news(self) -> tuple[list[TaskEvent], int]:
        """What happened since it was last asked, and how much more was not kept."""
        return self._news.take()

    def counts(self, now: Moment) -> TaskCounts:
        """How many there are; None where some workspace does not tell, and where there is none at all."""
        self.settle(now)
        rooms = [self.rooms.get(path) for path in self._store.workspaces]
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
        """The available tasks of a source, sorted, without those that another one shows (duplicates.py)."""
        return self._duplicates.available(path, self.version)

    def is_double(self, path: str, task: str) -> bool:
        """Whether this claim in Redis is the one that a workspace has as well, and is shown there."""
        return not path and task in self._duplicates.claims and self._duplicates.is_shown(task)

    def _take(self, path: str, room: SourceTasks, change: WorkChange, now: Moment, *, fresh: bool) -> None:
        observed = self._observed(path, now.mono)
        self._version += 1
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
        self.hands.moved(path)

    def _hold(self, path: str, room: SourceTasks, claim: Claim, at: float) -> None:
        quiet = not self._running or path in self._late
        room.claims[claim.task] = HeldClaim(claim, since=at, found=quiet)
        self._counts["held"] += 1
        if claim.agent_id is not None:
            hand = room.hand(claim.agent_id)
            hand.claims.add(claim.task)
            hand.status = self.hands.holder(path, claim.agent_id)
            self.hands.look_at([(path, claim.agent_id)])
        self._recount_double(claim.task)
        if not quiet and claim.task not in self._duplicates.claims:
            self._news.tell(TaskEvent("task.claimed", path or None, claim.task, claim.agent_id))

    def _let_go(self, path: str, room: SourceTasks, task: str, observed: float) -> None:
        double = task in self._duplicates.claims
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
            self.hands.look_at([(path, held.claim.agent_id)])
        self._recount_double(task)
        if not double:
            self._news.tell(TaskEvent("task.released", path or None, task, held.claim.agent_id))

    def _recount_double(self, task: str) -> None:
        """See whether the claim of this task in Redis is one that a workspace has as well: it counts once."""
        double = self._duplicates.is_one(task)
        if double == (task in self._duplicates.claims):
            return
        if not double:
            self._undouble(task)
            return
        self._duplicates.claims.add(task)
        self._counts[self.rooms[""].claims[task].state] -= 1
        self.orphans.discard(("", task))
        self._version += 1

    def _undouble(self, task: str) -> None:
        self._duplicates.claims.discard(task)
        state = self.rooms[""].claims[task].state
        self._counts[state] += 1
        if state == "orphaned":
            self.orphans.add(("", task))
        self._version += 1

    def _judge_claim(self, path: str, task: str, now: Moment) -> None:
        room = self.rooms.get(path)
        held = room.claims.get(task) if room and (room.knows_claims or room.filling) else None
        if held is None:
            return
        hold = self._evidence(path, held, now)
        wait = next_change(hold)
        if wait is not None:
            self._deadlines.put((path, task), now.mono + wait)
        state = claim_state(hold)
        found, held.found = held.found, False
        if state == held.state:
            return
        if not path and task in self._duplicates.claims:
            held.state = state
            return
        self._counts[held.state] -= 1
        self._counts[state] += 1
        held.state = state
        self._version += 1
        self.orphans.discard((path, task))
        if state == "orphaned":
            self.orphans.add((path, task))
            agent_id = held.claim.agent_id
            if not found or self._was_lively(path, agent_id):
                self._news.tell(TaskEvent("claim.orphaned", path or None, task, agent_id, hold.holder))

    def _was_lively(self, path: str, agent_id: str | None) -> bool:
        own: Key = (path or None, agent_id or "")
        return own in self._lively or self._store.resolve(path, agent_id or "") in self._lively

    def _may_be_hidden(self, path: str) -> bool:
        """Whether an agent that a claim in this source names may be one that is not read."""
        if any("agents" in source.crowded for source in self._store.workspaces.values()):
            return True
        others = [other for other in self._store.workspaces if other != path and not (path and other)]
        return any((room := self.rooms.get(other)) is None or not room.read for other in others)

    def _evidence(self, path: str, held: HeldClaim, now: Moment) -> ClaimEvidence:
        claim, timeout = held.claim, self._store.timeout
        observed = self._judged(path, now)
        holder = self.hands.holder(path, claim.agent_id)
        if holder == "inactive":
            held.since = observed - timeout  # should it leave, it has long been silent
        elif holder is None and held.holder is not None and held.holder != "inactive":
            held.since = observed  # it has just left
        elif holder is None and held.state != "orphaned" and self._may_be_hidden(path):
            held.since = observed  # nobody can tell
        if holder != held.holder:
            held.holder = holder
            self._version += 1
        absent = None
        if holder is None and claim.agent_id is not None:
            absent = max(0.0, observed - held.since)
        left = None if claim.expires_at is None else claim.expires_at - now.wall
        return ClaimEvidence(holder, absent, left, timeout)

    def _lives(self, place: Place) -> bool:
        room = self.rooms.get(place[0])
        return room is not None and place[1] in room.claims

    def _observed(self, path: str, mono: float) -> float:
        return self._store.workspaces[path].clock.now(mono)

    def _judged(self, path: str, now: Moment) -> float:
        return self._observed(path, self._store.horizon(now.mono))


def _some(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(list(names))
    while some := list(islice(rest, SLICE)):
        yield some


def _slices(change: WorkChange) -> Iterator[WorkChange]:
    """A change in parts; at least one, if an empty one."""
    if len(change.claims) + len(change.progress) <= SLICE:
        yield change
        return
    for tasks in _some(change.claims):
        yield WorkChange({task: change.claims[task] for task in tasks})
    for tasks in _some(change.progress):
        yield WorkChange({}, {task: change.progress[task] for task in tasks})


def _written(written: float | None, wall: float, observed: float) -> float:
    """A written time on the source's clock; one that is not known or lies ahead is now."""
    if written is None or written > wall + FUTURE:
        return observed
    return observed - max(0.0, wall - written)
