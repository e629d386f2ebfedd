"""How soon and of what a home's source tells, with real processes that hold real rollouts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from played_codex import CodexHome, PlayedCodex, codex_home
from sources import Follower

from coordd.agents.beats import Restored
from coordd.agents.session import Session
from coordd.host.process_facts import Process
from coordd.host.processes import glance
from coordd.runtime.worker import Worker
from coordd.sources.base import RESCAN
from coordd.sources.codex.folders import folders
from coordd.sources.codex.source import CodexSource
from coordd.sources.sessions import keyed
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks /proc")


@dataclass(frozen=True, slots=True)
class RestoredSession(Restored):
    process: Process | None = None
    session_id: str | None = None


class Scene:
    """A home and its source, which is followed."""

    def __init__(self, home: CodexHome, watch: Watch, workers: tuple[Worker, Worker]) -> None:
        self.home = home
        self._watch, self._workers = watch, workers
        self.source = self.another()
        self.follower = Follower(self.source)

    def another(self, wanted: Callable[[Place], bool] = lambda _: True) -> CodexSource:
        return CodexSource(
            str(self.home.path),
            named=False,
            worker=self._workers[0],
            places=Places(worker=self._workers[1], configured=dict),
            watch=self._watch,
            look=glance,
            wanted=wanted,
            remote=lambda _: None,
        )

    async def start(self) -> None:
        self.follower.start()
        await self.follower.read()

    def session(self, agent_id: str) -> Session | None:
        observation = self.follower.known.get(agent_id)
        return observation.session if observation is not None else None

    async def becomes(self, agent_id: str, test: Callable[[Session], object]) -> Session:
        def so() -> bool:
            found = self.session(agent_id)
            return found is not None and bool(test(found))

        await self.follower.catch_up(so)
        found = self.session(agent_id)
        assert found is not None
        return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path.resolve()


@pytest.fixture
async def scene(directory: Path) -> AsyncIterator[Scene]:
    watch = Watch()
    watch.start(asyncio.get_running_loop())
    workers = Worker("home", replaceable=True), Worker("places", replaceable=True)
    with codex_home(directory / ".codex") as home:
        one = Scene(home, watch, workers)
        yield one
        await one.source.stop()
        watch.close()
        workers[1].close()


async def test_a_session_from_its_first_line_to_its_end(scene: Scene) -> None:
    await scene.start()
    one = scene.home.session("s1")  # in the folder of a day that was not there
    one.prompt()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    assert (found.kind, found.session_id, found.process) == ("codex", "s1", one.process)
    assert (found.version, found.project, found.ties) == ("0.171.0", str(scene.home.work), True)
    assert found.turn is not None and found.turn.model == "gpt-5-codex"
    one.call()
    await scene.becomes("s1", lambda s: s.turn and s.turn.calls)
    one.finish()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open is False)
    one.holder.kill()
    ended = await scene.becomes("s1", lambda s: not s.lives)
    assert not ended.present and ended.turn is not None and ended.turn.open is False
    assert scene.source.interval == RESCAN


async def test_what_is_written_last_counts_although_it_was_closed(scene: Scene) -> None:
    await scene.start()
    one = scene.home.session("s1")
    one.prompt()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    one.exit()
    ended = await scene.becomes("s1", lambda s: not s.lives)
    assert ended.turn is not None and ended.turn.open is False


async def test_several_of_one_process_are_sessions_each(scene: Scene) -> None:
    await scene.start()
    holder = scene.home.holder()
    first, second = (scene.home.session(name, by=holder) for name in ("s1", "s2"))
    first.prompt()
    second.prompt()
    for name in ("s1", "s2"):
        found = await scene.becomes(name, lambda s: s.turn and s.turn.open)
        assert found.process == holder.process
    holder.tell("close", first.path)
    await scene.becomes("s1", lambda s: not s.lives)
    await scene.becomes("s2", lambda s: s.lives)
    holder.tell("open", first.path)
    first.line("session_meta", id="s1")
    scene.source.program_started()
    await scene.becomes("s1", lambda s: s.lives)


async def test_one_of_an_older_day_is_found_when_its_program_starts(scene: Scene) -> None:
    old = scene.home.session("old")
    old.path.rename(scene.home.day("2026/01/02") / old.path.name)
    for day in ("2026/10/31", "2026/11/28"):
        scene.home.day(day)
    old.holder.kill()
    await scene.start()
    assert not any(path.endswith("2026/01/02") for path in folders(str(scene.home.path)))
    again = PlayedCodex(scene.home, "old", scene.home.holder(), "2026/01/02")
    again.holder.tell("open", again.path)
    scene.source.program_started()
    await scene.becomes("old", lambda s: s.lives)


async def test_one_that_is_locked_is_looked_for_until_it_is_held(scene: Scene) -> None:
    """The lock comes before the rollout is opened, by a program that has been running for long."""
    (scene.home.path / "thread-writer-locks").mkdir()
    holder = scene.home.holder()
    old = PlayedCodex(scene.home, "old", holder, "2026/01/02")
    old.line("session_meta", id="old", cwd=str(scene.home.work))
    for day in ("2026/10/31", "2026/11/28"):
        scene.home.day(day)
    await scene.start()
    lock = scene.home.path / "thread-writer-locks" / "old.lock"
    holder.tell("open", lock)
    await scene.follower.catch_up(lambda: scene.source.due is not None)
    holder.tell("open", old.path)
    await scene.becomes("old", lambda s: s.lives)
    await scene.follower.catch_up(lambda: scene.source.due is None)


def _archived(home: CodexHome, rollout: Path) -> None:
    (home.path / "archived_sessions").mkdir()
    rollout.rename(home.path / "archived_sessions" / rollout.name)


def _renamed(home: CodexHome, rollout: Path) -> None:
    rollout.rename(home.path / "kept")


def _removed(home: CodexHome, rollout: Path) -> None:
    rollout.unlink()


def _moved_with_its_folder(home: CodexHome, rollout: Path) -> None:
    home.sessions.rename(home.path / "old")


def _moved_with_its_home(home: CodexHome, rollout: Path) -> None:
    home.path.rename(f"{home.path}-old")


MOVES = [_archived, _renamed, _removed, _moved_with_its_folder, _moved_with_its_home]


@pytest.mark.parametrize("move", MOVES)
async def test_one_that_is_moved_while_it_is_held_goes_on(
    scene: Scene, move: Callable[[CodexHome, Path], None]
) -> None:
    await scene.start()
    one = scene.home.session("s1")
    one.prompt()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    rollout = one.path
    one.write_by_descriptor()
    move(scene.home, rollout)
    one.call()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.calls)
    assert found.lives and found.process == one.process
    await scene.follower.read()
    one.finish()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.open is False)
    assert found.lives
    one.prompt()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    one.holder.kill()
    found = await scene.becomes("s1", lambda s: not s.lives)
    assert found.turn is not None and found.turn.open, "it was killed in its turn"


@pytest.mark.parametrize("move", [_archived, _removed, _moved_with_its_folder])
async def test_one_that_was_moved_is_known_after_a_restart(
    scene: Scene, move: Callable[[CodexHome, Path], None]
) -> None:
    one = scene.home.session("s1")
    one.prompt()
    await scene.start()
    session = scene.session("s1")
    assert session is not None
    again = Follower(scene.another())
    observation = scene.follower.known["s1"]
    again.known["s1"] = replace(
        observation, traces=None, restored=RestoredSession(process=one.process, session_id="s1")
    )
    move(scene.home, one.path)
    again.start()
    await again.read()
    found = again.known["s1"].session
    assert found is not None and found.lives and found.process == one.process


async def test_one_that_is_held_anew_elsewhere_is_read_there(scene: Scene) -> None:
    """As when it was compressed meanwhile, and is written out again."""
    await scene.start()
    one = scene.home.session("s1")
    one.prompt()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    content = one.path.read_bytes()
    one.path.unlink()
    one.path.write_bytes(content)
    one.holder.tell("open", one.path)
    scene.source.program_started()
    one.finish()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.open is False)
    assert found.lives


async def test_two_processes_in_one_session_are_two_agents(scene: Scene) -> None:
    one = scene.home.session("s1")
    await scene.start()
    other = PlayedCodex(scene.home, "s1", scene.home.holder())
    other.holder.tell("open", other.path)
    scene.source.program_started()
    name = f"s1~{other.process.pid}"
    found = await scene.becomes(name, lambda s: s.lives)
    assert (found.session_id, found.ties) == ("s1", False)
    one.holder.kill()
    await scene.becomes("s1", lambda s: not s.lives)
    await scene.becomes(name, lambda s: s.lives)


async def test_one_that_is_taken_up_by_another_process_is_the_same_agent(scene: Scene) -> None:
    one = scene.home.session("s1")
    one.prompt()
    await scene.start()
    one.holder.kill()
    await scene.becomes("s1", lambda s: not s.lives)
    again = PlayedCodex(scene.home, "s1", scene.home.holder())
    again.holder.tell("open", again.path)
    scene.source.program_started()
    found = await scene.becomes("s1", lambda s: s.lives)
    assert found.process == again.process
    assert found.turn is not None and found.turn.open in (True, False)
    assert set(scene.follower.known) == {"s1"}


async def test_a_subagent_is_work_of_its_parent_and_no_agent(scene: Scene) -> None:
    await scene.start()
    holder = scene.home.holder()
    one = scene.home.session("s1", by=holder)
    one.prompt()
    one.finish()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open is False)
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": "s1"}}}
    below = scene.home.session("sub", by=holder, source=spawned)
    below.prompt()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.background)
    assert found.turn is not None and found.turn.background[0].kind == "subagent"
    below.finish()
    await scene.becomes("s1", lambda s: s.turn and not s.turn.background)
    assert set(scene.follower.known) == {"s1"}


async def test_a_rollout_of_another_format_is_shown_by_where_its_process_works(scene: Scene) -> None:
    await scene.start()
    one = PlayedCodex(scene.home, "s1", scene.home.holder())
    one.path.write_text('{"type": "other"}\n' * 30)
    one.holder.tell("open", one.path)
    scene.source.program_started()
    found = await scene.becomes("s1", lambda s: s.turn)
    assert found.turn is not None and not found.turn.recognised
    assert found.project == str(scene.home.work)
    assert scene.source.report.unrecognised == {"?"}
    assert [str(one.path)] == list(scene.follower.malformed)


async def test_limits_stay_when_their_session_has_ended(scene: Scene) -> None:
    await scene.start()
    one = scene.home.session("s1")
    one.used(primary={"used_percent": 83, "window_minutes": 300, "resets_at": 4_000_000_000})
    await scene.follower.catch_up(lambda: scene.source.state.limits)
    one.exit()
    await scene.becomes("s1", lambda s: not s.lives)
    (limit,) = scene.source.state.limits
    assert (limit.used_percent, limit.window, limit.resets_at) == (83, 18_000, None)


async def test_more_sessions_than_are_read_are_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed, "MAX_SESSIONS", 2)
    holder = scene.home.holder()
    for name in ("s1", "s2", "s3"):
        scene.home.session(name, by=holder)
    scene.follower.start()
    traces = await scene.follower.read()
    assert len(traces.agents) == 2 and "more than 2 sessions" in traces.over_limit["sessions"]


async def test_the_ones_that_ended_first_give_way(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed, "MAX_ENDED", 2)
    holder = scene.home.holder()
    played = [scene.home.session(f"s{n}", by=holder) for n in range(4)]
    await scene.start()
    for one in played:
        holder.tell("close", one.path)
    await scene.follower.catch_up(lambda: len(scene.follower.known) == 2)
    assert not any(scene.follower.is_present(name) for name in scene.follower.known)


async def test_a_first_line_that_is_not_whole_yet_is_waited_for(scene: Scene) -> None:
    one = PlayedCodex(scene.home, "s1", scene.home.holder())
    one.holder.tell("open", one.path)
    one.append('{"type": "session_meta", "payload": ')
    await scene.start()
    assert not scene.follower.known
    one.append('{"cwd": "/elsewhere"}}\n')
    found = await scene.becomes("s1", lambda s: s.lives)
    assert found.project == "/elsewhere"


async def test_what_comes_soon_after_a_look_waits_for_the_next(scene: Scene) -> None:
    await scene.start()
    scene.home.session("s1")
    await scene.becomes("s1", lambda s: s.lives)
    assert scene.source.due is None
    scene.source.program_started()
    assert scene.source.due is not None
    scene.home.session("s2")
    await scene.becomes("s2", lambda s: s.lives)
    assert scene.source.due is None
