"""Test that a new workspace under a pattern is announced, by the real inotify on a real loop; Linux only."""

# ruff: noqa: ASYNC240  each test is alone on its loop, so it may as well block it

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from coordd.sources.file import backend as backend_module
from coordd.sources.file import search
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.hints import Hint
from coordd.sources.file.watch import Watcher
from coordd.util import inotify as ino

DEADLINE = 10.0


class Listener:
    """A started backend over patterns, which counts the calls that ask to look again."""

    def __init__(self, *entries: object) -> None:
        self.backend = FileBackend(entries=[str(entry) for entry in entries])
        self.calls = 0
        self.hints: list[tuple[str, Hint]] = []
        self.backend.start(lambda path, hint: self.hints.append((path, hint)), self._search)

    def _search(self) -> None:
        self.calls += 1

    def find(self) -> set[str]:
        return {one.path for one in self.backend.find()}

    async def hears(self, change: Callable[[], object]) -> None:
        """Make a change and wait until it is announced."""
        await self.drained()
        before = self.calls
        change()
        until = time.monotonic() + DEADLINE
        while self.calls == before:
            assert time.monotonic() < until, "nothing was announced"
            await asyncio.sleep(0.005)

    async def ignores(self, change: Callable[[], object]) -> None:
        """Make a change and wait until all events are drained; none of them may ask to look again."""
        await self.drained()
        before = self.calls
        change()
        await self.drained()
        assert self.calls == before

    async def drained(self) -> None:
        """Wait until everything that came before now has been drained: events keep their order."""
        watcher = self.backend._watcher
        assert watcher is not None
        # A chain of its own ends in a hint of its own.
        mark = Path(os.environ["MARK"])
        watcher.arm(str(mark))
        self.hints.clear()
        mark.mkdir()
        until = time.monotonic() + DEADLINE
        while not any(path == str(mark) for path, _ in self.hints):
            assert time.monotonic() < until
            await asyncio.sleep(0.005)
        watcher.forget(str(mark))
        mark.rmdir()

    @property
    def watched(self) -> int:
        """The watches that the kernel keeps for it."""
        watcher = self.backend._watcher
        assert watcher is not None
        assert watcher._backend is not None
        return Path(f"/proc/self/fdinfo/{watcher._backend.fd}").read_text().count("inotify wd:")


@pytest.fixture(autouse=True)
def mark(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", str(tmp_path_factory.mktemp("marks") / "mark"))


def listening(work: Callable[[Listener], Coroutine[Any, Any, None]], *entries: object) -> None:
    async def main() -> None:
        listener = Listener(*entries)
        try:
            await work(listener)
        finally:
            listener.backend.close()

    asyncio.run(main())


def workspace(path: Path) -> str:
    (path / ".claude" / "coordination").mkdir(parents=True, exist_ok=True)
    return str(path)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "src"
    path.mkdir()
    return path


def test_a_new_project_is_announced_and_found(src: Path) -> None:
    async def work(listener: Listener) -> None:
        assert listener.find() == set()
        await listener.hears(lambda: workspace(src / "new"))
        assert listener.find() == {str(src / "new")}

    listening(work, src / "*")


def test_a_project_is_followed_on_its_way_step_by_step(src: Path) -> None:
    async def work(listener: Listener) -> None:
        listener.find()
        for step in ("app", "app/.claude", "app/.claude/coordination"):
            await listener.hears((src / step).mkdir)
            found = listener.find()
        assert found == {str(src / "app")}
        assert listener.watched == 2  # src, and for .git the project; the rest is whoever reads it's

    listening(work, src / "*")


def test_a_link_to_a_shared_claude_folder_is_a_step_too(src: Path, tmp_path: Path) -> None:
    workspace(tmp_path / "main")
    (src / "worktree").mkdir()

    async def work(listener: Listener) -> None:
        assert listener.find() == set()
        await listener.hears(lambda: (src / "worktree" / ".claude").symlink_to(tmp_path / "main" / ".claude"))
        assert listener.find() == {str(tmp_path / "main")}
        await listener.hears((src / "worktree" / ".claude").unlink)
        assert listener.find() == set()

    listening(work, src / "*")


def test_what_is_no_project_is_not_announced(src: Path) -> None:
    (src / "app").mkdir()
    (src / "old").mkdir()

    def unrelated() -> None:
        (src / "notes.txt").touch()
        (src / "notes.txt").rename(src / "notes")
        (src / "app" / "Makefile").touch()
        (src / "app" / "build").mkdir()
        (src / ".cache").mkdir()
        (src / "node_modules").mkdir()
        (src / "notes").unlink()

    async def work(listener: Listener) -> None:
        listener.find()
        await listener.ignores(unrelated)
        assert listener.find() == set()
        await listener.ignores(lambda: None)  # looking by itself announces nothing

    listening(work, src / "*")


def test_a_directory_that_is_renamed_or_removed_on_the_way_is_followed(src: Path) -> None:
    workspace(src / "a")

    async def work(listener: Listener) -> None:
        assert listener.find() == {str(src / "a")}
        await listener.hears(lambda: (src / "a").rename(src / "b"))
        assert listener.find() == {str(src / "b")}
        moved = src.with_name("moved")
        await listener.hears(lambda: src.rename(moved))
        assert listener.find() == set()
        await listener.ignores(lambda: workspace(moved / "elsewhere"))
        await listener.hears(src.mkdir)
        assert listener.find() == set()
        await listener.hears(lambda: workspace(src / "c"))
        assert listener.find() == {str(src / "c")}
        await listener.hears(lambda: shutil.rmtree(src))
        assert listener.find() == set()
        await listener.hears(lambda: moved.rename(src))
        assert listener.find() == {str(src / "b"), str(src / "elsewhere")}

    listening(work, src / "*")


def test_a_pattern_below_a_directory_that_does_not_exist_waits_for_it(tmp_path: Path) -> None:
    async def work(listener: Listener) -> None:
        assert listener.find() == set()
        await listener.ignores((tmp_path / "other").mkdir)
        await listener.hears(lambda: workspace(tmp_path / "x" / "y" / "app"))
        assert listener.find() == {str(tmp_path / "x" / "y" / "app")}

    listening(work, tmp_path / "x" / "y" / "*")


def test_a_pattern_in_the_middle_waits_for_each_part(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()

    async def work(listener: Listener) -> None:
        assert listener.find() == set()
        await listener.ignores((tmp_path / "one" / "other").mkdir)
        await listener.hears(lambda: workspace(tmp_path / "one" / "app"))
        assert listener.find() == {str(tmp_path / "one" / "app")}
        await listener.hears((tmp_path / "two").mkdir)
        listener.find()
        await listener.hears((tmp_path / "two" / "app").mkdir)
        listener.find()
        await listener.hears(lambda: workspace(tmp_path / "two" / "app"))
        assert listener.find() == {str(tmp_path / name / "app") for name in ("one", "two")}
        shutil.rmtree(tmp_path / "two" / "app")
        listener.find()
        await listener.hears(lambda: workspace(tmp_path / "two" / "app"))

    listening(work, tmp_path / "*" / "app")


def test_any_depth_is_watched_all_the_way_down(src: Path) -> None:
    (src / "group" / "team").mkdir(parents=True)

    async def work(listener: Listener) -> None:
        assert listener.find() == set()
        assert listener.watched == 3
        await listener.hears(lambda: workspace(src / "group" / "team" / "app"))
        assert listener.find() == {str(src / "group" / "team" / "app")}
        await listener.hears(lambda: workspace(src / "group"))
        assert listener.find() == {str(src / "group" / "team" / "app"), str(src / "group")}

    listening(work, src / "**")


def test_of_a_thousand_children_those_that_changed_last_are_watched(src: Path) -> None:
    for number in range(1000):
        (src / str(number)).mkdir()
        os.utime(src / str(number), (number, number))

    async def work(listener: Listener) -> None:
        listener.find()
        assert listener.watched == search.MAX_WATCHED == 512
        assert not listener.backend.watched
        await listener.ignores(lambda: workspace(src / "3"))
        await listener.hears(lambda: workspace(src / "999"))
        await listener.hears(lambda: workspace(src / "new"))
        assert listener.find() == {str(src / name) for name in ("3", "999", "new")}
        for _ in range(3):
            listener.find()
        assert listener.watched == 512 + 3  # the three for .git

    listening(work, src / "*")


def test_a_workspace_and_the_search_that_meet_in_one_directory_keep_what_each_wants_to_hear(
    src: Path,
) -> None:
    missing = src / "missing"

    async def work(listener: Listener) -> None:
        listener.find()
        listener.backend.follow(str(missing))  # waits in src for its name
        await listener.hears(lambda: workspace(src / "app"))
        assert not any(path == str(missing) for path, _ in listener.hints)
        listener.backend.unfollow(str(missing))
        await listener.hears(lambda: workspace(src / "other"))
        assert not any(path == "" for path, _ in listener.hints)

    listening(work, src / "*")


def test_patterns_that_are_gone_are_watched_no_more(src: Path) -> None:
    async def work(listener: Listener) -> None:
        listener.find()
        listener.backend.entries = ()
        listener.find()
        assert listener.watched == 0

    listening(work, src / "*")


def test_lost_events_ask_to_look_again(src: Path) -> None:
    def storm() -> None:
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(limit // 2 + 10):  # a file costs two events, and equal ones in a row are merged
            (src / f"{number % 2}.tmp").touch()
            (src / f"{number % 2}.tmp").unlink()
            (src / f"{number % 2}.tmp").touch()

    async def work(listener: Listener) -> None:
        listener.find()
        await listener.hears(storm)

    listening(work, src / "*")


@pytest.mark.root
def test_other_file_systems_are_passed_over_by_any_depth_and_not_watched(src: Path) -> None:
    (src / "disk").mkdir()

    def mounted() -> Iterator[None]:
        assert os.system(f"mount -t tmpfs none {src}/disk") == 0
        try:
            yield
        finally:
            os.system(f"umount {src}/disk")

    async def deep(listener: Listener) -> None:
        assert listener.find() == set()
        assert listener.watched == 1

    async def flat(listener: Listener) -> None:
        assert listener.find() == {str(src / "disk")}
        assert listener.backend.watched
        shutil.rmtree(src / "disk" / ".claude")
        assert listener.find() == set()
        assert listener.watched == 1
        assert not listener.backend.watched

    mount = mounted()
    next(mount)
    try:
        (src / "disk" / "app").mkdir()
        listening(deep, src / "*" / "*")
        workspace(src / "disk")
        listening(deep, src / "**")
        listening(flat, src / "*")
    finally:
        with suppress(StopIteration):
            next(mount)


def test_it_says_that_everything_is_watched_in_which_a_workspace_may_appear(src: Path) -> None:
    workspace(src / "app")
    (src / "other").mkdir()

    async def work(listener: Listener) -> None:
        listener.find()
        assert listener.backend.watched

    for entries in (["*"], ["**"], ["*/x/*"], ["none/*"], ["app"]):
        listening(work, *(src / entry for entry in entries))


class _Full(ino.LibcBackend):
    """An inotify that has no watch left."""

    def add(self, path: str, mask: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refused() -> ino.Backend:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("open_backend", [_Full, _refused])
def test_it_says_that_nothing_announces_workspaces(
    src: Path, monkeypatch: pytest.MonkeyPatch, open_backend: Callable[[], ino.Backend]
) -> None:
    monkeypatch.setattr(backend_module, "Watcher", partial(Watcher, open_backend=open_backend))

    async def work(listener: Listener) -> None:
        assert listener.find() == set()
        assert not listener.backend.watched
        listener.backend.entries = (workspace(src / "app"),)
        assert listener.find() == {str(src / "app")}
        assert listener.backend.watched

    listening(work, src / "*")


def test_what_other_machines_write_to_is_searched_often(src: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "is_remote", lambda path: path == str(src))

    async def work(listener: Listener) -> None:
        listener.find()
        assert not listener.backend.watched

    listening(work, src / "*")
