"""Which homes of Claude Code are found, and when."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sessions import Home
from sources import Follower
from waiting import eventually, until

from coordd.runtime.worker import Worker
from coordd.sources.base import RESCAN, UNREADABLE
from coordd.sources.claude_code import finder as finder_module
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.claude_code.homes import HomesWanted, find_homes, running_homes
from coordd.sources.claude_code.watch import Watch


@pytest.fixture
def user(tmp_path: Path) -> Path:
    user = Path(os.path.realpath(tmp_path)) / "user"
    user.mkdir()
    return user


def home(path: Path) -> Path:
    for one in ("sessions", "projects"):
        (path / one).mkdir(parents=True)
    return path


def found(wanted: HomesWanted, *running: str) -> list[str]:
    return [one.path for one in find_homes(wanted, lambda: running).found]


def test_the_usual_home_and_those_beside_it_are_found(user: Path) -> None:
    home(user / ".claude-work")
    home(user / ".claude-x")
    (user / ".claude").mkdir()
    (user / ".claude-half" / "sessions").mkdir(parents=True)
    (user / ".claude.json").write_text("{}")
    home(user / "claude-no")
    names = [os.path.basename(path) for path in found(HomesWanted(user=str(user)))]
    assert names == [".claude", ".claude-work", ".claude-x"]


def test_what_is_named_is_a_home_even_before_it_is_there(user: Path) -> None:
    wanted = HomesWanted(configured=(str(user / "later"),), environment=str(user / "env"))
    homes = find_homes(wanted, lambda: ())
    assert [(one.path, one.named) for one in homes.found] == [
        (str(user / "later"), True),
        (str(user / "env"), True),
    ]
    assert homes.parents == {str(user): {"later", "env"}}


def test_without_a_user_only_what_is_named_is_looked_for(user: Path) -> None:
    home(user / ".claude")
    assert found(HomesWanted(), str(user / ".claude")) == []
    assert found(HomesWanted(configured=(str(user / ".claude"),))) == [str(user / ".claude")]


def test_a_home_is_one_by_whatever_way_it_is_reached(user: Path) -> None:
    home(user / ".claude")
    (user / ".claude-link").symlink_to(".claude")
    wanted = HomesWanted(configured=(str(user / ".claude-link"),), user=str(user))
    assert found(wanted, str(user / ".claude-link" / ".." / ".claude")) == [str(user / ".claude")]


def test_a_running_process_names_its_home(tmp_path: Path, user: Path) -> None:
    program = tmp_path / "claude"
    shutil.copy(shutil.which("sleep") or "", program)
    environment = {"CLAUDE_CONFIG_DIR": str(home(user / "elsewhere")), "OTHER": "secret"}
    with subprocess.Popen([program, "1000"], env=environment) as child:
        try:
            eventually(lambda: str(user / "elsewhere") in running_homes())
        finally:
            child.kill()
    with subprocess.Popen([shutil.which("sleep") or "", "1000"], env=environment) as child:
        try:
            assert str(user / "elsewhere") not in running_homes()
        finally:
            child.kill()


def test_a_home_that_a_process_names_and_is_not_there_is_none(user: Path) -> None:
    assert found(HomesWanted(user=str(user)), str(user / "nowhere")) == []


Maker = Callable[..., ClaudeCodeFinder]


@pytest.fixture
async def make(user: Path) -> AsyncIterator[Maker]:
    workers = Worker("homes", replaceable=True), Worker("places", replaceable=True)
    made: list[ClaudeCodeFinder] = []

    def make(**more: object) -> ClaudeCodeFinder:
        arguments = {
            "enabled": True,
            "homes": HomesWanted(user=str(user)),
            "wanted": lambda _: True,
            "workspaces": lambda: (),
            "worker": workers[0],
            "places": workers[1],
            "watch": Watch(),
            "running": lambda: (),
        }
        made.append(ClaudeCodeFinder(**{**arguments, **more}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop()
    for worker in workers:
        worker.close()


async def paths(finder: ClaudeCodeFinder) -> list[str]:
    sources = await finder.find()
    assert sources is not None
    return [name.path for name in sources]


@pytest.mark.parametrize("name", [".claude", ".claude-work"])
async def test_a_home_that_appears_is_told(make: Maker, user: Path, name: str) -> None:
    told = asyncio.Event()
    finder = make()
    finder.start(told.set)
    assert await paths(finder) == []
    home(user / name)
    await told.wait()
    told.clear()
    if not await paths(finder):  # it was looked for before it was whole
        await told.wait()
    assert await paths(finder) == [str(user / name)]


async def test_files_beside_a_home_are_not_told(make: Maker, user: Path) -> None:
    told: list[None] = []
    finder = make()
    finder.start(lambda: told.append(None))
    await finder.find()
    (user / ".claude.json.tmp").write_text("{}")
    (user / ".claude.json.tmp").rename(user / ".claude.json")
    (user / "other").mkdir()
    (user / ".claude").mkdir()
    await until(lambda: told)
    assert len(told) == 1


async def test_a_named_home_that_is_not_there_waits_and_is_read_when_it_is(make: Maker, user: Path) -> None:
    path = user / "deep" / "home"
    finder = make(homes=HomesWanted(configured=(str(path),)))
    finder.start(lambda: None)
    sources = await finder.find()
    assert sources is not None
    (source,) = sources.values()
    follower = Follower(source)
    follower.start()
    assert (await follower.read()).state == "waiting"
    follower.told.clear()
    path.parent.mkdir()
    await until(lambda: "changed" in follower.told)
    await finder.find()
    stand_in = Home(path)
    stand_in.session("s1")
    try:
        await follower.catch_up(lambda: "s1" in follower.known)
    finally:
        stand_in.close()
        await source.stop()


async def test_a_home_stays_while_a_session_of_it_lives(make: Maker, user: Path) -> None:
    finder = make()
    finder.start(lambda: None)
    stand_in = Home(user / ".claude")
    stand_in.session("s1")
    sources = await finder.find()
    assert sources is not None
    (source,) = sources.values()
    follower = Follower(source)
    follower.start()
    await follower.read()
    (user / ".claude").rename(user / "away")
    assert await paths(finder) == [str(user / ".claude")]
    (user / "away").rename(user / ".claude")
    stand_in.close()
    await follower.read()
    (user / ".claude").rename(user / "away")
    assert await paths(finder) == []
    await source.stop()


async def test_it_can_be_turned_off(make: Maker, user: Path) -> None:
    home(user / ".claude")
    finder = make(enabled=False)
    finder.start(lambda: None)
    assert await paths(finder) == []
    assert finder.interval == RESCAN


async def test_a_file_system_that_hangs_leaves_what_is_known(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder_module, "READ_DEADLINE", 0.05)
    answers = threading.Event()

    def running() -> tuple[str, ...]:
        answers.wait(20)
        return ()

    finder = make(running=running)
    finder.start(lambda: None)
    assert await finder.find() is None
    assert finder.interval == UNREADABLE
    answers.set()
