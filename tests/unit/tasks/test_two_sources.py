"""Test that a task which Redis and a workspace both have counts once, in any order of changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agents import TIMEOUT, Agents, source, state_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from task_mirror import TaskMirror

from coordd.agents.key import AgentKey
from coordd.agents.traces import Claim, Progress, Rival, SourceTraces, WorkChange
from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList

STALL = 300.0
PATHS = ("", "/a", "/b")
TASKS = ("t1", "t2", "t3")
AGENTS = ("x", "y")
CLAIMS = {"t": Claim("t", "x")}


class Scene:
    """A board over Redis and two workspaces, all readable."""

    def __init__(self, *, read: tuple[str, ...] = PATHS) -> None:
        self.agents = Agents(*PATHS)
        self.store = self.agents.store
        self.store.judging.limits = replace(self.store.judging.limits, stall_after=STALL)
        self.board = Board(store=self.store)
        self.store.on_change = self.board.touched
        self.list = TaskList(board=self.board, store=self.store)
        self.needs = Needs(store=self.store, board=self.board, tasks=self.list)
        for path in PATHS:
            if path in read:
                self.board.take_all(path, SourceTraces(path, "read"), self.now, fresh=False)

    @property
    def now(self) -> Moment:
        return self.agents.now

    def beat(self, path: str, agent_id: str, *tasks: str, age: float = 0.0) -> None:
        self.agents.see(path, agent_id, age, tasks=tasks)
        self.board.settle(self.now)

    def leave(self, path: str, agent_id: str) -> None:
        self.agents.remove(source(path), agent_id)

    def drop(self, path: str) -> None:
        """Let a workspace go, as the intake does."""
        for agent_id in list(self.agents.observations.of_source(source(path))):
            self.leave(path, agent_id)
        self.board.drop(path)
        self.store.drop_source(self.store.sources[source(path)])

    def add(self, path: str) -> None:
        self.store.add_source(state_of(path))
        self.board.take_all(path, SourceTraces(path, "read"), self.now, fresh=False)

    def claim(self, path: str, task: str, holder: str | None) -> None:
        self.board.take(path, WorkChange({task: None if holder == "-" else Claim(task, holder)}), self.now)

    def wait(self, seconds: float) -> None:
        self.agents.mono += seconds

    def shown(self) -> list[tuple[str | None, str, str, tuple[str, ...]]]:
        views = [view for _, view in self.list.shown(self.now)]
        return [(view.workspace, view.task_id, view.state, view.sources) for view in views]

    def events(self) -> list[tuple[str, str]]:
        self.board.settle(self.now)
        return [(one.kind, one.subject) for one in self.board.take_events()[0]]


def test_a_task_that_both_claim_for_one_agent_is_one_claim() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.claim("/a", "t", "x")
    scene.claim("", "t", "x")
    assert scene.events() == [("task.claimed", "t")]
    assert scene.board.counts(scene.now).claimed == 1
    assert scene.shown() == [("/a", "t", "held", ("file", "redis"))]
    scene.claim("/a", "t", "-")
    assert scene.events() == []  # Redis still has it
    assert scene.shown() == [(None, "t", "held", ("redis",))]
    scene.claim("", "t", "-")
    assert scene.events() == [("task.released", "t")]
    assert scene.board.counts(scene.now).claimed == 0


def test_two_agents_that_claim_one_task_are_both_shown() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.beat("", "y")
    scene.claim("/a", "t", "x")
    scene.claim("", "t", "y")
    assert scene.board.counts(scene.now).claimed == 2


def test_a_claim_in_redis_is_held_by_the_agent_that_beats_into_a_file() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.claim("", "t", "x")
    assert scene.shown() == [(None, "t", "held", ("redis",))]
    scene.wait(TIMEOUT + 1)
    assert scene.shown() == [(None, "t", "orphaned", ("redis",))]
    assert scene.needs.problems(scene.now) == [
        "task t in Redis is orphaned, its holder x is inactive (silent)"
    ]
    assert [view.task_id for view in scene.list.claims_of(AgentKey("/a", "x"), scene.now) or ()] == ["t"]


def test_an_agent_of_both_sources_is_stalled_once_and_progress_in_either_ends_it() -> None:
    scene = Scene()
    scene.beat("/a", "x", "t1")
    scene.beat("", "x")
    scene.claim("", "t2", "x")
    for _ in range(4):
        scene.wait(100)
        scene.beat("/a", "x", "t1")
    scene.board.settle(scene.now)
    assert set(scene.store.with_activity("stalled")) == {("/a", "x")}
    assert scene.board.holdings.tasks_of(AgentKey("/a", "x")) == ("t1", "t2")
    told = Progress("t2", 50.0, "half", scene.now.wall)
    scene.board.take("", WorkChange(progress={"t2": told}), scene.now)
    scene.board.settle(scene.now)
    assert scene.store.with_activity("stalled") == []


def test_what_is_stalled_moves_with_the_agent_from_a_workspace_to_redis() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.beat("", "x")
    scene.claim("", "t", "x")
    for _ in range(4):
        scene.wait(100)
        scene.beat("", "x")
    scene.board.settle(scene.now)
    assert set(scene.store.with_activity("stalled")) == {("/a", "x")}
    scene.leave("/a", "x")
    scene.board.settle(scene.now)
    assert set(scene.store.with_activity("stalled")) == {("", "x")}


def test_a_claim_is_orphaned_with_the_agent_of_another_workspace_that_redis_names_as_well() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.beat("", "x")
    scene.claim("/b", "t", "x")
    scene.wait(TIMEOUT - 1)
    assert scene.shown() == [("/b", "t", "held", ("file",))]
    scene.wait(1)
    assert scene.shown() == [("/b", "t", "orphaned", ("file",))]


def test_a_claim_whose_holder_redis_names_no_longer_is_orphaned_in_its_time() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.beat("", "x")
    scene.claim("/b", "t", "x")
    assert [view.holder_status for _, view in scene.list.shown(scene.now)] == ["active"]
    scene.leave("", "x")
    assert [view.holder_status for _, view in scene.list.shown(scene.now)] == [None]
    for _ in range(2):
        assert scene.shown() == [("/b", "t", "held", ("file",))]
        scene.wait(TIMEOUT / 2)
        scene.beat("/a", "x")
    assert scene.shown() == [("/b", "t", "orphaned", ("file",))]


@pytest.mark.parametrize("way", ["its workspace is dropped", "redis names its holder no longer"])
def test_an_agent_whose_claims_are_gone_is_stalled_no_longer(way: str) -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.beat("", "x")
    scene.claim("/b", "t", "x")
    for _ in range(4):
        scene.wait(100)
        scene.beat("/a", "x")
    assert set(scene.store.with_activity("stalled")) == {("/a", "x")}
    assert scene.list.stall_evidence(AgentKey("/a", "x"), scene.now) == ("t", 400.0)
    if way == "its workspace is dropped":
        scene.drop("/b")
    else:
        scene.leave("", "x")
    scene.board.settle(scene.now)
    assert scene.store.with_activity("stalled") == []


def test_what_cannot_be_named_is_counted() -> None:
    scene = Scene()
    scene.board.take("", WorkChange(available={"t1": True}, available_unnamed=999_999), scene.now)
    assert scene.board.counts(scene.now).available == 1_000_000
    scene.board.take("", WorkChange(available_unnamed=0), scene.now)
    assert scene.board.counts(scene.now).available == 1


def test_without_redis_nothing_that_only_it_knows_is_counted_as_none() -> None:
    scene = Scene()
    scene.board.lost("")
    counts = scene.board.counts(scene.now)
    assert (counts.available, counts.claimed, counts.orphaned) == (None, None, None)
    assert scene.list.unknown() == [None]


def test_what_a_workspaces_agent_claims_in_a_redis_that_is_lost_is_unknown() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.claim("", "t", "x")
    scene.board.lost("")
    assert scene.list.claims_of(AgentKey("/a", "x"), scene.now) is None
    assert scene.board.holdings.held(AgentKey("/a", "x"), scene.now.mono).holds is None
    scene.board.take_all("", SourceTraces("", "read"), scene.now, fresh=False)
    assert scene.list.claims_of(AgentKey("/a", "x"), scene.now) == []


def test_a_claim_that_both_have_is_shown_by_redis_while_the_workspace_is_lost() -> None:
    scene = Scene()
    scene.beat("/a", "x")
    scene.claim("/a", "t", "x")
    scene.claim("", "t", "x")
    scene.events()
    scene.board.lost("/a")
    assert scene.shown() == [(None, "t", "held", ("redis",))]
    assert [view.task_id for view in scene.list.claims_of(AgentKey("", "x"), scene.now) or ()] == []
    scene.board.take_all("/a", SourceTraces("/a", "read", claims=CLAIMS), scene.now, fresh=False)
    assert scene.shown() == [("/a", "t", "held", ("file", "redis"))]
    assert scene.events() == []


def test_claims_older_than_the_first_reading_make_no_events_however_late_it_is() -> None:
    scene = Scene(read=("/a",))
    scene.board.starting([AgentKey("/a", "x"), AgentKey("", "y")])
    scene.beat("/a", "x")
    scene.board.settle(scene.now)
    scene.board.started()
    claims = {task: Claim(task, who) for task, who in (("t1", "x"), ("t2", "y"), ("t3", "z"))}
    scene.beat("", "y", age=200)  # died while nobody looked; "z" was dead already
    scene.beat("", "z", age=200)
    scene.board.take_all("", SourceTraces("", "read", claims=claims), scene.now, fresh=True)
    assert scene.events() == [("claim.orphaned", "t2")]
    scene.claim("", "t4", "x")
    assert scene.events() == [("task.claimed", "t4")]


def test_a_claim_in_redis_orphaned_during_the_restart_makes_an_event() -> None:
    scene = Scene(read=())
    scene.board.starting([AgentKey("/a", "x")])
    scene.beat("/a", "x", age=200)
    for path in PATHS:
        claims = CLAIMS if not path else {}
        scene.board.take_all(path, SourceTraces(path, "read", claims=claims), scene.now, fresh=True)
    assert scene.events() == [("claim.orphaned", "t")]


def test_a_claim_whose_holder_may_be_in_a_lost_redis_is_not_orphaned() -> None:
    scene = Scene(read=("/a", "/b"))
    scene.claim("/a", "t", "x")
    scene.claim("/a", "u", "gone")
    for _ in range(5):
        scene.wait(TIMEOUT)
        assert {state for _, _, state, _ in scene.shown()} == {"held"}
    scene.beat("", "x")
    scene.board.take_all("", SourceTraces("", "read"), scene.now, fresh=True)
    scene.wait(TIMEOUT - 1)
    assert {state for _, _, state, _ in scene.shown()} == {"held"}
    scene.beat("", "x")
    scene.wait(1)
    assert scene.shown()[0] == ("/a", "u", "orphaned", ("file",))
    scene.agents.lose(source(""))
    scene.board.lost("")
    scene.wait(TIMEOUT)
    scene.board.rejudge_all()
    assert scene.shown()[0] == ("/a", "u", "orphaned", ("file",))  # it was so before
    assert [one for one in scene.events() if one[0] == "claim.orphaned"] == [("claim.orphaned", "u")]


class Model(RuleBasedStateMachine):
    """Let claims, agents and available tasks come and go; compare the counts with a naive recount."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.mirror = TaskMirror(self.scene.board)
        self.claims: dict[tuple[str, str], str | None] = {}
        self.free: set[tuple[str, str]] = set()

    @rule(
        path=st.sampled_from(PATHS),
        task=st.sampled_from(TASKS),
        holder=st.sampled_from(["x", "y", None, "-"]),
    )
    def claim(self, path: str, task: str, holder: str | None) -> None:
        self.scene.claim(path, task, holder)
        self.claims.pop((path, task), None)
        if holder != "-":
            self.claims[(path, task)] = holder

    @rule(path=st.sampled_from(PATHS), task=st.sampled_from(TASKS), there=st.booleans())
    def offer(self, path: str, task: str, there: bool) -> None:
        self.scene.board.take(path, WorkChange(available={task: there}), self.scene.now)
        (self.free.add if there else self.free.discard)((path, task))

    @rule(path=st.sampled_from(PATHS), agent_id=st.sampled_from(AGENTS))
    def beat(self, path: str, agent_id: str) -> None:
        self.scene.beat(path, agent_id)

    @rule(path=st.sampled_from(PATHS), agent_id=st.sampled_from(AGENTS))
    def leave(self, path: str, agent_id: str) -> None:
        self.scene.leave(path, agent_id)

    @rule(seconds=st.sampled_from([1.0, 130.0]))
    def wait(self, seconds: float) -> None:
        self.scene.wait(seconds)

    @rule(path=st.sampled_from(PATHS[1:]))
    def drop_and_add(self, path: str) -> None:
        self.scene.drop(path)
        self.scene.add(path)
        self.claims = {place: who for place, who in self.claims.items() if place[0] != path}
        self.free = {place for place in self.free if place[0] != path}

    def duplicates(self) -> set[str]:
        found = set()
        for (path, task), holder in self.claims.items():
            others = [who for (where, what), who in self.claims.items() if where and what == task]
            if not path and len(others) == 1 and holder in (None, others[0]):
                found.add(task)
        return found

    @invariant()
    def each_claim_counts_once(self) -> None:
        duplicates = self.duplicates()
        expected = {place for place in self.claims if place[0] or place[1] not in duplicates}
        now = self.scene.now
        counts = self.scene.board.counts(now)
        assert counts.claimed == len(expected)
        shown = [view for _, view in self.scene.list.shown(now) if view.state != "available"]
        assert {(view.workspace or "", view.task_id) for view in shown} == expected
        assert counts.orphaned == sum(view.state == "orphaned" for view in shown)
        assert len(self.scene.board.orphans) == counts.orphaned

    @rule(path=st.sampled_from(PATHS), known=st.booleans())
    def read_in_full(self, path: str, known: bool) -> None:
        """With ``known`` false, what is available could not be read."""
        claims = {task: Claim(task, who) for (where, task), who in self.claims.items() if where == path}
        free = tuple(sorted(task for where, task in self.free if where == path))
        traces = SourceTraces(path, "read", claims=claims, tasks_available=free if known else None)
        self.scene.board.take_all(path, traces, self.scene.now, fresh=False)
        if not known:
            self.mirror.check(self.scene.list, self.scene.now, [path])
            self.read_in_full(path, known=True)

    @invariant()
    def who_follows_knows_the_same_tasks(self) -> None:
        self.mirror.check(self.scene.list, self.scene.now)

    @invariant()
    def each_claim_has_the_status_of_the_agent_that_it_means_now(self) -> None:
        for _, view in self.scene.list.shown(self.scene.now):
            if view.agent_id is not None:
                key = self.scene.store.resolve(view.workspace or "", view.agent_id)
                assert view.holder_status == self.scene.store.status_of(key)
                assert view.state == "orphaned" or view.holder_status != "inactive"

    @invariant()
    def who_is_stalled_is_active_and_holds_something(self) -> None:
        self.scene.needs.problems(self.scene.now)
        holdings = self.scene.board.holdings
        for key in self.scene.store.with_activity("stalled"):
            assert self.scene.store.status_of(key) == "active"
            assert holdings.tasks_of(key)
            assert holdings.idle(key, self.scene.now) >= STALL

    @invariant()
    def each_available_task_counts_once(self) -> None:
        expected = set()
        for path, task in self.free:
            if path and ("", task) in self.claims:
                continue
            elsewhere = [where for where, what in (*self.free, *self.claims) if what == task and where]
            if not path and elsewhere:
                continue
            expected.add((path, task))
        now = self.scene.now
        assert self.scene.board.counts(now).available == len(expected)
        shown = [view for _, view in self.scene.list.shown(now, state="available")]
        assert {(view.workspace or "", view.task_id) for view in shown} == expected


TestTasksOfTwoSources: Any = Model.TestCase
TestTasksOfTwoSources.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


# Claims and lists of one source that contradict each other.


def split(scene: Scene) -> list[tuple[str | None, str, str]]:
    entries = scene.needs.entries(scene.now)
    return [(one.workspace, one.subject, one.text) for one in entries if one.kind == "split"]


@pytest.mark.parametrize("path", ["", "/a"])
def test_a_task_that_two_claims_of_one_source_give_to_two_agents_is_split(path: str) -> None:
    scene = Scene()
    for name in AGENTS:
        scene.beat(path, name)
    ends = scene.now.wall + 10
    claim = Claim("t1", "x", rivals=(Rival("y", None, ends),))
    scene.board.take(path, WorkChange({"t1": claim}), scene.now)
    assert split(scene) == [(path or None, "t1", "split: held by x and y at once")]
    scene.wait(11)
    assert split(scene) == [], "the rival's claim has ended"
    scene.board.take(path, WorkChange({"t1": replace(claim, rivals=(Rival("y", None, None),))}), scene.now)
    assert len(split(scene)) == 1
    scene.beat(path, "y", age=2 * TIMEOUT)
    scene.board.take(
        path, WorkChange({"t1": Claim("t1", "x", rivals=(Rival("nobody", None, None),))}), scene.now
    )
    assert split(scene) == [], "nobody has left no trace"
    scene.board.take(path, WorkChange({"t1": None}), scene.now)
    assert scene.board.rivalled == set()


def test_a_task_that_is_over_is_not_held_because_a_list_still_names_it() -> None:
    scene = Scene()
    scene.beat("/a", "x", "t1")
    key = AgentKey("/a", "x")
    assert scene.board.holdings.tasks_of(key) == ("t1",)
    done = Claim("t1", "x", status="completed")
    scene.board.take("/a", WorkChange({"t1": done}), scene.now)
    scene.board.settle(scene.now)
    assert scene.board.holdings.tasks_of(key) == ()
    assert scene.board.holdings.held(key, scene.now.mono).holds is False
    scene.board.take("/a", WorkChange({"t1": replace(done, agent_id="y")}), scene.now)
    scene.board.settle(scene.now)
    assert scene.board.holdings.tasks_of(key) == ("t1",), "another agent's claim says nothing of x's"
    scene.board.take_all("/a", SourceTraces("/a", "read", claims={"t1": done}), scene.now, fresh=False)
    scene.board.settle(scene.now)
    assert scene.board.holdings.tasks_of(key) == ()
    scene.board.take_all("/a", SourceTraces("/a", "read"), scene.now, fresh=False)
    scene.board.settle(scene.now)
    assert scene.board.holdings.tasks_of(key) == ("t1",), "the claim is gone"


def test_who_has_a_list_that_cannot_be_read_may_hold_anything() -> None:
    scene = Scene()
    scene.agents.see("/a", "x", tasks=None)
    scene.board.settle(scene.now)
    assert scene.board.holdings.held(AgentKey("/a", "x"), scene.now.mono).holds is None
