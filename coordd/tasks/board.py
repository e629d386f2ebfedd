"""Hold the claims, progress and available tasks of all sources, judged at the moment of asking.

The rule: a change marks the claims that it affects; :meth:`Board.settle` then judges these, and the ones
whose deadline has passed, so that an answer costs only what is new. What each agent holds is in holdings.py.
What is found when coordd starts is dated by its own written times. Pure state: time is passed in, nothing is
opened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from coordd.agents.beats import FUTURE
from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.agents.traces import Claim, SourceTraces, WorkChange
from coordd.model import ClaimState, TaskCounts
from coordd.runtime.clocks import Moment
from coordd.runtime.deadlines import Deadlines
from coordd.tasks.claim_state import ClaimEvidence, claim_state, is_over, next_change
from coordd.tasks.duplicates import Duplicates
from coordd.tasks.event_buffer import EventBuffer, TaskEvent
from coordd.tasks.holdings import Holdings
from coordd.tasks.moves import Stand, TaskMoves
from coordd.tasks.work import HeldClaim, SourceTasks, TaskKey
from coordd.util.slices import SLICE, slices

CLOCK_STEP = 0.05
"""Seconds by which the wall clock must move against the monotonic one for all claims to be judged again."""


class Board:
    """Hold all tasks and claims, by source.

    ``source_tasks`` has what is known of each source, ``holdings`` what each agent holds, ``orphans`` the
    orphaned claims as (source, task), ``rivalled`` those beside which there are others of the same source.
    :meth:`touched` has to be called for every agent whose verdict or list of tasks changes. A claim that
    Redis and a workspace share counts once (duplicates.py).

    Args:
        store: all agents; its verdicts decide which claims are orphaned.
    """

    def __init__(self, *, store: AgentStore) -> None:
        self.source_tasks: dict[str, SourceTasks] = {}
        self.orphans: set[TaskKey] = set()
        self.rivalled: set[TaskKey] = set()
        self._version = 0
        self._store = store
        self._counts: dict[ClaimState, int] = {"held": 0, "expired": 0, "orphaned": 0}
        self._events = EventBuffer()
        self._touched: set[AgentKey] = set()
        self._claims_due: set[TaskKey] = set()
        self._deadlines: Deadlines[TaskKey] = Deadlines(wanted=self._exists)
        self._offset: float | None = None
        self._active_before: frozenset[AgentKey] = frozenset()
        self._running = True
        self._unread_at_start: set[str] = set()
        self._duplicates = Duplicates(self.source_tasks)
        self.holdings = Holdings(source_tasks=self.source_tasks, store=store)
        self.moves = TaskMoves(self.stand)

    @property
    def version(self) -> int:
        """A number that grows whenever anything that is shown may have changed."""
        return self._version

    def touched(self, key: AgentKey) -> None:
        """Note that an agent appeared or left, or that its verdict or list of tasks changed."""
        self._touched.add(key)

    def starting(self, active_before: Iterable[AgentKey]) -> None:
        """Report no events for what is found until :meth:`started`: it was there before.

        The exception is an orphaned claim whose holder was not inactive in the last run.

        Args:
            active_before: the agents that were not inactive in the last run.
        """
        self._active_before = frozenset(active_before)
        self._running = self.holdings.running = False

    def started(self) -> None:
        """Report events from now on, except for the first reading of a source that was unreadable so far."""
        self._running = self.holdings.running = True
        self._unread_at_start = {
            path
            for path in self._store.workspaces
            if not ((source := self.source_tasks.get(path)) and source.read)
        }

    def take_all(self, path: str, traces: SourceTraces, now: Moment, *, fresh: bool) -> None:
        """Take over a full reading; ``fresh``: the source was not followed before, so written times count."""
        for _ in self.take_in_slices(path, traces, lambda: now, fresh=fresh):
            pass

    def take_in_slices(
        self, path: str, traces: SourceTraces, now: Callable[[], Moment], *, fresh: bool
    ) -> Iterator[None]:
        """Take over a full reading as :meth:`take_all` does, in steps between which other work may be done.

        The steps end early when the workspace is lost or dropped meanwhile.
        """
        source = self.source_tasks.setdefault(path, SourceTasks())
        known_before = source.knows
        if self.moves.following and traces.tasks_available is not None:
            self._moving(path, set(source.available).symmetric_difference(traces.tasks_available))
        for change in _slices(source.compare(traces)):
            self._take(path, source, change, now(), fresh=fresh)
            yield
            if source.filling is None or self.source_tasks.get(path) is not source:
                return
        more = source.finish_filling()
        self._version += 1
        self._unread_at_start.discard(path)
        source.prune(self._observed(path, now().mono) - self._store.judging.limits.stall_after)
        if not more and source.knows == known_before:
            return
        for tasks in slices(source.claims):
            self._claims_due.update((path, task) for task in tasks)
            yield
        for agent_ids in slices(source.holdings):
            self.holdings.mark_due(AgentKey(path, agent_id) for agent_id in agent_ids)
            yield

    def take(self, path: str, change: WorkChange, now: Moment) -> None:
        """Take over a partial reading of a source that was read in full before."""
        source = self.source_tasks.get(path)
        if source is not None and change:
            if self.moves.following:
                self._moving(path, change.available)
            source.offer(change)
            self._take(path, source, change, now, fresh=False)

    def lost(self, path: str) -> None:
        """Note that a source cannot be read: its tasks are unknown until the next full reading."""
        source = self.source_tasks.get(path)
        if source is not None:
            source.forget()
            self.holdings.mark_all_due(path)
            self._version += 1

    def drop(self, path: str) -> None:
        """Forget a source that is read no longer, with all its tasks."""
        if self.moves.following and (leaving := self.source_tasks.get(path)) is not None:
            self._moving(path, {*leaving.claims, *leaving.available})
        source = self.source_tasks.pop(path, None)
        for task, held in source.claims.items() if source else ():
            if task in self._duplicates.claims:
                self._end_duplicate(task)
            self._counts[held.state] -= 1
            self._recount_duplicate(task)
        self.orphans = {key for key in self.orphans if key[0] != path}
        self.rivalled = {key for key in self.rivalled if key[0] != path}
        self.holdings.dropped()
        self._version += 1

    def rejudge_all(self) -> None:
        """Judge everything again at the next :meth:`settle`, after a clock or a limit changed."""
        for path, source in self.source_tasks.items():
            self._claims_due.update((path, task) for task in source.claims)
            self.holdings.mark_all_due(path)

    def settle(self, now: Moment) -> None:
        """Judge whatever a change or the time has affected, up to this moment."""
        self._store.expire(now.mono)
        offset = now.wall - now.mono
        if self._offset is None or abs(offset - self._offset) > CLOCK_STEP:
            self._offset = offset
            self.rejudge_all()
        self._claims_due.update(self._deadlines.take(now.mono))
        touched, self._touched = self._touched, set()
        for key in touched:
            self._claims_due.update(self.holdings.agent_changed(key, now))
        claims, self._claims_due = self._claims_due, set()
        for path, task in claims:
            self._judge_claim(path, task, now)
        self.holdings.settle(now)

    def next_deadline(self) -> float | None:
        """Return the monotonic time of the next possible change; never too late after :meth:`settle`."""
        return self._deadlines.first()

    @property
    def has_events(self) -> bool:
        """Whether :meth:`take_events` would return any event."""
        return bool(self._events)

    def take_events(self) -> tuple[list[TaskEvent], int]:
        """Return the events since the last call, and the number of those that were dropped."""
        return self._events.take()

    def counts(self, now: Moment) -> TaskCounts:
        """Return the number of tasks and claims; None where any source cannot tell, or no source exists."""
        self.settle(now)
        source_tasks = [self.source_tasks.get(path) for path in self._store.workspaces]
        if not source_tasks:
            return TaskCounts()
        claims = all(source is not None and source.knows_claims for source in source_tasks)
        available = all(source is not None and source.knows_available for source in source_tasks)
        offered = sum(len(self.available(path)) for path in self.source_tasks) if available else 0
        return TaskCounts(
            available=offered + sum(source.unnamed for source in source_tasks if source)
            if available
            else None,
            claimed=sum(self._counts.values()) if claims else None,
            expired=self._counts["expired"] if claims else None,
            orphaned=self._counts["orphaned"] if claims else None,
        )

    def available(self, path: str) -> list[str]:
        """Return the available tasks of a source, sorted, without those that another source shows."""
        return self._duplicates.available(path, self.version)

    def is_duplicate(self, path: str, task: str) -> bool:
        """Return whether this is a claim in Redis that a workspace has as well, and that is shown there."""
        return not path and task in self._duplicates.claims and self._duplicates.is_shown(task)

    def stand(self, path: str, task: str) -> Stand | None:
        """Return the state and the holder of a task as it is shown; None: it is not there.

        What was last known of a source that cannot be read stands: nothing says that it is gone.
        """
        source = self.source_tasks.get(path)
        if source is None:
            return None
        held = source.claims.get(task)
        if held is not None and (path or task not in self._duplicates.claims):
            return held.state, held.claim.agent_id
        if held is not None or not _offers(source, task):
            return None
        redis = self.source_tasks.get("")
        if path:
            return None if redis and task in redis.claims else ("available", None)
        others = (other for place, other in self.source_tasks.items() if place)
        return (
            None if any(task in one.claims or _offers(one, task) for one in others) else ("available", None)
        )

    def _moving(self, path: str, tasks: Iterable[str]) -> None:
        """Note that these tasks of a source are about to change, and with them those of the same name.

        Of a task that Redis and a workspace have only one is shown.
        """
        for task in tasks:
            self.moves.moves(path, task)
            if path:
                if "" in self.source_tasks:
                    self.moves.moves("", task)
                continue
            for place, other in self.source_tasks.items():
                if place and (task in other.claims or _offers(other, task)):
                    self.moves.moves(place, task)

    def _take(self, path: str, source: SourceTasks, change: WorkChange, now: Moment, *, fresh: bool) -> None:
        observed = self._observed(path, now.mono)
        self._version += 1
        if self.moves.following:
            self._moving(path, change.claims)
        for task, claim in change.claims.items():
            counting = None if claim is None or is_over(claim.status) else claim
            self._note_over(path, source, task, None if claim is counting else claim)
            held = source.claims.get(task)
            if held is not None and (counting is None or held.claim.agent_id != counting.agent_id):
                self._remove_claim(path, source, task, observed)
                held = None
            if counting is None:
                continue
            at = _written(counting.claimed_at, now.wall, observed) if fresh else observed
            if held is None:
                self._add_claim(path, source, counting, at)
            else:
                held.claim, held.since = counting, observed
            if counting.rivals:
                self.rivalled.add((path, task))
            else:
                self.rivalled.discard((path, task))
            source.moved[task] = at
            self._claims_due.add((path, task))
        for task, written in source.take_progress(change.progress):
            at = _written(written, now.wall, observed) if fresh else observed
            source.moved[task] = max(at, source.moved.get(task, at))
        self.holdings.moved(path)

    def _note_over(self, path: str, source: SourceTasks, task: str, claim: Claim | None) -> None:
        """Note the claim of a task that says that it is over; None: there is none."""
        holders = {source.over.pop(task, None), None if claim is None else claim.agent_id}
        if claim is not None:
            source.over[task] = claim.agent_id
        # what the agent's own list says of the task counts for more, or for less, now
        self.holdings.mark_due(AgentKey(path, one) for one in holders if one in source.holdings)

    def _add_claim(self, path: str, source: SourceTasks, claim: Claim, at: float) -> None:
        quiet = not self._running or path in self._unread_at_start
        source.claims[claim.task] = HeldClaim(claim, since=at, found=quiet)
        self._counts["held"] += 1
        if claim.agent_id is not None:
            holding = source.holdings_of(claim.agent_id)
            holding.claims.add(claim.task)
            holding.status = self.holdings.holder(path, claim.agent_id)
            self.holdings.mark_due([AgentKey(path, claim.agent_id)])
        self._recount_duplicate(claim.task)
        if not quiet and claim.task not in self._duplicates.claims:
            self._events.add(TaskEvent("task.claimed", path or None, claim.task, claim.agent_id))

    def _remove_claim(self, path: str, source: SourceTasks, task: str, observed: float) -> None:
        duplicate = task in self._duplicates.claims
        if duplicate:
            self._end_duplicate(task)
        held = source.claims.pop(task)
        self._counts[held.state] -= 1
        self.orphans.discard((path, task))
        self.rivalled.discard((path, task))
        source.moved[task] = observed
        if held.claim.agent_id is not None:
            holding = source.holdings_of(held.claim.agent_id)
            holding.claims.discard(task)
            holding.moved = observed
            self.holdings.mark_due([AgentKey(path, held.claim.agent_id)])
        self._recount_duplicate(task)
        if not duplicate:
            self._events.add(TaskEvent("task.released", path or None, task, held.claim.agent_id))

    def _recount_duplicate(self, task: str) -> None:
        """Update whether the claim of this task in Redis is shared with a workspace, and then counts once."""
        duplicate = self._duplicates.is_shared(task)
        if duplicate == (task in self._duplicates.claims):
            return
        if not duplicate:
            self._end_duplicate(task)
            return
        self._duplicates.claims.add(task)
        self._counts[self.source_tasks[""].claims[task].state] -= 1
        self.orphans.discard(("", task))
        self._version += 1

    def _end_duplicate(self, task: str) -> None:
        self._duplicates.claims.discard(task)
        state = self.source_tasks[""].claims[task].state
        self._counts[state] += 1
        if state == "orphaned":
            self.orphans.add(("", task))
        self._version += 1

    def _judge_claim(self, path: str, task: str, now: Moment) -> None:
        source = self.source_tasks.get(path)
        held = source.claims.get(task) if source and (source.knows_claims or source.filling) else None
        if held is None:
            return
        evidence = self._evidence(path, held, now)
        wait = next_change(evidence)
        if wait is not None:
            self._deadlines.put((path, task), now.mono + wait)
        state = claim_state(evidence)
        found, held.found = held.found, False
        if state == held.state:
            return
        if not path and task in self._duplicates.claims:
            held.state = state
            return
        if self.moves.following:
            self.moves.moves(path, task)
        self._counts[held.state] -= 1
        self._counts[state] += 1
        held.state = state
        self._version += 1
        self.orphans.discard((path, task))
        held.orphaned_at = now.wall if state == "orphaned" else None
        if state == "orphaned":
            self.orphans.add((path, task))
            agent_id = held.claim.agent_id
            if not found or self._was_active_before(path, agent_id):
                self._events.add(TaskEvent("claim.orphaned", path or None, task, agent_id, evidence.holder))

    def _was_active_before(self, path: str, agent_id: str | None) -> bool:
        own = AgentKey(path, agent_id or "")
        return own in self._active_before or self._store.resolve(path, agent_id or "") in self._active_before

    def _may_be_hidden(self, path: str) -> bool:
        """Return whether the holder that a claim in this source names may exist although it was not read."""
        if any("agents" in source.over_limit for source in self._store.workspaces.values()):
            return True
        others = [other for other in self._store.workspaces if other != path and not (path and other)]
        return any((source := self.source_tasks.get(other)) is None or not source.read for other in others)

    def _evidence(self, path: str, held: HeldClaim, now: Moment) -> ClaimEvidence:
        claim, timeout = held.claim, self._store.judging.limits.timeout
        observed = self._judged(path, now)
        holder = self.holdings.holder(path, claim.agent_id)
        if holder == "inactive":
            held.since = observed - timeout  # if it leaves now, it has been silent for long enough already
        elif holder is None and held.holder is not None and held.holder != "inactive":
            held.since = observed  # it has just left: wait one timeout from now
        elif holder is None and held.state != "orphaned" and self._may_be_hidden(path):
            held.since = observed  # it may exist unseen: wait one timeout from now
        if holder != held.holder:
            held.holder = holder
            self._version += 1
        absent = None
        if holder is None and claim.agent_id is not None:
            absent = max(0.0, observed - held.since)
        left = None if claim.expires_at is None else claim.expires_at - now.wall
        return ClaimEvidence(holder, absent, left, timeout)

    def _exists(self, key: TaskKey) -> bool:
        source = self.source_tasks.get(key[0])
        return source is not None and key[1] in source.claims

    def _observed(self, path: str, mono: float) -> float:
        return self._store.workspaces[path].clock.now(mono)

    def _judged(self, path: str, now: Moment) -> float:
        return self._observed(path, self._store.horizon(now.mono))


def _offers(source: SourceTasks, task: str) -> bool:
    index = bisect_left(source.available, task)
    return source.available[index : index + 1] == [task]


def _slices(change: WorkChange) -> Iterator[WorkChange]:
    """Yield a change in parts of at most :data:`SLICE`; one empty part for an empty change."""
    if len(change.claims) + len(change.progress) <= SLICE:
        yield change
        return
    for tasks in slices(change.claims):
        yield WorkChange({task: change.claims[task] for task in tasks})
    for tasks in slices(change.progress):
        yield WorkChange({}, {task: change.progress[task] for task in tasks})


def _written(written: float | None, wall: float, observed: float) -> float:
    """Return a written time on the source's clock; now where it is unknown or lies ahead."""
    if written is None or written > wall + FUTURE:
        return observed
    return observed - max(0.0, wall - written)
