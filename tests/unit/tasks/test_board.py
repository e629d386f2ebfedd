"""Test the board against a naive recount, whatever happens to claims, agents, clocks and sources."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from agents import EPOCH, TIMEOUT, Agents, source
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from task_mirror import TaskMirror
from ticking import tick

from coordd.agents.key import AgentKey
from coordd.agents.traces import Claim, Progress, SourceTraces, WorkChange
from coordd.model import TaskCounts
from coordd.runtime.clocks import Moment
from coordd.runtime.deadlines import Deadlines
from coordd.tasks.board import Board
from coordd.tasks.claim_state import ClaimEvidence, claim_state, is_over
from coordd.tasks.needs import Needs
from coordd.tasks.views import ORDER, TaskList

STALL = 300.0
PATHS = ("/a", "/b")
AGENTS = ("x", "y")
TASKS = ("t1", "t2", "t3")

# Sixteenths of a second are exact in binary, so that a deadline is met or not.
sixteenths = st.integers(min_value=1, max_value=16 * 400).map(lambda n: n / 16)
ages = st.sampled_from([0.0, 60.0, 119.9375, 120.0, 500.0])
paths = st.sampled_from(PATHS)
tasks = st.sampled_from(TASKS)


@dataclass
class ExpectedClaim:
    """One claim in the model, with the time from which its holder is missed."""

    claim: Claim
    since: float
    holder: str | None = None


class Model(RuleBasedStateMachine):
    """Do everything that can happen, in any order; ticks are on time."""

    def __init__(self) -> None:
        super().__init__()
        self.agents = Agents(*PATHS, mono=1024.0)
        self.store = self.agents.store
        self.ticked = self.mono
        tick(self.agents.loop_monitor, self.mono)
        self.offset = EPOCH
        self.store.judging.limits = replace(self.store.judging.limits, stall_after=STALL)
        self.board = Board(store=self.store)
        self.mirror = TaskMirror(self.board)
        self.store.on_change = self.board.touched
        self.list = TaskList(board=self.board, store=self.store)
        self.needs = Needs(store=self.store, board=self.board, tasks=self.list)
        self.claims: dict[str, dict[str, ExpectedClaim]] = {path: {} for path in PATHS}
        self.free: dict[str, set[str]] = {path: set() for path in PATHS}
        self.readable = dict.fromkeys(PATHS, False)
        self.read_in_full("/a")

    @property
    def mono(self) -> float:
        return self.agents.mono

    @property
    def now(self) -> Moment:
        return Moment(self.offset + self.mono, self.mono)

    def observed(self, path: str) -> float:
        return self.agents.clock(source(path)).now(self.mono)

    def status(self, path: str, agent_id: str | None) -> str | None:
        agent = self.store.get(AgentKey(path, agent_id or ""))
        return self.store.look(agent, self.mono).verdict.status if agent else None

    # What happens.

    @rule(path=paths, agent_id=st.sampled_from(AGENTS), age=ages, listed=st.sets(tasks))
    def beat(self, path: str, agent_id: str, age: float, listed: set[str]) -> None:
        self.agents.see(path, agent_id, age, tasks=tuple(sorted(listed)))
        self.board.settle(self.now)

    @rule(path=paths, agent_id=st.sampled_from(AGENTS))
    def leave(self, path: str, agent_id: str) -> None:
        self.recheck()
        self.agents.remove(source(path), agent_id)
        self.board.settle(self.now)

    @precondition(lambda self: any(self.readable.values()))
    @rule(
        path=paths,
        task=tasks,
        holder=st.sampled_from([*AGENTS, "ghost", None]),
        ttl=st.none() | sixteenths,
        status=st.sampled_from([None, "claimed", "done"]),
    )
    def claim(self, path: str, task: str, holder: str | None, ttl: float | None, status: str | None) -> None:
        if not self.readable[path]:
            return
        expires = None if ttl is None else self.now.wall + ttl
        claim = Claim(task, holder, self.now.wall, expires, status)
        self.board.take(path, WorkChange({task: claim}), self.now)
        known = self.claims[path].pop(task, None)
        if not is_over(status):
            holder_then = known.holder if known and known.claim.agent_id == holder else None
            self.claims[path][task] = ExpectedClaim(claim, self.observed(path), holder_then)

    @rule(path=paths, task=tasks)
    def release(self, path: str, task: str) -> None:
        if self.readable[path]:
            self.board.take(path, WorkChange({task: None}), self.now)
            self.claims[path].pop(task, None)

    @rule(path=paths, task=tasks, there=st.booleans())
    def offer(self, path: str, task: str, there: bool) -> None:
        if self.readable[path]:
            self.board.take(path, WorkChange(available={task: there}), self.now)
            (self.free[path].add if there else self.free[path].discard)(task)

    @rule(path=paths)
    def read_in_full(self, path: str) -> None:
        self.agents.regain(source(path))
        self.board.take_all(path, self.traces(path), self.now, fresh=False)
        self.readable[path] = True

    def traces(self, path: str) -> SourceTraces:
        return SourceTraces(
            path,
            "read",
            claims={task: seen.claim for task, seen in self.claims[path].items()},
            tasks_available=tuple(sorted(self.free[path])),
        )

    @rule(path=paths)
    def lose(self, path: str) -> None:
        self.recheck()
        self.agents.lose(source(path))
        self.board.lost(path)
        self.readable[path] = False

    @rule(seconds=sixteenths)
    def wait(self, seconds: float) -> None:
        until = self.mono + seconds
        while until >= self.ticked + 2.0:
            self.agents.mono = self.ticked = self.ticked + 2.0
            assert tick(self.agents.loop_monitor, self.mono) == 0.0
            self.recheck()
        self.agents.mono = until

    @rule(seconds=st.sampled_from([-3600.0, -1.0, 1.0, 3600.0]))
    def set_the_clock(self, seconds: float) -> None:
        self.offset += seconds

    # What must be true.

    def recheck(self) -> dict[tuple[str, str], str]:
        """Return the state of every claim, judged from the start."""
        states = {}
        for path in PATHS:
            if not self.readable[path]:
                continue
            for task, seen in self.claims[path].items():
                holder, observed = self.status(path, seen.claim.agent_id), self.observed(path)
                if holder == "inactive":
                    seen.since = observed - TIMEOUT
                elif holder is None and seen.holder in ("active", "unknown"):
                    seen.since = observed
                seen.holder = holder
                missed = holder is None and seen.claim.agent_id is not None
                expires = seen.claim.expires_at
                evidence = ClaimEvidence(
                    holder,  # type: ignore[arg-type]
                    observed - seen.since if missed else None,
                    None if expires is None else expires - self.now.wall,
                    TIMEOUT,
                )
                states[(path, task)] = claim_state(evidence)
        self.board.settle(self.now)
        return states

    @invariant()
    def counts_and_lists_are_those_of_this_moment(self) -> None:
        states = self.recheck()
        counts = Counter(states.values())
        all_known = all(self.readable.values())
        assert self.board.counts(self.now) == (
            TaskCounts(
                available=sum(map(len, self.free.values())),
                claimed=len(states),
                expired=counts["expired"],
                orphaned=counts["orphaned"],
            )
            if all_known
            else TaskCounts()
        )
        shown = [view for _, view in self.list.shown(self.now)]
        expected = [(ORDER.index(state), path, task) for (path, task), state in states.items()]  # type: ignore[arg-type]
        expected += [(3, path, task) for path in PATHS if self.readable[path] for task in self.free[path]]
        assert [(ORDER.index(v.state), v.workspace, v.task_id) for v in shown] == sorted(expected)
        for view in shown:
            assert view.holder_status == self.status(view.workspace or "", view.agent_id)
        assert self.list.unknown() == [path for path in PATHS if not self.readable[path]]

    @invariant()
    def who_follows_knows_the_same_tasks(self) -> None:
        """What changed while a source could not be read is told when it is back."""
        self.mirror.check(self.list, self.now, [path for path in PATHS if not self.readable[path]])

    @invariant()
    def pages_and_filters_agree_with_the_whole_list(self) -> None:
        whole = list(self.list.shown(self.now))
        for position, _ in whole:
            rest = [other for other in whole if other[0] > position]
            assert list(self.list.shown(self.now, after=position)) == rest
        for state in ORDER:
            some = [one for one in whole if one[1].state == state]
            assert list(self.list.shown(self.now, state=state)) == some
        for path in PATHS:
            some = [one for one in whole if one[1].workspace == path]
            assert list(self.list.shown(self.now, workspace=path)) == some

    @invariant()
    def an_agent_has_the_claims_that_name_it(self) -> None:
        for path in PATHS:
            for agent_id in (*AGENTS, "ghost"):
                mine = self.list.claims_of(AgentKey(path, agent_id), self.now)
                if not self.readable[path]:
                    assert mine is None
                    continue
                named = {t for t, seen in self.claims[path].items() if seen.claim.agent_id == agent_id}
                assert mine is not None
                assert {view.task_id for view in mine} == named

    @invariant()
    def the_next_deadline_is_not_too_late(self) -> None:
        before = self.recheck()
        due = self.board.next_deadline()
        agents_due = self.store.next_deadline()
        until = min(due or self.mono + 3600, agents_due or self.mono + 3600, self.ticked + 2.0) - 1 / 16
        if until > self.mono:
            mono, self.agents.mono = self.mono, until
            assert self.recheck() == before
            self.agents.mono = mono

    @invariant()
    def orphans_make_events(self) -> None:
        events, missed = self.board.take_events()
        assert missed == 0
        orphaned = {(n.workspace, n.subject) for n in events if n.kind == "claim.orphaned"}
        assert orphaned <= {(p, t) for p in PATHS for t in TASKS}


TestBoard: Any = Model.TestCase
TestBoard.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


class Scene:
    """A board over one workspace that is read and followed."""

    def __init__(self, *, active_before: tuple[AgentKey, ...] | None = None) -> None:
        self.agents = Agents("/w")
        tick(self.agents.loop_monitor, self.agents.mono)
        self.store = self.agents.store
        self.store.judging.limits = replace(self.store.judging.limits, stall_after=STALL)
        self.board = Board(store=self.store)
        self.store.on_change = self.board.touched
        self.list = TaskList(board=self.board, store=self.store)
        self.needs = Needs(store=self.store, board=self.board, tasks=self.list)
        if active_before is not None:
            self.board.starting(active_before)

    @property
    def now(self) -> Moment:
        return self.agents.now

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / 2)):
            self.agents.mono += 2.0
            tick(self.agents.loop_monitor, self.agents.mono)

    def beat(self, agent_id: str, *tasks: str, age: float = 0.0) -> None:
        self.agents.see("/w", agent_id, age, tasks=tasks)

    def leave(self, agent_id: str) -> None:
        self.agents.remove(source("/w"), agent_id)

    def live(self, agent_id: str, *tasks: str, seconds: float) -> None:
        """Let the agent beat for so long."""
        for _ in range(int(seconds / 100)):
            self.wait(100)
            self.beat(agent_id, *tasks)
            self.board.settle(self.now)

    def read(self, *claims: Claim, progress: tuple[Progress, ...] = (), fresh: bool = False) -> None:
        traces = SourceTraces(
            "/w", "read", claims={c.task: c for c in claims}, progress={p.task: p for p in progress}
        )
        self.board.take_all("/w", traces, self.now, fresh=fresh)
        self.board.settle(self.now)

    def kinds(self) -> list[tuple[str, str]]:
        self.board.settle(self.now)
        return [(one.kind, one.subject) for one in self.board.take_events()[0]]

    def stalled(self, agent_id: str) -> bool | None:
        self.board.settle(self.now)
        key = AgentKey("/w", agent_id)
        agent = self.store.get(key)
        doing = self.store.look(agent, self.now.mono).doing.activity if agent else None
        return None if self.board.holdings.held(key, self.now.mono).holds is None else doing == "stalled"


def test_a_claim_is_orphaned_once_and_again_only_after_its_holder_was_back() -> None:
    scene = Scene()
    scene.beat("x")
    scene.read(Claim("t", "x"))
    assert scene.kinds() == [("task.claimed", "t")]
    scene.wait(TIMEOUT)
    assert scene.kinds() == [("claim.orphaned", "t")]
    scene.wait(TIMEOUT)
    scene.read(Claim("t", "x"))
    scene.leave("x")  # forgotten at last: that makes it no less orphaned
    assert scene.kinds() == []
    scene.beat("x")
    assert scene.kinds() == []
    assert [view.state for _, view in scene.list.shown(scene.now)] == ["held"]
    scene.wait(TIMEOUT)
    assert scene.kinds() == [("claim.orphaned", "t")]
    scene.read()
    assert scene.kinds() == [("task.released", "t")]


def test_an_unknown_holder_is_waited_for_one_timeout() -> None:
    scene = Scene()
    scene.read(Claim("t", "ghost"))
    scene.wait(TIMEOUT - 2)
    assert ("claim.orphaned", "t") not in scene.kinds()
    scene.wait(2)
    assert scene.kinds() == [("claim.orphaned", "t")]
    assert scene.needs.problems(scene.now) == ["task t in /w is orphaned, its holder ghost has left no trace"]


def test_a_start_makes_events_only_for_holders_that_were_active_in_the_last_run() -> None:
    scene = Scene(active_before=(AgentKey("/w", "died"),))
    scene.beat("died", age=500)
    scene.beat("long-dead", age=5000)
    scene.beat("stalled", "s")
    old = scene.now.wall - 1000
    scene.read(
        Claim("a", "died", old),
        Claim("b", "long-dead", old),
        Claim("c", "ghost", old),
        Claim("s", "stalled", old),
        fresh=True,
    )
    scene.board.started()
    assert scene.kinds() == [("claim.orphaned", "a")]
    assert scene.board.counts(scene.now) == TaskCounts(available=0, claimed=4, expired=0, orphaned=3)
    assert scene.stalled("stalled") is True


def test_progress_of_every_kind_ends_a_stall() -> None:
    scene = Scene()
    scene.beat("x", "own")
    scene.read(Claim("t", "x"), progress=(Progress("t", 10.0),))
    scene.kinds()
    told = 10.0
    ways = ["progress", "progress of its own task", "claim renewed", "tasks", "claim gained", "claim lost"]
    claims, listed = [Claim("t", "x")], ["own"]
    own: tuple[Progress, ...] = ()
    for way in ways:
        scene.live("x", *listed, seconds=STALL)
        assert scene.stalled("x") is True, way
        scene.read(*claims, progress=(Progress("t", told), *own))  # nothing new
        assert scene.stalled("x") is True, way
        match way:
            case "progress":
                told += 1
            case "progress of its own task":
                own = (Progress("own", 1.0),)
            case "claim renewed":
                claims[0] = replace(claims[0], expires_at=scene.now.wall + 1000)
            case "tasks":
                listed.append("more")
                scene.beat("x", *listed)
            case "claim gained":
                claims.append(Claim("u", "x"))
            case "claim lost":
                claims.pop()
        scene.read(*claims, progress=(Progress("t", told), *own))
        assert scene.stalled("x") is False, way
        scene.kinds()


def test_a_holder_that_leaves_is_waited_for_unless_it_was_inactive() -> None:
    for age, state in ((0.0, "held"), (110.0, "held"), (200.0, "orphaned")):
        scene = Scene()
        scene.beat("x", age=age)
        scene.read(Claim("t", "x"))
        scene.wait(4)
        scene.board.settle(scene.now)
        scene.leave("x")
        assert [view.state for _, view in scene.list.shown(scene.now)] == [state]
        scene.wait(TIMEOUT - 2)
        assert [view.state for _, view in scene.list.shown(scene.now)] == [state]
        scene.wait(2)
        assert [view.state for _, view in scene.list.shown(scene.now)] == ["orphaned"]


def test_a_holder_that_dies_while_its_claims_are_unreadable_leaves_orphans() -> None:
    scene = Scene()
    scene.beat("x")
    scene.read(Claim("t", "x"))
    scene.board.lost("/w")
    scene.wait(TIMEOUT)
    scene.board.settle(scene.now)
    scene.read(Claim("t", "x"))
    assert [view.state for _, view in scene.list.shown(scene.now)] == ["orphaned"]


def test_a_hint_of_progress_ends_a_stall() -> None:
    scene = Scene()
    scene.beat("x", "own")
    scene.read()
    scene.live("x", "own", seconds=STALL)
    assert scene.stalled("x") is True
    scene.board.take("/w", WorkChange(progress={"other": Progress("other", 1.0)}), scene.now)
    assert scene.stalled("x") is True
    scene.board.take("/w", WorkChange(progress={"own": Progress("own", 1.0)}), scene.now)
    assert scene.stalled("x") is False


def test_an_agent_without_tasks_or_not_active_is_not_stalled() -> None:
    scene = Scene()
    scene.beat("idle")
    scene.beat("dead", "t")
    scene.read()
    scene.live("idle", seconds=STALL * 2)
    assert (scene.stalled("idle"), scene.stalled("dead")) == (False, False)
    scene.beat("dead", "t")  # it is back, and gets its time anew
    assert scene.stalled("dead") is False
    scene.live("dead", "t", seconds=STALL)
    assert scene.stalled("dead") is True
    scene.board.lost("/w")
    assert scene.stalled("dead") is None


def test_events_and_deadlines_are_bounded() -> None:
    scene = Scene()
    scene.read()
    for n in range(3000):
        name = f"t{n}"
        scene.board.take("/w", WorkChange({name: Claim(name, "x", expires_at=EPOCH * 1.5)}), scene.now)
        scene.board.settle(scene.now)
        scene.board.take("/w", WorkChange({name: None}), scene.now)
    events, missed = scene.board.take_events()
    assert (len(events), missed) == (1000, 5000)
    assert len(scene.board._deadlines) <= 200
    assert scene.board.take_events() == ([], 0)


def test_problems_name_five_and_count_the_rest() -> None:
    scene = Scene()
    for n in range(7):
        scene.beat(f"x{n}")
    scene.read(*(Claim(f"t{n}", f"x{n}") for n in range(7)))
    scene.wait(300)
    lines = scene.needs.problems(scene.now)
    assert len(lines) == 1 + 5 + 1  # all of them fell together
    assert lines[1] == "task t0 in /w is orphaned, its holder x0 is inactive (silent)"
    assert lines[-1] == "2 more: orphaned claims"


@given(st.lists(st.tuples(st.text(max_size=2), st.integers(0, 50)), max_size=300))
def test_a_deadline_is_never_missed(puts: list[tuple[str, int]]) -> None:
    deadlines: Deadlines[tuple[str]] = Deadlines(wanted=lambda _item: True)
    earliest: dict[tuple[str], int] = {}
    for name, due in puts:
        deadlines.put((name,), due)
        earliest[(name,)] = min(due, earliest.get((name,), due))
    for moment in range(51):
        first = deadlines.first()
        assert earliest == {} or first is not None
        taken = set(deadlines.take(moment))
        assert taken == {item for item, due in earliest.items() if due <= moment}
        for item in taken:
            del earliest[item]
