"""Test that folders of hooks are found where they are, and noticed as soon as they appear."""

from __future__ import annotations

import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from waiting import until

from coordd.runtime.worker import Worker
from coordd.sources.hooks.finder import HooksFinder, folders_of
from coordd.sources.sessions.watch import Watch

TOLD: list[str] = []


@pytest.fixture
async def finder(tmp_path: Path) -> AsyncIterator[HooksFinder]:
    worker = Worker("finder")
    one = HooksFinder(
        folders=[str(tmp_path / name / "coordd/hooks") for name in ("one", "other")],
        worker=worker,
        watch=Watch(),
    )
    TOLD.clear()
    one.start(lambda: TOLD.append("changed"))
    yield one
    one.stop()
    worker.close()


async def found(finder: HooksFinder) -> list[str]:
    sources = await finder.find()
    assert sources is not None
    return [name.path for name in sources]


@pytest.mark.parametrize("exists", ["", "one", "one/coordd"])
async def test_a_folder_is_noticed_as_it_appears(finder: HooksFinder, tmp_path: Path, exists: str) -> None:
    (tmp_path / exists).mkdir(parents=True, exist_ok=True)
    assert await found(finder) == []
    folder = tmp_path / "one/coordd/hooks"
    folder.mkdir(parents=True)

    async def seen() -> bool:
        await until(lambda: bool(TOLD))
        TOLD.clear()
        return await found(finder) == [str(folder)]

    while not await seen():
        pass
    first = await finder.find()
    assert first == await finder.find()
    shutil.rmtree(tmp_path / "one")
    assert await found(finder) == []


async def test_what_else_appears_is_passed_over(finder: HooksFinder, tmp_path: Path) -> None:
    (tmp_path / "one/coordd").mkdir(parents=True)
    await finder.find()
    (tmp_path / "one/coordd/snapshot.json").touch()
    (tmp_path / "one/coordd/hooks").mkdir()
    await until(lambda: bool(TOLD))
    assert TOLD == ["changed"]


async def test_two_ways_to_one_folder_are_one(finder: HooksFinder, tmp_path: Path) -> None:
    (tmp_path / "one/coordd/hooks").mkdir(parents=True)
    (tmp_path / "other").symlink_to("one")
    assert await found(finder) == [str(tmp_path / "one/coordd/hooks")]


async def test_a_project_or_a_system_reads_none(tmp_path: Path) -> None:
    worker = Worker("finder")
    one = HooksFinder(folders=(), worker=worker, watch=Watch())
    one.start(lambda: None)
    assert await one.find() == {}
    one.stop()
    worker.close()


def test_where_hooks_leave_their_files() -> None:
    home = "/home/me/.local/state/coordd/hooks"
    assert folders_of({"HOME": "/home/me"}) == (home,)
    assert folders_of({"HOME": "/home/me", "XDG_STATE_HOME": "relative"}) == (home,)
    assert folders_of({"HOME": "me", "XDG_STATE_HOME": "relative"}) == ()
    assert folders_of({"HOME": "/home/me", "XDG_STATE_HOME": "/home/me/.local/state"}) == (home,)
    assert folders_of({"HOME": "/home/me", "XDG_STATE_HOME": "/s"}) == ("/s/coordd/hooks", home)


async def test_a_look_that_hangs_keeps_what_was_found_and_is_repeated_once_it_answers(
    finder: HooksFinder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one/coordd/hooks").mkdir(parents=True)
    (tmp_path / "other/coordd/hooks").mkdir(parents=True)
    before = await found(finder)
    answers = threading.Event()
    look = finder._look

    def hangs() -> list[str]:
        answers.wait(10)
        return look()

    monkeypatch.setattr(finder, "_look", hangs)
    monkeypatch.setattr("coordd.sources.hooks.finder.READ_DEADLINE", 0.05)
    TOLD.clear()
    assert await finder.find() is None
    assert TOLD == []
    answers.set()
    await until(lambda: bool(TOLD))
    monkeypatch.setattr("coordd.sources.hooks.finder.READ_DEADLINE", 5.0)
    assert await found(finder) == before
