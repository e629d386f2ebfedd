"""Test that the end of a process is told once, at once where the kernel tells, and of no other process."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace

import pytest
import pytest_asyncio
from real_processes import is_zombie, process_of, python, sleeper, zombie
from waiting import eventually, until

from coordd.host import processes
from coordd.host.process_facts import Process
from coordd.runtime import process_watch
from coordd.runtime.process_end import ExitQueue, PidFd, open_end
from coordd.runtime.process_watch import ProcessWatch, descriptor_share
from coordd.runtime.worker import Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("watch-test", replaceable=True)
    yield worker
    worker.close()


@pytest_asyncio.fixture
async def watch(worker: Worker) -> AsyncIterator[ProcessWatch[Process]]:
    watch: ProcessWatch[Process] = ProcessWatch(lives=processes.lives, worker=worker)
    yield watch
    watch.close()


def is_pidfd(fd: str) -> bool:
    try:
        return "pidfd" in os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return False


def open_pidfds() -> int:
    return sum(is_pidfd(fd) for fd in os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("how", ["killed", "exits"])
async def test_the_end_of_a_process_is_told_once_and_nothing_stays_open(
    watch: ProcessWatch[Process], how: str
) -> None:
    ends: list[Process] = []
    before = open_pidfds()
    with sleeper() as child:
        process = process_of(child.pid)
        watch.watch(process, ends.append)
        assert open_pidfds() == before + 1
        assert watch.checked == 0
        if how == "killed":
            child.kill()
        else:
            assert child.stdin is not None
            child.stdin.close()
            child.stdin = None
        await until(lambda: ends)
    await asyncio.sleep(0)
    assert ends == [process]
    assert open_pidfds() == before
    assert watch.watched == 0


async def test_a_zombie_has_ended_though_nobody_waits_for_it(watch: ProcessWatch[Process]) -> None:
    ends: list[Process] = []
    with sleeper() as child:
        process = process_of(child.pid)
        assert watch.watch(process, ends.append)
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: ends)
        eventually(is_zombie(child.pid))
    with zombie() as dead:
        assert not watch.watch(dead, ends.append)
        assert len(ends) == 1
        await until(lambda: len(ends) == 2)
    assert ends == [process, dead]


async def test_many_watchers_share_one_descriptor_and_the_last_one_closes_it(
    watch: ProcessWatch[Process],
) -> None:
    ends: list[str] = []
    before = open_pidfds()

    def told(who: str) -> Callable[[Process], None]:
        return lambda _process: ends.append(who)

    watchers = [told(str(number)) for number in range(20)]
    with sleeper() as child:
        process = process_of(child.pid)
        for one in watchers:
            watch.watch(process, one)
        assert open_pidfds() == before + 1
        for one in watchers[:19]:
            watch.unwatch(process, one)
            watch.unwatch(process, one)  # a second time changes nothing
        assert open_pidfds() == before + 1
        child.kill()
        await until(lambda: ends)
    assert ends == ["19"]
    with sleeper() as child:
        process = process_of(child.pid)
        watch.watch(process, watchers[0])
        watch.unwatch(process, watchers[0])
        assert open_pidfds() == before
        assert watch.watched == 0
    await asyncio.sleep(0)
    assert ends == ["19"]


async def test_a_process_that_is_gone_or_whose_pid_is_used_again_has_ended(
    watch: ProcessWatch[Process],
) -> None:
    ends: list[Process] = []
    with sleeper() as child:
        now = process_of(child.pid)
        earlier = Process(now.pid, now.start - 100)
        watch.watch(earlier, ends.append)
        assert ends == []  # never while it is asked for
        await until(lambda: ends == [earlier])
    watch.watch(now, ends.append)
    watch.unwatch(now, ends.append)
    watch.watch(now, ends.append)
    await until(lambda: ends == [earlier, now])
    assert watch.watched == watch.checked == 0


async def test_a_pid_used_again_just_before_it_is_opened_is_noticed(worker: Worker) -> None:
    """The opener stands for the moment in between: it opens a process that took the pid."""
    before = open_pidfds()
    ends: list[Process] = []
    with sleeper() as first, sleeper() as second:
        process = process_of(first.pid)

        def opener(_pid: int) -> PidFd:
            first.kill()
            first.wait()
            return PidFd(second.pid)

        watch: ProcessWatch[Process] = ProcessWatch(lives=processes.lives, worker=worker, opener=opener)
        watch.watch(process, ends.append)
        await until(lambda: ends == [process])
        assert open_pidfds() == before


async def test_a_process_lives_on_after_its_first_thread(watch: ProcessWatch[Process]) -> None:
    code = """
import ctypes, threading, sys
libc = ctypes.CDLL(None)
def rest():
    while open('/proc/self/stat').read().rpartition(')')[2].split()[0] != 'Z':
        pass
    print('here', flush=True)
    sys.stdin.read()
    libc._exit(0)
threading.Thread(target=rest).start()
libc.syscall(60 if __import__('platform').machine() == 'x86_64' else 93, 0)
"""
    ends: list[Process] = []
    with python(code) as child:
        process = process_of(child.pid)
        watch.watch(process, ends.append)
        await watch.check()
        await asyncio.sleep(0)
        assert ends == []
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
        await until(lambda: ends == [process])


@pytest.mark.parametrize(
    "number", [errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.EINVAL, errno.ENOMEM]
)
async def test_what_the_kernel_refuses_is_checked_and_asked_for_again(worker: Worker, number: int) -> None:
    refusing = True

    def opener(pid: int) -> PidFd:
        if refusing:
            raise OSError(number, os.strerror(number))
        return PidFd(pid)

    watch: ProcessWatch[Process] = ProcessWatch(lives=processes.lives, worker=worker, opener=opener)
    ends: list[Process] = []
    with sleeper() as first, sleeper() as second:
        killed, kept = process_of(first.pid), process_of(second.pid)
        watch.watch(killed, ends.append)
        watch.watch(kept, ends.append)
        first.kill()
        first.wait()
        assert (watch.checked, ends) == (2, [])
        await watch.check()
        assert (watch.checked, ends) == (1, [killed])
        refusing = False
        await watch.check()
        assert watch.checked == 0
        second.kill()
        await until(lambda: ends == [killed, kept])
    await watch.check()
    assert ends == [killed, kept]


async def test_no_more_descriptors_are_opened_than_allowed(worker: Worker) -> None:
    watch: ProcessWatch[Process] = ProcessWatch(lives=processes.lives, worker=worker, most=1)
    before = open_pidfds()
    ends: list[Process] = []
    with sleeper() as first, sleeper() as second:
        for child in (first, second):
            watch.watch(process_of(child.pid), ends.append)
        assert (open_pidfds() - before, watch.checked) == (1, 1)
        first.kill()
        await until(lambda: ends)
        await watch.check()
        assert (open_pidfds() - before, watch.checked) == (1, 0)
    watch.close()
    assert open_pidfds() == before


async def test_a_look_that_says_nothing_is_no_end(worker: Worker) -> None:
    answers: list[bool | None] = [None]
    watch: ProcessWatch[Process] = ProcessWatch(lives=lambda _process: answers[-1], worker=worker)
    ends: list[Process] = []
    with sleeper() as child:
        process = process_of(child.pid)
        before = open_pidfds()
        watch.watch(process, ends.append)
        assert (open_pidfds(), watch.checked) == (before, 1)  # it may be somebody else's descriptor
        await watch.check()
        assert (ends, watch.checked) == ([], 1)
        answers.append(True)
        await watch.check()
        assert (open_pidfds(), watch.checked) == (before + 1, 0)
        watch.close()
        assert open_pidfds() == before


async def test_a_check_that_hangs_says_nothing_and_is_not_begun_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, calls = threading.Event(), 0

    def lives(_process: Process) -> bool:
        nonlocal calls
        calls += 1
        go.wait()
        return False

    def refuse(_pid: int) -> PidFd:
        raise OSError(errno.ENOSYS, "")

    monkeypatch.setattr(process_watch, "DEADLINE", 0.05)
    watch: ProcessWatch[Process] = ProcessWatch(lives=lives, worker=worker, opener=refuse)
    ends: list[Process] = []
    watch.watch(Process(7, 7), ends.append)
    await watch.check()
    await watch.check()
    assert (ends, calls) == ([], 1)
    go.set()
    await until(lambda: watch._hanging is not None and watch._hanging.done())
    await watch.check()
    assert ends == [Process(7, 7)]


@pytest.mark.parametrize("alive", [False, True])
async def test_what_is_let_go_during_a_check_is_done_with(worker: Worker, alive: bool) -> None:
    begun, go = threading.Event(), threading.Event()
    refusing = True

    def lives(_process: Process) -> bool:
        begun.set()
        go.wait()
        return alive

    def opener(pid: int) -> PidFd:
        if refusing:
            raise OSError(errno.ENOSYS, "")
        return PidFd(pid)

    watch: ProcessWatch[Process] = ProcessWatch(lives=lives, worker=worker, opener=opener)
    ends: list[Process] = []
    process = process_of(os.getpid())
    before = open_pidfds()
    watch.watch(process, ends.append)
    refusing = False
    checking = asyncio.ensure_future(watch.check())
    await until(begun.is_set)
    watch.unwatch(process, ends.append)
    go.set()
    await checking
    assert (ends, watch.watched, open_pidfds()) == ([], 0, before)


async def test_a_callback_that_fails_keeps_nothing_from_the_others(
    watch: ProcessWatch[Process], caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[Process] = []

    def fail(_process: Process) -> None:
        raise RuntimeError

    with sleeper() as child:
        watch.watch(process_of(child.pid), fail)
        watch.watch(process_of(child.pid), ends.append)
        child.kill()
        await until(lambda: ends)
    assert "telling of the end" in caplog.text


def test_a_quarter_of_the_descriptors_may_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    assert descriptor_share() == 256
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, -1))
    assert descriptor_share() == 4096


def test_a_system_without_the_call_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(OSError) as caught:
        open_end(os.getpid())
    assert caught.value.errno == errno.ENOSYS


class FakeQueue:
    """A kqueue as macOS has it: readable once the process that it waits for has ended."""

    def __init__(self, living: set[int]) -> None:
        self._living = living
        self._fd, self._other = os.pipe()
        self.closed = False

    def fileno(self) -> int:
        return self._fd

    def control(self, changes: list[SimpleNamespace], most: int) -> list[SimpleNamespace]:
        (change,) = changes
        assert (change.filter, change.flags, change.fflags, most) == (-5, 1, 0x80000000, 0)
        if change.ident not in self._living:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return []

    def exit(self) -> None:
        os.write(self._other, b"x")

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        os.close(self._fd)
        os.close(self._other)


async def test_macos_tells_by_a_queue_for_each_process(worker: Worker) -> None:
    queues: list[FakeQueue] = []
    living = {7}

    def kqueue() -> FakeQueue:
        queues.append(FakeQueue(living))
        return queues[-1]

    def kevent(ident: int, **fields: int) -> SimpleNamespace:
        return SimpleNamespace(ident=ident, **fields)

    kernel = SimpleNamespace(
        kqueue=kqueue, kevent=kevent, KQ_FILTER_PROC=-5, KQ_EV_ADD=1, KQ_NOTE_EXIT=0x80000000
    )
    watch: ProcessWatch[Process] = ProcessWatch(
        lives=lambda process: process.pid in living,
        worker=worker,
        opener=lambda pid: ExitQueue(pid, kernel),
    )
    ends: list[Process] = []
    watch.watch(Process(7, 1), ends.append)
    watch.watch(Process(8, 1), ends.append)
    await until(lambda: ends == [Process(8, 1)])
    living.clear()
    queues[0].exit()
    await until(lambda: ends == [Process(8, 1), Process(7, 1)])
    assert [queue.closed for queue in queues] == [True, True]
