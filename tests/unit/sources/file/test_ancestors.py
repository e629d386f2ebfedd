"""Test that moves and removals above a workspace are noticed, by the real inotify; Linux only."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from waiting import until

from coordd.sources.file.backend import FileBackend
from coordd.sources.file.hints import Hint, Signal
from coordd.sources.file.watch import Followed, Watcher
from coordd.util import inotify as ino

COORDINATION = ".claude/coordination"


class Told:
    """A watcher, and the workspaces that it asked to read in full."""

    def __init__(self) -> None:
        self.workspaces: list[str] = []
        self.searches = 0
        self.watcher = Watcher(on_hint=self._hint, on_search=self._search, remote=lambda _: None)

    def _hint(self, workspace: str, hint: Hint) -> None:
        if hint is Signal.RESCAN:
            self.workspaces.append(workspace)

    def _search(self) -> None:
        self.searches += 1

    def arm(self, path: Path) -> None:
        assert self.watcher.arm(str(path)) == Followed("inotify")

    @property
    def watched(self) -> int:
        """The watches above all workspaces that the kernel keeps."""
        ancestors = self.watcher._ancestors
        assert ancestors is not None
        return Path(f"/proc/self/fdinfo/{ancestors._backend.fd}").read_text().count("inotify wd:")


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    told = Told()
    told.watcher.start(asyncio.get_running_loop())
    yield told
    told.watcher.close()


def project(path: Path) -> Path:
    (path / COORDINATION / "agents").mkdir(parents=True)
    return path


def renamed(parent: Path) -> None:
    parent.rename(parent.with_name("old"))


def removed(parent: Path) -> None:
    shutil.rmtree(parent)


@pytest.mark.parametrize("change", [renamed, removed])
@pytest.mark.parametrize("levels", [1, 2])
async def test_an_ancestor_that_is_made_anew_is_noticed_each_time(
    told: Told, tmp_path: Path, change: Callable[[Path], None], levels: int
) -> None:
    path = tmp_path / "a" / "b" / "p"
    for _ in range(2):
        project(path)
        told.arm(path)
        told.workspaces.clear()
        change(path.parents[levels - 1])
        await until(lambda: str(path) in told.workspaces)
        shutil.rmtree(tmp_path / "old", ignore_errors=True)
        shutil.rmtree(tmp_path / "a" / "old", ignore_errors=True)


async def test_ancestors_of_where_links_lead_are_watched_as_well(told: Told, tmp_path: Path) -> None:
    project(tmp_path / "far" / "x" / "p")
    (tmp_path / "near").symlink_to(tmp_path / "far" / "x")
    told.arm(tmp_path / "near" / "p")
    shared = tmp_path / "shared" / "x" / "c"
    (shared / "agents").mkdir(parents=True)
    (tmp_path / "q" / ".claude").mkdir(parents=True)
    (tmp_path / "q" / COORDINATION).symlink_to(shared)
    told.watcher.arm(str(tmp_path / "q"), str(shared))
    (tmp_path / "far").rename(tmp_path / "old")
    await until(lambda: str(tmp_path / "near" / "p") in told.workspaces)
    (tmp_path / "shared").rename(tmp_path / "older")
    await until(lambda: str(tmp_path / "q") in told.workspaces)


async def test_what_is_above_a_pattern_is_watched_for_the_search(tmp_path: Path) -> None:
    searches: list[None] = []
    backend = FileBackend(entries=[str(tmp_path / "b" / "src" / "*")])
    backend.start(lambda *_: None, lambda: searches.append(None))
    try:
        project(tmp_path / "b" / "src" / "p")
        assert len(backend.find()) == 1
        (tmp_path / "b").rename(tmp_path / "old")
        await until(lambda: bool(searches))
        assert backend.find() == []
    finally:
        backend.close()


async def test_files_made_in_an_ancestor_wake_nobody(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / "a"
    told.arm(parent / "late")  # waits for a name in the ancestor
    project(parent / "p")
    told.arm(parent / "p")
    project(parent / "late")
    await until(lambda: str(parent / "late") in told.workspaces)
    told.arm(parent / "late")
    events: list[ino.RawEvent] = []
    parse = ino.parse_events

    def spy(buffer: bytes) -> list[ino.RawEvent]:
        found = parse(buffer)
        events.extend(found)
        return found

    monkeypatch.setattr(ino, "parse_events", spy)
    for number in range(100):
        (parent / f"{number}.txt").write_text("x")
        (tmp_path / f"{number}.txt").write_text("x")
        os.utime(parent / f"{number}.txt", (1, 1))
        (parent / f"{number}.txt").unlink()
    (parent / "p" / COORDINATION).chmod(0o700)
    told.workspaces.clear()
    deadline = time.monotonic() + 10
    while str(parent / "p") not in told.workspaces:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert not [name for _, _, name in events if name.endswith(".txt")]


async def test_shared_ancestors_are_watched_once_and_let_go_with_the_last(told: Told, tmp_path: Path) -> None:
    paths = [project(tmp_path / "a" / str(number)) for number in range(50)]
    for path in paths:
        told.arm(path)
    assert told.watched == len((tmp_path / "a" / "0").parents)
    for path in paths[:-1]:
        told.watcher.forget(str(path))
    (tmp_path / "a").rename(tmp_path / "old")
    await until(lambda: str(paths[-1]) in told.workspaces)
    assert set(told.workspaces) == {str(paths[-1])}
    told.watcher.forget(str(paths[-1]))
    assert told.watched == 0
