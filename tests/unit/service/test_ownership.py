"""Test that what happens to coordd's own directories and socket is told, and looked into without polling."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from waiting import PATIENCE, until

from coordd.errors import InstanceRunning, StartError
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule
from coordd.service import ownership_check
from coordd.service.ownership_check import LOOK_EVERY, RARELY, RETRY, OwnershipCheck
from coordd.service.ownership_watch import OwnershipWatch
from coordd.util.inotify import LibcBackend


class Own:
    """A project's directories as coordd has them, watched."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.metrics = self.root / ".claude" / "metrics"
        self.run = self.root / ".claude" / "run"
        self.metrics.mkdir(parents=True)
        self.run.mkdir()
        (self.metrics / "part").write_text("")
        self.socket = self.run / "coordd.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.socket))  # stays open, so its inode stays
        self.listener.listen()
        self.told = 0
        self.watch = OwnershipWatch(on_change=self.tell)
        self.watch.start()
        assert self.arm()

    def tell(self) -> None:
        self.told += 1

    def arm(self) -> bool:
        return self.watch.arm(
            records=[str(self.metrics)], directories=[str(self.run)], files=[str(self.socket)]
        )


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    own = Own(tmp_path)
    yield own
    own.watch.close()
    own.watch.close()
    own.listener.close()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("")
    other.rename(path)


CHANGES: dict[str, Callable[[Own], object]] = {
    "a part is removed": lambda own: (own.metrics / "part").unlink(),
    "a part is renamed": lambda own: (own.metrics / "part").rename(own.root / "part"),
    "a part is replaced": lambda own: replace(own.metrics / "part"),
    "the record directory is removed": lambda own: shutil.rmtree(own.metrics),
    "the record directory is renamed": lambda own: own.metrics.rename(own.root / "aside"),
    "the socket is removed": lambda own: own.socket.unlink(),
    "the socket is renamed": lambda own: own.socket.rename(own.run / "aside"),
    "the socket is replaced": lambda own: replace(own.socket),
    "the socket's directory is removed": lambda own: shutil.rmtree(own.run),
    "the socket's directory is renamed": lambda own: own.run.rename(own.root / "aside"),
    "a directory above is renamed": lambda own: own.metrics.parent.rename(own.root / "aside"),
    "the project is renamed": lambda own: own.root.rename(own.root.with_name("aside")),
    "the project is removed": lambda own: shutil.rmtree(own.root),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_every_way_to_take_something_away_is_told(own: Own, what: str) -> None:
    assert own.watch.complete
    assert not own.arm(), "nothing has changed since"
    CHANGES[what](own)
    await until(lambda: own.told)


async def test_a_link_on_the_way_that_is_changed_is_told(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    own = Own(tmp_path / "link")
    (tmp_path / "link").unlink()
    await until(lambda: own.told)
    own.watch.close()
    own.listener.close()


async def test_what_coordd_does_all_the_time_is_not_told(own: Own) -> None:
    """Records are appended, and the snapshot beside the socket is replaced, each minute."""
    with (own.metrics / "part").open("a") as part:
        part.write("a record\n")
    replace(own.run / "snapshot.json")
    replace(own.run / "snapshot.json")
    (own.root / "file").write_text("an agent's")
    (own.root / "file").unlink()
    (own.metrics / "part").unlink()
    await until(lambda: own.told)
    assert own.told == 1


async def test_arming_says_whether_it_watches_something_else_than_before(own: Own) -> None:
    assert not own.arm()
    shutil.rmtree(own.metrics)
    assert own.arm()
    assert not own.watch.complete
    own.metrics.mkdir()
    assert own.arm()
    assert own.watch.complete
    assert not own.arm()
    own.told = 0
    (own.metrics / "part").write_text("")
    (own.metrics / "part").unlink()
    await until(lambda: own.told)


async def test_what_was_moved_away_is_not_watched_any_longer(own: Own) -> None:
    own.metrics.rename(own.root / "aside")
    own.metrics.mkdir()
    await until(lambda: own.told)
    own.arm()
    (own.root / "aside" / "part").unlink()
    own.socket.unlink()  # told after it, if that was told
    own.told = 0
    await until(lambda: own.told)
    assert own.told == 1


async def test_without_inotify_nothing_is_told_and_it_says_so(tmp_path: Path) -> None:
    def refuse() -> LibcBackend:
        raise OSError(errno.EMFILE, "too many")

    watch = OwnershipWatch(on_change=lambda: None, open_backend=refuse)
    watch.start()
    assert not watch.arm(records=[str(tmp_path)], directories=[], files=[])
    assert not watch.complete
    watch.close()


class Files:
    """The runtime files of a scene."""

    def __init__(self, directory: Path) -> None:
        self.metrics = self.logs = self.snapshots = self
        self.path = str(directory)
        self.socket_path = str(directory / "sock")
        Path(self.socket_path).touch()
        self.displaced = False
        self.moved = False
        self.failure: Exception | None = None
        self.kept = 0
        self.socket = object()

    def keep(self) -> bool:
        self.kept += 1
        moved, self.moved = self.moved, False
        if self.failure is not None:
            raise self.failure
        return moved

    def problems(self) -> list[str]:
        return []


class Scene:
    """A check over files, a recorder and a server that are played."""

    def __init__(self, directory: Path) -> None:
        self.files = Files(directory)
        self.schedule = Schedule(loop_monitor=LoopMonitor(), on_step=lambda _: None, on_gap=lambda _: None)
        self.replaced = self.changes = 0
        self.events: list[str] = []
        self.served: list[object] = []
        self.late = False
        played: Any = self
        self.check_of = OwnershipCheck(
            runtime_files=played.files,
            recorder=played,
            server=played,
            schedule=self.schedule,
            replaced=self.end,
            changed=self.change,
        )

    def change(self) -> None:
        self.changes += 1

    def end(self) -> None:
        self.replaced += 1

    async def check(self, first: Callable[[], None]) -> None:
        if self.late:  # the writer thread hangs; it goes on after the caller has given up
            asyncio.get_running_loop().call_later(0.1, first)
        else:
            first()

    def event(self, kind: str, *_: object) -> None:
        self.events.append(kind)

    def move(self, sock: object) -> None:
        self.served.append(sock)

    def wait(self) -> float:
        """Return the seconds to the next check."""
        return (self.schedule.waiting("records.check") or 0.0) - monotonic()

    async def settle(self) -> None:
        """Wait until all is watched and checked, and a rare look is all that waits."""
        await until(lambda: self.wait() > RARELY - PATIENCE)


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(ownership_check, "SOON", 0.02)
    scene = Scene(tmp_path)
    scene.schedule.start()
    scene.check_of.start()
    yield scene
    scene.check_of.close()
    scene.schedule.stop()


async def test_all_well_is_looked_at_rarely(scene: Scene) -> None:
    await scene.settle()
    assert scene.files.kept >= 2, "once more after the first watches, for what happened meanwhile"


async def test_a_change_is_looked_into_soon_and_then_it_is_quiet_again(scene: Scene) -> None:
    await scene.settle()
    kept = scene.files.kept
    os.unlink(scene.files.socket_path)
    await until(lambda: scene.files.kept > kept)


async def test_a_new_socket_is_served_and_told(scene: Scene) -> None:
    await scene.settle()
    scene.files.moved = True
    os.rename(scene.files.socket_path, scene.files.socket_path + ".aside")
    await until(lambda: scene.served)
    assert scene.served == [scene.files.socket]
    assert scene.events == ["socket.recreated"]


async def test_trouble_is_looked_at_again_until_it_is_over(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.settle()
    scene.files.failure = StartError("the project directory is gone")
    await scene.check_of.make()
    assert 0 < scene.wait() <= RETRY
    await scene.check_of.make()
    assert caplog.text.count("the project directory is gone") == 1
    scene.files.failure = None
    scene.files.displaced = True
    await scene.check_of.make()
    assert 0 < scene.wait() <= RETRY
    changes = scene.changes
    scene.files.displaced = False
    await scene.check_of.make()
    assert scene.wait() > RETRY
    assert scene.changes == changes + 1


async def test_what_a_check_finds_too_late_is_not_forgotten(scene: Scene) -> None:
    await scene.settle()
    scene.late = True
    scene.files.moved = True
    os.unlink(scene.files.socket_path)
    await until(lambda: not scene.files.moved)
    assert 0 < scene.wait() <= RETRY
    scene.late = False
    changes = scene.changes
    await scene.check_of.make()
    assert scene.served == [scene.files.socket]
    assert scene.changes == changes + 1


async def test_a_bug_in_the_check_does_not_end_the_checks(scene: Scene) -> None:
    await scene.settle()
    scene.files.failure = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await scene.check_of.make()
    assert 0 < scene.wait() <= RETRY


async def test_another_daemons_directory_ends_this_one(scene: Scene) -> None:
    scene.files.failure = InstanceRunning("/lock", pid=1, version="1", started_at="now")
    await until(lambda: scene.replaced)


async def test_without_inotify_it_looks_now_and_then(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.check_of._watch._open_backend = lambda: (_ for _ in ()).throw(OSError(errno.EMFILE, "too many"))
    scene.schedule.start()
    scene.check_of.start()
    await until(lambda: scene.files.kept == 1 and scene.wait() > RETRY)
    assert scene.wait() <= LOOK_EVERY
    scene.check_of.close()
    scene.schedule.stop()


async def test_after_the_end_nothing_is_checked(scene: Scene) -> None:
    await scene.settle()
    scene.check_of.close()
    await scene.check_of.make()
    assert scene.schedule.waiting("records.check") is None
