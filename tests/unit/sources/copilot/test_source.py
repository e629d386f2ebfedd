"""How soon and of what a home's source tells, with real processes that lock real folders."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from played_copilot import MODEL, VERSION, CopilotHome, PlayedCopilot, copilot_home
from sources import Follower

from coordd.agents.session import Session
from coordd.host.processes import glance
from coordd.runtime.pace import SHARE
from coordd.runtime.worker import Worker
from coordd.sources.base import POLL, RESCAN
from coordd.sources.copilot import sessions as sessions_module
from coordd.sources.copilot.source import CopilotSource
from coordd.sources.sessions import keyed
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks /proc")


class Scene:
    """A home and its source, which is followed."""

    def __init__(self, home: CopilotHome, watch: Watch, workers: tuple[Worker, Worker]) -> None:
        self.home = home
        self._watch, self._workers = watch, workers
        self.source = self.another()
        self.follower = Follower(self.source)

    def another(self, wanted: Callable[[Place], bool] = lambda _: True) -> CopilotSource:
        return CopilotSource(
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
    with copilot_home(directory / ".copilot") as home:
        one = Scene(home, watch, workers)
        yield one
        await one.source.stop()
        watch.close()
        workers[1].close()


async def test_a_session_from_its_lock_to_its_end(scene: Scene) -> None:
    await scene.start()
    one = scene.home.session("s1")
    one.prompt()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    assert (found.kind, found.session_id, found.process) == ("copilot", "s1", one.process)
    assert (found.version, found.project, found.ties) == (VERSION, str(scene.home.work), True)
    assert found.turn is not None and found.turn.model == MODEL
    call = one.call()
    await scene.becomes("s1", lambda s: s.turn and s.turn.calls)
    one.event("permission.requested", requestId="r", permissionRequest={})
    waits = await scene.becomes("s1", lambda s: s.declared == "waiting")
    assert waits.waiting_for == "permission prompt" and waits.declared_at is not None
    one.event("permission.completed", requestId="r")
    one.result(call)
    one.finish()
    await scene.becomes("s1", lambda s: s.declared is None and s.turn and s.turn.open is False)
    one.exit()
    ended = await scene.becomes("s1", lambda s: not s.lives)
    assert not ended.present and ended.turn is not None and ended.turn.open is False
    assert scene.source.interval == RESCAN


async def test_before_anything_is_said_it_is_idle_where_its_process_works(scene: Scene) -> None:
    await scene.start()
    one = PlayedCopilot(scene.home, "s1", scene.home.holder())
    one.lock()
    found = await scene.becomes("s1", lambda s: s.turn)
    assert found.turn is not None and found.turn.open is False
    assert (found.project, found.version) == (str(scene.home.work), None)
    one.begin(context={"cwd": str(scene.home.path)})
    one.prompt()
    found = await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    await scene.becomes("s1", lambda s: s.project == str(scene.home.path) and s.version == VERSION)


async def test_one_that_was_killed_has_its_lock_there(scene: Scene) -> None:
    await scene.start()
    one = scene.home.session("s1")
    one.prompt()
    await scene.becomes("s1", lambda s: s.turn and s.turn.open)
    one.holder.kill()
    await scene.follower.reread("s1")
    ended = scene.session("s1")
    assert ended is not None and ended.present and not ended.lives


async def test_one_that_is_killed_while_it_waits_waits_no_more(scene: Scene) -> None:
    one = scene.home.session("s1")
    one.prompt()
    one.event("permission.requested", requestId="r")
    await scene.start()
    await scene.becomes("s1", lambda s: s.declared == "waiting")
    one.holder.kill()
    await scene.follower.reread("s1")
    ended = scene.session("s1")
    assert ended is not None and ended.declared is None and ended.waiting_for is None


async def test_a_ghost_is_no_session(scene: Scene) -> None:
    one = scene.home.session("s1")
    one.prompt()
    one.holder.kill()
    other = PlayedCopilot(scene.home, "s2", scene.home.holder())
    other.lock()
    other.holder.tell("close", other.hold_path)
    await scene.start()
    assert not scene.follower.known


async def test_a_process_goes_on_in_another_session_and_back(scene: Scene) -> None:
    await scene.start()
    first = scene.home.session("s1")
    await scene.becomes("s1", lambda s: s.lives)
    first.unlock()
    scene.home.session("s2", by=first.holder)
    gone = await scene.becomes("s1", lambda s: not s.lives)
    assert not gone.present
    await scene.becomes("s2", lambda s: s.lives)
    first.lock()
    await scene.becomes("s1", lambda s: s.lives and s.present)


async def test_an_old_session_that_is_taken_up_is_told_by_the_lock_of_the_program(scene: Scene) -> None:
    old = scene.home.session("old")
    old.exit()
    await scene.start()
    assert not scene.follower.known
    again = PlayedCopilot(scene.home, "old", scene.home.holder())
    again.lock()
    await scene.becomes("old", lambda s: s.lives)


async def test_a_new_folder_is_looked_into_until_it_is_locked(scene: Scene) -> None:
    """Older builds tell nobody when they lock one."""
    scene.home.locks.rmdir()
    await scene.start()
    one = PlayedCopilot(scene.home, "s1", scene.home.holder())
    await scene.follower.catch_up(lambda: scene.source.due is not None)
    one.lock_path.write_text("x")
    await scene.becomes("s1", lambda s: s.lives)
    await scene.follower.catch_up(lambda: scene.source.due is None)


async def test_two_processes_in_one_session_are_two_agents(scene: Scene) -> None:
    one = scene.home.session("s1")
    await scene.start()
    other = PlayedCopilot(scene.home, "s1", scene.home.holder())
    other.lock()
    name = f"s1~{other.process.pid}"
    found = await scene.becomes(name, lambda s: s.lives)
    assert (found.session_id, found.ties) == ("s1", False)
    one.exit()
    await scene.becomes("s1", lambda s: not s.lives)
    await scene.becomes(name, lambda s: s.lives)


async def test_one_that_is_taken_up_by_another_process_is_the_same_agent(scene: Scene) -> None:
    one = scene.home.session("s1")
    one.prompt()
    await scene.start()
    one.holder.kill()
    again = PlayedCopilot(scene.home, "s1", scene.home.holder())
    again.lock()
    found = await scene.becomes("s1", lambda s: s.process == again.process)
    assert found.lives and set(scene.follower.known) == {"s1"}


async def test_events_of_another_format_are_told_of(scene: Scene) -> None:
    await scene.start()
    one = PlayedCopilot(scene.home, "s1", scene.home.holder())
    one.path.write_text('{"type": "other"}\n' * 30)
    one.lock()
    found = await scene.becomes("s1", lambda s: s.turn and not s.turn.recognised)
    assert found.project == str(scene.home.work)
    assert scene.source.report.unrecognised == {"?"}


async def test_events_that_are_no_file_are_malformed(scene: Scene) -> None:
    (scene.home.path / "secret").write_text('{"type":"session.start","data":{"copilotVersion":"9.9.9"}}\n')
    one = PlayedCopilot(scene.home, "s1", scene.home.holder())
    one.path.symlink_to(scene.home.path / "secret")
    one.lock()
    await scene.start()
    assert [str(one.path)] == list(scene.follower.malformed)
    found = scene.session("s1")
    assert found is not None and found.version is None


async def test_sessions_of_other_projects_are_not_shown(scene: Scene) -> None:
    scene.home.session("s1")
    scene.home.session("s2", context={"cwd": str(scene.home.path)})
    source = scene.another(lambda place: place.workspace == str(scene.home.path))
    follower = Follower(source)
    follower.start()
    await follower.read()
    assert set(follower.known) == {"s2"}
    source.lost("")


async def test_more_sessions_than_are_read_are_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed, "MAX_SESSIONS", 2)
    for name in ("s1", "s2", "s3"):
        scene.home.session(name)
    scene.follower.start()
    traces = await scene.follower.read()
    assert len(traces.agents) == 2 and "more than 2 sessions" in traces.over_limit["sessions"]


async def test_more_folders_than_are_looked_into_are_said(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_FOLDERS", 2)
    for name in ("s1", "s2", "s3"):
        (scene.home.sessions / name).mkdir()
    scene.follower.start()
    traces = await scene.follower.read()
    assert "more than 2 folders" in traces.over_limit["sessions"]


async def test_the_ones_that_ended_first_give_way(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed, "MAX_ENDED", 2)
    played = [scene.home.session(f"s{n}") for n in range(4)]
    await scene.start()
    for one in played:
        one.exit()
    await scene.follower.catch_up(lambda: len(scene.follower.known) == 2)
    assert not any(scene.follower.is_present(name) for name in scene.follower.known)


async def test_a_home_that_takes_long_to_read_is_polled_less_often(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look into each folder there ever was may be much, and is a twentieth of the time at most."""
    look = sessions_module.Sessions.look_at_all
    cost = 2 * POLL / SHARE

    def slow(self: sessions_module.Sessions, wall: float) -> None:
        ends = time.monotonic() + cost
        while time.monotonic() < ends:
            pass
        look(self, wall)

    monkeypatch.setattr(sessions_module.Sessions, "look_at_all", slow)
    scene.source._watch.close()
    await scene.start()
    assert scene.source.interval >= 2 * POLL
    monkeypatch.undo()
    await scene.follower.read()
    assert scene.source.interval < 2 * POLL


async def test_what_cannot_be_watched_is_polled(scene: Scene) -> None:
    await scene.start()
    assert scene.source.interval == RESCAN
    scene.source._watch.close()
    scene.source.look_again()
    await scene.source.follow()
    assert scene.source.interval == POLL
