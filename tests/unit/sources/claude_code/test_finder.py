"""Which homes of Claude Code are found, and when."""

from __future__ import annotations

import asyncio
import os
import pwd
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sessions import Home
from sources import Follower
from waiting import until

from coordd.host.processes import glance
from coordd.runtime.worker import Worker
from coordd.sources.base import RESCAN, UNREADABLE, SourceLost
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.sessions import search as search_module
from coordd.sources.sessions import source as source_module
from coordd.sources.sessions import users as users_module
from coordd.sources.sessions.homes import MAX_OF_ONE, Candidate, HomesWanted, Look, look_at
from coordd.sources.sessions.watch import Watch


@pytest.fixture
def user(tmp_path: Path) -> Path:
    user = Path(os.path.realpath(tmp_path)) / "user"
    user.mkdir()
    return user


def home(path: Path) -> Path:
    for one in ("sessions", "projects"):
        (path / one).mkdir(parents=True)
    return path


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


@pytest.fixture
def everybody(tmp_path: Path) -> Path:
    users = Path(os.path.realpath(tmp_path)) / "users"
    for name in ("ann", "bob"):
        (users / name).mkdir(parents=True)
    return users


async def test_homes_of_everybody_are_found_and_awaited(make: Maker, everybody: Path) -> None:
    told = asyncio.Event()
    finder = make(homes=HomesWanted(users=str(everybody)))
    finder.start(told.set)
    home(everybody / "ann" / ".claude")
    home(everybody / "bob" / ".claude-work")
    (everybody / "notes").write_text("x")
    assert await paths(finder) == [str(everybody / "ann/.claude"), str(everybody / "bob/.claude-work")]
    assert finder.interval == RESCAN, "all that may come is announced"
    told.clear()
    (everybody / "carol").mkdir()
    await told.wait()
    await finder.find()
    told.clear()
    (everybody / "carol" / ".claude").mkdir()
    await told.wait()
    assert str(everybody / "carol/.claude") in await paths(finder)


async def test_one_of_them_with_many_homes_hides_no_others(make: Maker, everybody: Path) -> None:
    finder = make(homes=HomesWanted(users=str(everybody)))
    for number in range(200):
        home(everybody / "ann" / f".claude-{number:03}")
    home(everybody / "bob" / ".claude")
    home(everybody / "bob" / ".claude-work")
    found = await paths(finder)
    assert {str(everybody / "bob/.claude"), str(everybody / "bob/.claude-work")} <= set(found)
    assert len(found) == 2 + MAX_OF_ONE
    assert finder.problems == ()


async def test_homes_that_programs_name_are_those_of_each_user(make: Maker, everybody: Path) -> None:
    no_pids = range(10_000_000, 10_000_008)
    named = {pid: str(home(everybody.parent / "far" / str(pid))) for pid in no_pids}
    finder = make(
        homes=HomesWanted(users=str(everybody)),
        running=lambda: named,
        home_of=lambda pid: named.get(pid) if pid in running else None,
    )
    running = set(named)
    first = await paths(finder)
    assert len(first) == MAX_OF_ONE, "whose these are cannot be told, so they count as one user's"
    assert await paths(finder) == first, "nothing changes while nothing has changed"
    gone = next(pid for pid, path in named.items() if path == first[0])
    running -= {gone}
    again = await paths(finder)
    assert first[0] not in again
    assert set(again) > set(first[1:])


async def test_the_directory_of_a_programs_user_is_searched_wherever_it_lies(
    make: Maker, everybody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(("", "", 0, 0, "", str(own), "")))
    own = everybody.parent / "elsewhere"
    home(own / ".claude")
    assert await paths(make(homes=HomesWanted(users=str(everybody)))) == []
    finder = make(homes=HomesWanted(users=str(everybody)), running=lambda: [os.getpid()])
    assert await paths(finder) == [str(own / ".claude")]


async def test_more_users_than_are_looked_into_are_told(
    make: Maker, everybody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users_module, "MAX_USERS", 1)
    finder = make(homes=HomesWanted(users=str(everybody)))
    await finder.find()
    (problem,) = finder.problems
    assert "users" in problem
    assert "claude_code.homes" in problem


async def test_it_can_be_turned_off(make: Maker, user: Path) -> None:
    home(user / ".claude")
    finder = make(enabled=False)
    finder.start(lambda: None)
    assert await paths(finder) == []
    assert finder.interval == RESCAN


class Hanging:
    """File systems that do not answer, below some paths."""

    def __init__(self, *paths: Path) -> None:
        self.paths = [str(path) for path in paths]
        self.answers = threading.Event()
        self.fail = False

    def __call__(self, candidate: Candidate) -> Look:
        if any(candidate.path.startswith(path) for path in self.paths):
            self.answers.wait(20)
            if self.fail:
                return Look(candidate.path, None, is_home=False, failed=True)
        return look_at(candidate)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hanging]]:
    made: list[Hanging] = []

    def hang(*paths: Path) -> Hanging:
        monkeypatch.setattr(search_module, "DEADLINE", 0.1)
        made.append(Hanging(*paths))
        monkeypatch.setattr(search_module, "look_at", made[-1])
        return made[-1]

    yield hang
    for one in made:
        one.answers.set()


async def test_a_folder_that_hangs_from_the_start_hides_no_home(
    make: Maker, user: Path, hang: Callable[..., Hanging]
) -> None:
    home(user / ".claude")
    home(user / ".claude-late")
    home(user / ".claude-work")
    hanging = hang(user / ".claude-late")
    told = asyncio.Event()
    finder = make()
    finder.start(told.set)
    assert await paths(finder) == [str(user / ".claude"), str(user / ".claude-work")]
    assert finder.awaited == ((str(user / ".claude-late"), "its file system does not answer"),)
    assert finder.interval == UNREADABLE
    hanging.answers.set()
    await told.wait()
    assert str(user / ".claude-late") in await paths(finder)
    assert (finder.awaited, finder.interval) == ((), RESCAN)


async def test_what_hung_is_looked_at_as_it_is_then(
    make: Maker, user: Path, hang: Callable[..., Hanging]
) -> None:
    """The look that hung may fail in the end, as on a file system that was given up."""
    late = user / ".claude-late"
    late.mkdir()
    hanging = hang(late)
    told = asyncio.Event()
    finder = make()
    finder.start(told.set)
    assert await paths(finder) == []
    hanging.fail = True
    hanging.answers.set()
    await told.wait()
    assert (await paths(finder), finder.interval) == ([], UNREADABLE)
    hanging.fail = False
    home(late)
    assert (await paths(finder), finder.interval) == ([str(late)], RESCAN)


async def test_a_home_that_begins_to_hang_stays(
    make: Maker, user: Path, hang: Callable[..., Hanging]
) -> None:
    home(user / ".claude")
    home(user / ".claude-work")
    finder = make()
    finder.start(lambda: None)
    both = await paths(finder)
    hang(user / ".claude-work")
    assert await paths(finder) == both
    home(user / ".claude-new")
    assert str(user / ".claude-new") in await paths(finder)
    assert finder.awaited == ()  # its source says what there is to say


async def test_a_named_home_that_hangs_is_a_source_that_cannot_be_read(
    make: Maker, user: Path, hang: Callable[..., Hanging], monkeypatch: pytest.MonkeyPatch
) -> None:
    home(user / ".claude")
    late = user / "late"
    hang(late)
    monkeypatch.setattr(source_module, "READ_DEADLINE", 0.1)
    answers = threading.Event()
    finder = make(
        homes=HomesWanted(configured=(str(late),), user=str(user)),
        remote=lambda path: answers.wait(20) and None if path == str(late) else None,
    )
    finder.start(lambda: None)
    sources = await finder.find()
    assert [name.path for name in sources] == [str(user / ".claude"), str(late)]
    usual, hung = (Follower(source) for source in sources.values())
    try:
        for one in (usual, hung):
            one.start()
        with pytest.raises(SourceLost, match="does not answer"):
            await hung.read()
        await usual.read()
    finally:
        answers.set()
        for source in sources.values():
            await source.stop()


async def test_a_home_that_hangs_delays_no_other(
    make: Maker, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each home has a thread of its own, which ends with it."""
    home(user / ".claude-a")
    home(user / ".claude-b")
    answers = threading.Event()
    finder = make(remote=lambda path: answers.wait(20) and None if path.endswith("-a") else None)
    finder.start(lambda: None)
    threads = threading.active_count()
    sources = list((await finder.find()).values())
    threads = threading.active_count()
    first, second = (Follower(source) for source in sources)
    first.start()
    second.start()
    reading = asyncio.ensure_future(first.read())
    try:
        await second.read()  # far sooner than any deadline would let it
        assert str(user / ".claude-b") in await paths(finder)
        assert not reading.done()
    finally:
        answers.set()
        await reading
        for source in sources:
            await source.stop()
    await until(lambda: threading.active_count() == threads)


async def test_a_process_that_hangs_hides_no_home(
    make: Maker, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose environment cannot be read because it holds its own memory."""
    monkeypatch.setattr(search_module, "DEADLINE", 0.1)
    answers = threading.Event()

    def home_of(pid: int) -> str | None:
        if pid == 1:
            answers.wait(20)
        return str(user / f"named-{pid}")

    home(user / "named-1")
    home(user / "named-2")
    finder = make(running=lambda: (1, 2), home_of=home_of)
    told = asyncio.Event()
    finder.start(told.set)
    assert await paths(finder) == [str(user / "named-2")]
    answers.set()
    await told.wait()
    assert sorted(await paths(finder)) == [str(user / "named-1"), str(user / "named-2")]


async def test_a_home_that_a_process_named_stays_when_that_has_ended(make: Maker, user: Path) -> None:
    """What its sessions did is still told of, and others may be started there."""
    running = [1]
    path = home(user / "named")
    finder = make(running=lambda: tuple(running), home_of=lambda _: str(path))
    finder.start(lambda: None)
    assert await paths(finder) == [str(path)]
    running.clear()
    assert await paths(finder) == [str(path)]
    path.rename(user / "away")
    assert await paths(finder) == []
    (user / "away").rename(path)
    assert await paths(finder) == []


async def test_many_folders_that_are_no_homes_hide_none(make: Maker, user: Path) -> None:
    for number in range(search_module.MAX_WATCHED + 10):
        (user / f".claude-a{number:03}").mkdir()
    home(user / ".claude-work")
    finder = make()
    finder.start(lambda: None)
    assert await paths(finder) == [str(user / ".claude-work")]
    assert finder.interval == UNREADABLE  # not all of them are watched
    assert finder.problems == ()


async def test_homes_that_are_too_many_are_said(
    make: Maker, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "MAX_HOMES", 2)
    for number in range(3):
        home(user / f".claude-{number}")
    finder = make()
    finder.start(lambda: None)
    assert len(await paths(finder)) == 2
    assert [words for words in finder.problems if "more than 2 homes" in words]
    (user / ".claude-2" / "sessions").rmdir()
    assert len(await paths(finder)) == 2
    assert finder.problems == ()


async def test_a_program_that_has_started_is_looked_for_once(make: Maker) -> None:
    calls: list[None] = []
    finder = make()
    finder.start(lambda: calls.append(None))
    seen = glance(os.getpid())
    assert seen is not None
    finder.started([replace(seen, name="sleep"), replace(seen, name="claude", uid=os.geteuid() + 1)])
    assert calls == []
    finder.started([replace(seen, name="claude")])
    finder.started([replace(seen, name="claude")])
    assert len(calls) == 1
    finder.started([replace(seen, name="claude", process=seen.process._replace(start=1))])
    assert len(calls) == 2, "another one with the same pid"
