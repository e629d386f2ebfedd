"""What is watched for whom, and what is told where the kernel has lost events or refuses."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from waiting import until

from coordd.sources.sessions.watch import APPEARED, GONE, MODIFY, ONCE, Watch, explain
from coordd.util import inotify as ino


class Pipe:
    """An inotify whose events a test writes."""

    def __init__(self) -> None:
        self.fd, self._end = os.pipe2(os.O_NONBLOCK)
        self.paths: dict[str, int] = {}
        self.removed: list[int] = []
        self.refuse: int | None = None

    def add(self, path: str, mask: int) -> int:
        if self.refuse is not None:
            raise OSError(self.refuse, os.strerror(self.refuse), path)
        return self.paths.setdefault(path, len(self.paths) + 1)

    def remove(self, wd: int) -> None:
        self.removed.append(wd)

    def close(self) -> None:
        for fd in (self.fd, self._end):
            if fd >= 0:
                os.close(fd)
        self.fd = self._end = -1

    def event(self, wd: int, mask: int) -> None:
        os.write(self._end, struct.pack("iIII", wd, mask, 0, 0))


@pytest.fixture
async def pipe() -> AsyncIterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
async def watch(pipe: Pipe) -> AsyncIterator[Watch]:
    watch = Watch(open_backend=lambda: pipe)
    watch.start(asyncio.get_running_loop())
    yield watch
    watch.close()


@pytest.fixture
async def real() -> AsyncIterator[Watch]:
    watch = Watch()
    watch.start(asyncio.get_running_loop())
    assert watch.reason is None
    yield watch
    watch.close()


async def test_an_owner_hears_of_what_it_watches(real: Watch, tmp_path: Path) -> None:
    told: list[str] = []
    assert real.arm("o", [(str(tmp_path), APPEARED)], lambda _mask, name: told.append(name)) is None
    (tmp_path / "new").touch()
    await until(lambda: told == ["new"])


async def test_a_file_is_watched_for_one_event_until_it_is_watched_again(real: Watch, tmp_path: Path) -> None:
    path, told = tmp_path / "t", []
    path.touch()

    def arm() -> None:
        real.arm("o", [(str(path), MODIFY | GONE | ONCE)], lambda mask, _: told.append(mask))

    arm()
    for _ in range(3):
        path.write_text("x")
    await until(lambda: told)
    assert len(told) == 1
    arm()
    path.write_text("y")
    await until(lambda: len(told) == 2)


async def test_two_owners_of_one_file_both_hear(real: Watch, tmp_path: Path) -> None:
    path, told = tmp_path / "t", []
    path.touch()
    for owner in "ab":
        real.arm(owner, [(str(path), MODIFY | ONCE)], lambda _mask, _name, owner=owner: told.append(owner))  # type: ignore[misc]
    path.write_text("x")
    await until(lambda: sorted(told) == ["a", "b"])


async def test_what_is_watched_no_more_is_let_go(watch: Watch, pipe: Pipe) -> None:
    told: list[int] = []
    tell = lambda mask, _name: told.append(mask)  # noqa: E731 - one line says it
    watch.arm("a", [("/x", APPEARED), ("/y", APPEARED)], tell)
    watch.arm("b", [("/y", APPEARED)], tell)
    watch.arm("a", [("/x", APPEARED)], tell)
    assert pipe.removed == []
    watch.forget("b")
    assert pipe.removed == [pipe.paths["/y"]]
    assert watch.owners == {"a"}
    watch.forget("a")
    watch.forget("a")
    assert pipe.removed == [2, 1]


async def test_an_event_that_comes_before_its_watch_is_known_is_told(watch: Watch, pipe: Pipe) -> None:
    """The thread that watches has not come back from the kernel yet, and the watch was for one event."""
    told: list[int] = []
    pipe.paths["/x"] = 7
    pipe.event(7, MODIFY)
    pipe.event(7, ino.IGNORED)
    await until(lambda: watch._early)
    watch.arm("a", [("/x", MODIFY | ONCE)], lambda mask, _: told.append(mask))
    await until(lambda: told == [MODIFY])


async def test_events_of_watches_that_have_ended_take_no_room(watch: Watch, pipe: Pipe) -> None:
    for wd in range(1, 1200):
        pipe.event(wd, MODIFY)
    await until(lambda: 1199 in watch._early)
    assert len(watch._early) == 1000


async def test_when_events_are_lost_everybody_is_told(watch: Watch, pipe: Pipe) -> None:
    told: list[int] = []
    for path in "/x", "/y":
        watch.arm(path, [(path, APPEARED)], lambda mask, _: told.append(mask))
    pipe.event(-1, ino.Q_OVERFLOW)
    await until(lambda: told == [ino.Q_OVERFLOW] * 2)


async def test_when_nothing_can_be_read_any_more_everybody_is_told_why(watch: Watch, pipe: Pipe) -> None:
    told: list[int] = []
    watch.arm("a", [("/x", APPEARED)], lambda mask, _: told.append(mask))
    other = os.open("/", os.O_RDONLY)
    os.dup2(other, pipe.fd)  # reading a folder fails
    os.close(other)
    watch._drain()
    assert told == [ino.Q_OVERFLOW]
    assert watch.reason is not None
    assert watch.owners == frozenset()
    assert watch.arm("a", [("/x", APPEARED)], lambda *_: None) is None


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENOTDIR])
async def test_what_is_not_there_is_passed_over(watch: Watch, pipe: Pipe, number: int) -> None:
    pipe.refuse = number
    assert watch.arm("a", [("/x", APPEARED)], lambda *_: None) is None


async def test_a_limit_of_the_machine_is_said_in_words(watch: Watch, pipe: Pipe) -> None:
    pipe.refuse = errno.ENOSPC
    failed = watch.arm("a", [("/x", APPEARED)], lambda *_: None)
    assert failed is not None
    assert "max_user_watches" in explain(failed)


async def test_without_inotify_the_reason_is_said() -> None:
    def refuse() -> ino.Backend:
        raise OSError(errno.EMFILE, "too many")

    watch = Watch(open_backend=refuse)
    watch.start(asyncio.get_running_loop())
    assert watch.reason is not None
    assert "max_user_instances" in watch.reason
    watch.close()
