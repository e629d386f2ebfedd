"""Test that a link to a project under a pattern is found, and files beside it are not; Linux only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from waiting import until

from coordd.runtime.worker import Worker
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.finder import FileFinder


class Scene:
    """A finder over the pattern ``src/*``, which counts how often it asks to look again."""

    def __init__(self, src: Path) -> None:
        self.src = src
        self.calls = 0
        self.worker = Worker("t", replaceable=True)
        self.finder = FileFinder(
            backend=FileBackend(entries=[str(src / "*")]), local=self.worker, remote=self.worker
        )
        self.finder.start(self._changed)

    def _changed(self) -> None:
        self.calls += 1

    async def found(self) -> set[str]:
        return {name.path for name in await self.finder.find() or ()}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    (tmp_path / "src").mkdir()
    (tmp_path / "far" / ".claude" / "coordination").mkdir(parents=True)
    scene = Scene(tmp_path / "src")
    yield scene
    scene.finder.stop()
    scene.worker.close()


@pytest.mark.parametrize("moved", [False, True])
async def test_a_link_to_a_project_is_announced(scene: Scene, tmp_path: Path, moved: bool) -> None:
    assert await scene.found() == set()
    link = scene.src / "p"
    if moved:
        (tmp_path / "link").symlink_to(tmp_path / "far")
        (tmp_path / "link").rename(link)
    else:
        link.symlink_to(tmp_path / "far")
    await until(lambda: scene.calls > 0)
    assert await scene.found() == {str(tmp_path / "far")}


async def test_files_and_links_that_do_not_match_are_not(scene: Scene, tmp_path: Path) -> None:
    await scene.found()
    for number in range(100):
        (scene.src / f"{number}.txt").write_text("x")
    (scene.src / ".hidden").symlink_to(tmp_path / "far")
    await until(lambda: scene.finder._looking is not None)
    await until(lambda: scene.finder._looking is None)
    assert scene.calls == 0
    (scene.src / "0.txt").unlink()
    (scene.src / "p").symlink_to(tmp_path / "far")
    await until(lambda: scene.calls == 1)
