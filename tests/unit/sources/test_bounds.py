"""Whatever strangers pile up: it is bounded over all workspaces, and the rest is counted and said."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from agents import REDIS, Agents, state_of
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.key import AgentKey
from coordd.agents.observation import Observation
from coordd.agents.traces import AgentTraces, Claim, Progress, SourceTraces, WorkChange
from coordd.intake.trace_log import MAX_MALFORMED, TraceLog, found_all, found_some
from coordd.runtime.clocks import Moment
from coordd.sources.bounds import Bounds, Budget, weight
from coordd.sources.file import trace_folder as folders
from coordd.sources.file.hints import WorkFile
from coordd.sources.file.reader import WorkspaceReader
from coordd.sources.redis.agents import Agents as RedisAgents
from coordd.sources.redis.departures import Departures
from coordd.sources.redis.problems import Problems
from coordd.sources.redis.work import Claims, TaskProgress
from coordd.tasks.board import Board
from coordd.tasks.work import MAX_GONE, SourceTasks
from coordd.util.slices import SLICE

LIMITS = {"agents": 3, "files": 6, "claims": 3, "progress": 3, "listed": 5, "offered": 3, "text": 2000}
WIDE = "\N{GRINNING FACE}" * 256  # the longest text of a field, at four bytes a character


def small(**limits: int) -> Bounds:
    return Bounds(**{name: Budget(limit) for name, limit in {**LIMITS, **limits}.items()})


def untouched(bounds: Bounds) -> bool:
    return all(getattr(bounds, name).left == getattr(bounds, name).limit for name in LIMITS)


def project(root: Path) -> Path:
    for name in ("agents", "claims", "status", "tasks"):
        (root / ".claude" / "coordination" / name).mkdir(parents=True)
    return root / ".claude" / "coordination"


def test_a_list_of_a_megabyte_is_named_in_part_and_counted_in_full(tmp_path: Path) -> None:
    agents = project(tmp_path) / "agents"
    content = "".join(f"{number}\n" for number in range(150_000))
    assert len(content) < 1 << 20
    (agents / "a.tasks").write_text(content)
    traces = WorkspaceReader(str(tmp_path)).scan(0.0).agents["a"]
    assert (len(traces.tasks or ()), traces.unnamed_tasks) == (10_000, 140_000)


def test_all_lists_of_all_workspaces_share_one_bound_and_counts_stay_right(tmp_path: Path) -> None:
    bounds = small(agents=100, files=100)
    readers = []
    for name in ("one", "two"):
        agents = project(tmp_path / name) / "agents"
        for agent in ("a", "b"):
            (agents / f"{agent}.tasks").write_text("1\n2\n3\n")
        readers.append(WorkspaceReader(str(tmp_path / name), bounds=bounds))
    found = [traces for reader in readers for traces in reader.scan(0.0).agents.values()]
    assert sum(len(one.tasks or ()) for one in found) == 5
    assert [len(one.tasks or ()) + one.unnamed_tasks for one in found] == [3, 3, 3, 3]
    (tmp_path / "one" / ".claude" / "coordination" / "agents" / "a.tasks").unlink()
    (tmp_path / "one" / ".claude" / "coordination" / "agents" / "b.tasks").unlink()
    readers[0].scan(0.0)
    for agent in ("a", "b"):  # there is room again, for whoever writes
        (tmp_path / "two" / ".claude" / "coordination" / "agents" / f"{agent}.tasks").write_text("1\n2\n4\n")
    found = list(readers[1].scan(1.0).agents.values())
    assert sum(len(one.tasks or ()) for one in found) == 5


def test_names_in_active_list_count_as_agents(tmp_path: Path) -> None:
    bounds = small(listed=100)
    agents = project(tmp_path) / "agents"
    (agents / "active.list").write_text("".join(f"{number}\n" for number in range(20)))
    traces = WorkspaceReader(str(tmp_path), bounds=bounds).scan(0.0)
    assert len(traces.agents) == 3
    assert "17 more" in traces.over_limit["agents"]


def test_agents_beyond_the_bound_are_said_and_come_in_when_others_leave(tmp_path: Path) -> None:
    bounds = small(files=100)
    readers = []
    for name in ("one", "two"):
        agents = project(tmp_path / name) / "agents"
        for agent in ("a", "b"):
            (agents / f"{agent}.heartbeat").touch()
        readers.append(WorkspaceReader(str(tmp_path / name), bounds=bounds))
    first, second = (reader.scan(0.0) for reader in readers)
    assert (len(first.agents), first.over_limit) == (2, {})
    assert len(second.agents) == 1
    assert "1 more" in second.over_limit["agents"]
    assert readers[1].read({"a", "b"}).agents.keys() == {"a", "b"}  # a hint makes no room
    shutil.rmtree(tmp_path / "one" / ".claude" / "coordination" / "agents")
    (tmp_path / "one" / ".claude" / "coordination" / "agents").mkdir()
    readers[0].scan(1.0)
    second = readers[1].scan(1.0)
    assert (len(second.agents), second.over_limit) == (2, {})


def test_claims_and_progress_beyond_the_bound_are_unknown_not_few(tmp_path: Path) -> None:
    coordination = project(tmp_path)
    reader = WorkspaceReader(str(tmp_path), bounds=small())
    for number in range(3):
        (coordination / "claims" / f"{number}.claim").write_text('{"agent_id": "a"}')
        (coordination / "status" / f"{number}.progress").write_text('{"progress": 1}')
    traces = reader.scan(0.0)
    assert (len(traces.claims or ()), len(traces.progress or ()), traces.over_limit) == (3, 3, {})
    (coordination / "claims" / "3.claim").touch()
    (coordination / "status" / "3.progress").touch()
    traces = reader.scan(0.0)
    assert (traces.claims, traces.progress, traces.tasks_available) == (None, None, None)
    assert traces.over_limit.keys() == {"claims", "status"}
    assert {str(coordination / "claims"), str(coordination / "status")} <= traces.malformed.keys()
    (coordination / "claims" / "0.claim").unlink()
    (coordination / "status" / "3.progress").unlink()
    traces = reader.scan(0.0)
    assert ((traces.claims or {}).keys(), traces.over_limit) == ({"1", "2", "3"}, {})


def test_texts_are_bounded_as_well(tmp_path: Path) -> None:
    coordination = project(tmp_path)
    reader = WorkspaceReader(str(tmp_path), bounds=small())
    (coordination / "claims" / "0.claim").write_text(json.dumps({"description": "d" * 900}))
    assert (reader.scan(0.0).claims or {}).keys() == {"0"}
    (coordination / "claims" / "1.claim").write_text(json.dumps({"description": "d" * 900}))
    (coordination / "agents" / "a.active").write_text(json.dumps({"status": WIDE, "hostname": WIDE}))
    traces = reader.scan(0.0)
    assert traces.claims is not None
    assert traces.over_limit.keys() == {"agents"}
    (coordination / "claims" / "2.claim").write_text(json.dumps({"description": "d" * 900}))
    assert "claims" in reader.scan(0.0).over_limit


def test_available_tasks_beyond_the_bound_are_counted(tmp_path: Path) -> None:
    coordination = project(tmp_path)
    reader = WorkspaceReader(str(tmp_path), bounds=small())
    for number in range(10):
        (coordination / "tasks" / str(number)).touch()
    traces = reader.scan(0.0)
    assert (len(traces.tasks_available or ()), traces.available_unnamed) == (3, 7)
    assert "7 tasks" in traces.over_limit["tasks"]


def test_a_text_weighs_the_same_before_and_after_it_was_sent() -> None:
    claim = Claim("t", description="".join(["ü"] * 900), status="x")
    before = weight(claim)
    msgspec.json.encode(claim)  # leaves the encoded text with the string
    assert weight(claim) == before > 0


changes = st.lists(
    st.tuples(
        st.sampled_from(["agents/a.tasks", "agents/b.tasks", "agents/a.active", "agents/c.heartbeat"])
        | st.sampled_from(["agents/active.list", "claims/a.claim", "claims/b.json", "claims/c.claim"])
        | st.sampled_from(
            ["claims/d.claim", "status/a.progress", "status/b.progress", "tasks/a", "tasks/b.md"]
        )
        | st.sampled_from(["tasks/c", "tasks/d", "agents/d.heartbeat", "agents/e.heartbeat"]),
        st.none()
        | st.sampled_from(["", "1\n2\n3\n", "1\n", "1\n2\n3\n4\n5\n6\n7\n"])
        | st.integers(0, 1000).map(lambda size: json.dumps({"description": "x" * size, "status": "s" * 20})),
        st.booleans(),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=150)
@given(changes)
def test_what_was_taken_is_given_back_whatever_happens(played: list[tuple[str, str | None, bool]]) -> None:
    with TemporaryDirectory() as directory:
        coordination, bounds = project(Path(directory)), small()
        reader = WorkspaceReader(directory, bounds=bounds)
        for number, (name, content, partly) in enumerate(played):
            path = coordination / name
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(content)
            folder, _, file = name.partition("/")
            if partly:
                reader.read({file if folder == "agents" else WorkFile(folder, file)})
            else:
                reader.scan(float(number))
            assert all(getattr(bounds, one).left >= 0 for one in LIMITS)
        for folder in ("agents", "claims", "status", "tasks"):
            shutil.rmtree(coordination / folder)
            (coordination / folder).mkdir()
        traces = reader.scan(0.0)
        assert traces == SourceTraces(directory, "read")
        assert untouched(bounds)


def test_a_scan_that_fails_halfway_gives_back_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents, bounds = project(tmp_path) / "agents", small(agents=10)
    reader = WorkspaceReader(str(tmp_path), bounds=bounds)
    for number in range(4):
        (agents / f"{number}.tasks").write_text("t\n")
    real = folders.read_regular
    calls = iter(range(100))

    def fails(folder: int, name: str, limit: int) -> Any:
        if next(calls) == 2:
            raise RuntimeError
        return real(folder, name, limit)

    monkeypatch.setattr(folders, "read_regular", fails)
    with pytest.raises(RuntimeError):
        reader.scan(0.0)
    monkeypatch.setattr(folders, "read_regular", real)
    assert len(reader.scan(0.0).agents) == 4
    for path in agents.iterdir():
        path.unlink()
    reader.scan(0.0)
    assert untouched(bounds)


def test_a_long_reading_says_that_it_goes_on(tmp_path: Path) -> None:
    agents = project(tmp_path) / "agents"
    for number in range(folders.KEEPALIVE_EVERY * 3):
        (agents / f"{number}.heartbeat").touch()
    signs: list[None] = []
    WorkspaceReader(str(tmp_path), keepalive=lambda: signs.append(None)).scan(0.0)
    assert len(signs) >= 3


# Redis: the values that its answers make.


def test_in_redis_texts_are_bounded_and_given_back() -> None:
    text = Budget(3000)
    claims, progress = Claims(limit=100, text=text), TaskProgress(limit=100, text=text)
    claims.begin()
    progress.begin()
    assert claims.put(0, "a", Claim("a", "x", description="d" * 900))
    assert progress.put("a", Progress("a", message="m" * 900))
    assert not claims.put(1, "b", Claim("b", "x", description="d" * 1200))
    assert not progress.put("b", Progress("b", message="m" * 1200))
    assert claims.truncated
    assert progress.truncated
    assert (claims.merged.keys(), progress.by_task.keys()) == ({"a"}, {"a"})
    assert claims.put(0, "a", Claim("a", "x", description="e" * 5000))  # and gone it is
    assert claims.put(0, "a", None) is False
    assert progress.put("a", None)
    assert text.left == 3000


def test_in_redis_agents_share_the_bound_with_the_files_and_registrations_that_of_texts() -> None:
    bounds = small()
    agents = RedisAgents(limit=100, bounds=bounds)
    assert bounds.agents.take(2)  # those in files
    agents.begin_registry()
    agents.register("a", json.dumps({"status": WIDE, "hostname": WIDE}).encode(), 0.0)
    agents.register("b", b"{}", 0.0)
    assert agents.truncated
    assert agents.traces.keys() == {"a"}
    registration = agents.traces["a"].registration
    assert registration is not None
    assert registration.status is None
    agents.register("a", json.dumps({"status": "c"}).encode(), 0.0)
    agents.begin_registry()
    agents.end_registry()
    bounds.agents.give(2)
    assert untouched(bounds)


def test_problems_beyond_the_bound_are_counted() -> None:
    problems = Problems(limit=2)
    problems.begin()
    for number in range(5):
        problems.note(b"heartbeat:%d" % number, "not a timestamp")
    assert (len(problems.end()), problems.unnamed) == (2, 3)
    problems.begin()
    assert (problems.end(), problems.unnamed) == ({}, 0)


def test_names_that_live_for_a_second_are_not_remembered_for_a_day() -> None:
    known: dict[str, Observation] = {}
    departures = Departures(known=known, max_silent=3)
    for number in range(10):
        agent_id = f"a{number}"
        traces = AgentTraces(agent_id)
        known[agent_id] = Observation(REDIS, AgentKey("", agent_id), traces)
        found = departures.of_some({agent_id: None})[agent_id]
        assert found is (None if number >= 3 else traces)
        if number >= 3:
            del known[agent_id]
    assert departures.full
    del known["a0"]
    departures.of_all({}, first=False)
    assert not departures.full
    departures.of_some({"a1": AgentTraces("a1")})  # it is back
    assert not departures.full


# What is shown of it.


def test_malformed_traces_are_named_up_to_a_bound_logged_up_to_another_and_all_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordd.intake.trace_log._MAX_LOGGED", 50)
    state, log = state_of("/w"), TraceLog()
    with caplog.at_level(logging.WARNING):
        for start in range(0, 3 * MAX_MALFORMED, 100):
            found_some(state, {f"/w/{number}": "bad" for number in range(start, start + 100)})
            log.note(state)
            log.note(state)
    assert (len(state.malformed), state.malformed_unnamed) == (MAX_MALFORMED, 2 * MAX_MALFORMED)
    assert len(caplog.records) == 51
    found_all(state, SourceTraces("/w", "read"))
    assert (state.malformed, state.malformed_unnamed) == ({}, 0)


class Scene:
    """A board over one workspace, at a time that only the test moves."""

    def __init__(self) -> None:
        self.agents = Agents("/w")
        self.board = Board(store=self.agents.store)
        self.agents.store.on_change = self.board.touched

    @property
    def now(self) -> Moment:
        return self.agents.now

    def wait(self, seconds: float) -> None:
        self.agents.mono += seconds

    def show(self, agent_id: str, **traces: Any) -> None:
        self.agents.see("/w", agent_id, **traces)

    def read(self, **traces: Any) -> None:
        self.board.take_all("/w", SourceTraces("/w", "read", **traces), self.now, fresh=False)


def test_a_claim_of_an_agent_that_found_no_room_is_not_orphaned() -> None:
    scene = Scene()
    scene.agents.store.workspaces["/w"].over_limit = {"agents": "more than there is room for"}
    scene.read(claims={"t": Claim("t", "unseen")})
    for _ in range(5):
        scene.wait(100)
        assert scene.board.counts(scene.now).orphaned == 0
    scene.agents.store.workspaces["/w"].over_limit = {}
    scene.board.rejudge_all()
    scene.board.settle(scene.now)
    scene.wait(121)
    assert scene.board.counts(scene.now).orphaned == 1


def test_an_agent_with_tasks_that_have_no_name_here_is_not_stalled_but_unknown() -> None:
    scene = Scene()
    scene.read()
    scene.show("a", tasks=("t",), unnamed_tasks=5)
    scene.show("b", tasks=("t",))
    scene.board.settle(scene.now)
    scene.wait(901)
    scene.show("a", tasks=("t",), unnamed_tasks=5)
    scene.show("b", tasks=("t",))
    scene.board.settle(scene.now)
    assert scene.agents.store.with_activity("stalled") == [("/w", "b")]
    assert not scene.board.holdings.knows(AgentKey("/w", "a"))


def test_a_full_reading_is_taken_over_in_steps_and_tells_nothing_before_its_end() -> None:
    scene = Scene()
    for agent in range(3):
        scene.show(f"a{agent}")
    claims = {f"t{number}": Claim(f"t{number}", f"a{number % 3}") for number in range(3 * SLICE)}
    traces = SourceTraces("/w", "read", claims=claims)
    steps = 0
    for _ in scene.board.take_in_slices("/w", traces, lambda: scene.now, fresh=True):
        steps += 1
        if steps <= 3:
            assert scene.board.counts(scene.now).claimed is None
    assert steps >= 6
    assert scene.board.counts(scene.now).claimed == 3 * SLICE
    for _ in scene.board.take_in_slices("/w", SourceTraces("/w", "read"), lambda: scene.now, fresh=False):
        assert scene.board.counts(scene.now).claimed is not None  # known all the while


def test_a_workspace_that_is_lost_in_the_middle_of_a_reading_stays_lost() -> None:
    scene = Scene()
    claims = {f"t{number}": Claim(f"t{number}", "a") for number in range(3 * SLICE)}
    traces = SourceTraces("/w", "read", claims=claims)
    steps = scene.board.take_in_slices("/w", traces, lambda: scene.now, fresh=True)
    next(steps)
    scene.board.lost("/w")
    assert list(steps) == []
    assert scene.board.counts(scene.now).claimed is None
    assert not scene.board.source_tasks["/w"].read


def test_tasks_that_come_and_go_are_remembered_up_to_a_bound() -> None:
    room = SourceTasks(moved={f"t{number}": float(number) for number in range(MAX_GONE + 10)})
    room.claims["t0"] = None  # type: ignore[assignment]  # that it is there is all that counts
    room.prune(-1.0)
    assert len(room.moved) == MAX_GONE + 1
    assert {"t0", f"t{MAX_GONE + 9}"} <= room.moved.keys()
    assert "t5" not in room.moved


def test_a_change_without_claims_is_taken_over_too() -> None:
    scene = Scene()
    scene.read(progress={"t": Progress("t", 5.0)}, tasks_available=("x",))
    assert scene.board.counts(scene.now).available == 1
    scene.board.take("/w", WorkChange(progress={"t": None}), scene.now)
    assert scene.board.source_tasks["/w"].progress == {}
