"""Test looking at real processes: what is seen, what counts as gone, and what a failed look says."""

from __future__ import annotations

import os
import pty
import threading
import time
from pathlib import Path

import pytest
from real_processes import process_of, python, sleeper, zombie

from coordd.host import boot, processes, procfs
from coordd.host.process_facts import ProbeFailed, Process


def test_a_process_is_seen_with_its_user_directory_and_parent(tmp_path: Path) -> None:
    before = time.time()
    with sleeper(cwd=tmp_path) as child:
        facts = processes.look(child.pid)
        assert facts is not None
        assert facts.process == process_of(child.pid)
        assert (facts.parent, facts.uid) == (os.getpid(), os.geteuid())
        assert (facts.inner_pid, facts.inner) == (child.pid, False)
        assert (facts.cwd, facts.commanded) == (str(tmp_path), True)
        assert before - 0.05 <= facts.started <= time.time()
        assert processes.lives(facts.process)
        assert not processes.lives(Process(child.pid, facts.process.start - 1))
    assert processes.look(child.pid) is None
    assert processes.lives(facts.process) is False


def test_the_start_is_right_to_the_tick_whatever_btime_says() -> None:
    with sleeper() as child:
        facts = processes.look(child.pid)
        assert facts is not None
        assert abs(processes.start_at(facts.started) - facts.process.start) <= 1


def test_a_glance_waits_for_nothing_and_sees_who_it_is(tmp_path: Path) -> None:
    """A command line is read from the process's memory, which it may hold while it hangs."""
    with sleeper() as child:
        facts, whole = processes.glance(child.pid), processes.look(child.pid)
        assert facts is not None
        assert whole is not None
        assert (facts.process, facts.uid, facts.name) == (whole.process, whole.uid, whole.name)
        assert (facts.commanded, facts.cwd) == (None, None)
        with pytest.raises(ProbeFailed):
            procfs.glance(child.pid, proc=str(tmp_path))
    assert processes.glance(child.pid) is None


def test_any_name_is_read_as_it_is() -> None:
    rename = "open('/proc/self/comm','w').write('a) S (b\\n c'); print('here', flush=True); input()"
    with python(rename) as child:
        facts = processes.look(child.pid)
        assert facts is not None
        assert facts.name == "a) S (b\n c"
        assert facts.parent == os.getpid()


def test_a_zombie_is_gone() -> None:
    with zombie() as process:
        assert processes.look(process.pid) is None
        assert processes.lives(process) is False


def test_a_process_lives_on_after_its_first_thread() -> None:
    """Its state is that of a zombie then, and the kernel tells of no end either."""
    code = """
import ctypes, threading, time
go = threading.Event()
def rest():
    go.wait()
    while open('/proc/self/stat').read().rpartition(')')[2].split()[0] != 'Z':
        time.sleep(0.01)
    print('here', flush=True)
    time.sleep(600)
threading.Thread(target=rest).start()
libc = ctypes.CDLL(None)
libc.syscall.argtypes = [ctypes.c_long, ctypes.c_long]
go.set()
libc.syscall(60 if __import__('platform').machine() == 'x86_64' else 93, 0)
"""
    with python(code) as child:
        assert child.said == "here"  # type: ignore[attr-defined]  # see python()
        assert processes.look(child.pid) is not None
        assert processes.lives(process_of(child.pid))


def test_a_thread_is_no_process() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        assert processes.look(thread.native_id) is None
    finally:
        stop.set()
        thread.join()


def test_pid_0_is_nobody() -> None:
    for pid in (0, -1):
        assert processes.look(pid) is None
        assert processes.start_of(pid) is None


def test_the_terminal_is_named() -> None:
    master, slave = pty.openpty()
    try:
        take = "import fcntl,termios,sys; fcntl.ioctl(0, termios.TIOCSCTTY, 0); print('here', flush=True);"
        with python(take + "import time; time.sleep(600)", start_new_session=True, stdin=slave) as child:
            facts = processes.look(child.pid)
            assert facts is not None
            assert facts.tty is not None
            assert f"/dev/{facts.tty}" == os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


def test_a_process_that_procfs_hides_is_unknown_and_not_gone(tmp_path: Path) -> None:
    """As with hidepid=2: there is no folder of it."""
    with sleeper() as child:
        with pytest.raises(ProbeFailed):
            procfs.look(child.pid, proc=str(tmp_path))
        with pytest.raises(ProbeFailed):
            procfs.start_of(child.pid, proc=str(tmp_path))
    assert procfs.look(child.pid, proc=str(tmp_path)) is None
    assert list(procfs.stats(proc=str(tmp_path / "absent"))) == []


@pytest.mark.parametrize("content", [b"", b"nonsense", b"1 (x) S 1 2"])
def test_what_cannot_be_understood_says_nothing(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    (folder / "stat").write_bytes(content)
    for look in (procfs.look, procfs.start_of):
        with pytest.raises(ProbeFailed) as caught:
            look(os.getpid(), proc=str(tmp_path))
        assert str(tmp_path) not in str(caught.value)


def test_a_refused_directory_or_command_line_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.readlink

    def refused(path: str, *, dir_fd: int | None = None) -> str:
        if path == "cwd":
            raise PermissionError(13, "Permission denied")
        return real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "readlink", refused)
    facts = processes.look(os.getpid())
    assert facts is not None
    assert facts.cwd is None
    assert facts.commanded


def fake(proc: Path, pid: int, start: int, pids: str, state: str = "S") -> None:
    folder = proc / str(pid)
    folder.mkdir()
    fields = f"1 1 1 0 1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0"
    (folder / "stat").write_text(f"{pid} (a) {state} {fields}")
    (folder / "status").write_text(f"Name:\ta\nTgid:\t{pid}\nPid:\t{pid}\nNSpid:\t{pids}\n")


def test_a_process_of_a_container_is_found_by_its_start_and_last_pid(tmp_path: Path) -> None:
    fake(tmp_path, 900, 5000, "900\t7")
    fake(tmp_path, 901, 6000, "901\t7")  # another container
    fake(tmp_path, 7, 5000, "7")  # of no container
    fake(tmp_path, 902, 5000, "902\t7\t1")  # of a container in a container: there it is 1
    fake(tmp_path, 903, 8000, "903\t9", state="Z")
    fake(tmp_path, 904, 9000, "904\t4")
    fake(tmp_path, 905, 9000, "905\t4")  # nothing tells which
    wanted = [Process(7, 5000), Process(1, 5000), Process(9, 8000), Process(4, 9000), Process(7, 1)]
    assert procfs.find_contained(wanted, proc=str(tmp_path)) == {Process(7, 5000): 900, Process(1, 5000): 902}


def test_nothing_wanted_looks_at_nothing(tmp_path: Path) -> None:
    assert procfs.find_contained([], proc=str(tmp_path / "absent")) == {}
    assert processes.find_contained([process_of(os.getpid())]) == {}


def test_a_pass_over_the_machine_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in range(1, 8):
        fake(tmp_path, pid, pid, str(pid))
    monkeypatch.setattr(procfs, "MOST", 5)
    assert len(list(procfs.uses(proc=str(tmp_path)))) == 5


def test_the_boot_has_an_id_and_a_time() -> None:
    assert boot.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    btime = next(
        int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if "btime" in line
    )
    assert abs(boot.boot_time() - btime) < 3


def test_a_boot_without_an_id_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_BOOT_ID", str(tmp_path / "absent"))
    assert boot.boot_id() is None
