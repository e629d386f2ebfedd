"""A file system that does not answer hides what is in it, and nothing else; root on Linux."""

# ruff: noqa: ASYNC240  each test is alone on its loop, so it may as well block it

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hung_mount import hung_mount
from live import Project, running
from sessions import Home
from waiting import eventually, until

from coordd.intake.session_workspaces import pattern_for
from coordd.runtime.worker import Worker
from coordd.sources.file import finder as finder_module
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.finder import FileFinder

pytestmark = pytest.mark.root


class Scene:
    """Two projects in ``src``, of which one is there already, and a mount ``far``."""

    def __init__(self, root: Path, log: pytest.LogCaptureFixture) -> None:
        self.root = root
        self.src, self.far = root / "src", root / "far"
        self.far.mkdir()
        self.log = log
        Project(self.src / "one")
        self.calls = 0
        self.workers = [Worker("local", replaceable=True), Worker("remote", replaceable=True)]
        self.backend = FileBackend(entries=[])
        self.finder = FileFinder(backend=self.backend, local=self.workers[0], remote=self.workers[1])
        self.finder.start(self._changed)

    def _changed(self) -> None:
        self.calls += 1

    async def found(self) -> set[str] | None:
        """Return the workspaces below the root."""
        found = await self.finder.find()
        return None if found is None else {os.path.relpath(name.path, self.root) for name in found}

    async def finds(self, *names: str) -> None:
        """Wait until these are found, for on a loaded machine any directory may seem to hang for a moment."""
        seen: set[str] | None = None
        for _ in range(100):
            calls = self.calls
            seen = await self.found()
            if seen == set(names):
                return
            if self.finder._hanging.keys() - {str(self.far)}:
                await until(lambda calls=calls: self.calls > calls)
        raise AssertionError(seen)

    def warnings(self) -> list[str]:
        return [one.getMessage() for one in self.log.records if one.levelno >= logging.WARNING]


@pytest.fixture
async def scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Scene]:
    monkeypatch.setattr(finder_module, "READ_DEADLINE", 1.0)
    scene = Scene(tmp_path, caplog)
    yield scene
    scene.finder.stop()
    for worker in scene.workers:
        worker.close()


def link_to_it(scene: Scene) -> str:
    (scene.src / "link").symlink_to(scene.far / "p")
    return str(scene.src / "link")


ENTRIES: dict[str, Callable[[Scene], str]] = {
    "a pattern": lambda scene: f"{scene.far}/*",
    "a pattern for all below": lambda scene: f"{scene.far}/x/**",
    "a pattern whose mount it matches": lambda scene: f"{scene.root}/*",
    "a pattern of several parts": lambda scene: f"{scene.root}/f*/y/*",
    "the mount": lambda scene: str(scene.far),
    "a project": lambda scene: f"{scene.far}/p",
    "a name like a pattern": lambda scene: f"{scene.far}/[p]",
    "a link": link_to_it,
    "a link that a pattern matches": lambda scene: f"{os.path.dirname(link_to_it(scene))}/l*",
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
async def test_an_entry_that_hangs_hides_no_other(scene: Scene, entry: Callable[[Scene], str]) -> None:
    with hung_mount(scene.far):
        own = entry(scene)
        scene.backend.entries = [own, f"{scene.src}/*"]
        plain = {os.path.relpath(own, scene.root)} if not set("*[") & set(own) else set()
        await scene.finds("src/one", *plain)
        Project(scene.src / "two")
        await until(lambda: scene.calls > 0)  # it is announced still
        await scene.finds("src/one", "src/two", *plain)
        hanging = set(scene.finder._hanging)
        await scene.finds("src/one", "src/two", *plain)
        assert set(scene.finder._hanging) == hanging  # what hangs is left alone
        told = [one for one in scene.warnings() if "does not answer" in one]
        assert len(told) == len(set(told))
        calls = scene.calls
    await until(lambda: scene.calls > calls)  # it fails now, so it can be looked at again
    await until(lambda: not scene.finder._hanging)
    await scene.finds("src/one", "src/two", *({"far/p"} if plain == {"src/link"} else plain))
    assert scene.finder.problems == []


async def test_an_alias_on_a_mount_that_hangs_keeps_its_workspace(scene: Scene) -> None:
    Project(scene.far / "p")
    link = scene.src / "link"
    link.symlink_to(scene.far / "p")
    (scene.src / "tree").mkdir()
    (scene.src / "tree" / ".claude").symlink_to(scene.far / "p" / ".claude")
    scene.backend.entries = [str(link), str(scene.src / "tree")]
    await scene.finds("far/p")
    with hung_mount(scene.far):
        await scene.finds("far/p")
        await scene.finds("far/p")
        Project(scene.src / "new")
        scene.backend.entries = [*scene.backend.entries, str(scene.src / "new")]
        await scene.finds("far/p", "src/new")
    await until(lambda: not scene.finder._hanging)
    await scene.finds("far/p", "src/new")


async def test_many_entries_on_one_mount_hang_once(scene: Scene) -> None:
    with hung_mount(scene.far):
        scene.backend.entries = [*(f"{scene.far}/{n}/*" for n in range(30)), f"{scene.src}/*"]
        scene.backend.guests = [str(pattern_for(f"{scene.far}/guest{n}")) for n in range(30)]
        await scene.finds("src/one")
        assert str(scene.far) in scene.finder._hanging
        assert scene.finder.problems == [
            f"{scene.far}/{n}/*: no workspaces are looked for there, for {scene.far} does not answer"
            for n in range(30)
        ]


async def test_what_was_found_there_stays_until_it_can_be_seen_whether_it_is_wanted(scene: Scene) -> None:
    Project(scene.far / "p")
    scene.backend.entries = [f"{scene.far}/*"]
    await scene.finds("far/p")
    with hung_mount(scene.far):
        scene.backend.entries = [f"{scene.src}/*"]
        scene.backend.guests = [str(pattern_for(f"{scene.far}/q"))]
        await scene.finds("far/p", "src/one")
        assert scene.finder.problems == []
    await until(lambda: not scene.finder._hanging)
    await scene.finds("src/one")


def test_a_session_in_a_directory_that_hangs_hides_no_new_project(tmp_path: Path) -> None:
    user = tmp_path / "home"
    config = user / ".config" / "coordd" / "coordd.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'coordination.workspaces = ["{tmp_path}/src/*"]\n')
    home = Home(user / ".claude")
    Project(tmp_path / "src" / "one").beat("x")
    sock = user / ".local/state/coordd/run/coordd.sock"
    with hung_mount(tmp_path / "far"), running([], sock=sock, home=user, cwd=user) as daemon:
        try:
            eventually(lambda: "x" in daemon.statuses())
            home.session("s-1", cwd=str(tmp_path / "far" / "p"))
            eventually(lambda: daemon.statuses().get("s-1") == "active")
            eventually(lambda: "does not answer" in daemon.logged())
            Project(tmp_path / "src" / "two").beat("y")
            eventually(lambda: daemon.statuses().get("y") == "active")
            assert daemon.rpc("status")["problems"] == []
        finally:
            home.close()
