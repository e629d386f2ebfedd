"""Test the lock of a metrics directory between real processes."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from coordd.commands.holder import find_pid
from coordd.errors import InstanceRunning, StartError
from coordd.service.lock import InstanceLock, demand_free

HOLD = """
import sys
from coordd.service.lock import InstanceLock
lock = InstanceLock(directory=sys.argv[1], version="9.9", started_at="2026-11-22T00:00:00.000Z")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def new_lock(directory):
    return InstanceLock(directory=str(directory), version="0.1.0", started_at="2026-11-22T06:05:00.123Z")


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate(timeout=30)


def test_the_file_says_who_holds_it(tmp_path):
    with new_lock(tmp_path) as lock:
        assert lock.still_held()
        about = json.loads((tmp_path / ".lock").read_bytes())
        said = {"pid": os.getpid(), "version": "0.1.0", "started_at": "2026-11-22T06:05:00.123Z"}
        assert about.items() >= said.items()
        assert about.keys() - said.keys() == {"boot", "origin", "ended"}
    assert not lock.still_held()
    assert (tmp_path / ".lock").exists(), "never unlinked"


def test_a_second_process_is_told_of_the_first(tmp_path, holder):
    with pytest.raises(InstanceRunning) as caught:
        new_lock(tmp_path).acquire()
    assert (caught.value.pid, caught.value.version) == (holder.pid, "9.9")
    assert caught.value.started_at == "2026-11-22T00:00:00.000Z"
    assert str(holder.pid) in str(caught.value)


def test_a_killed_one_leaves_no_lock_behind(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=30)
    with new_lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "content", [b"held by build 4242\n", b'{"pid": 4242}\n', b"\0\xff", b"[1]", b'{"pid": 12', b"\n"]
)
def test_a_strangers_lock_file_is_locked_and_keeps_every_byte(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    with new_lock(tmp_path) as lock:
        assert lock.still_held()
        with pytest.raises(InstanceRunning):
            new_lock(tmp_path).acquire()
    assert (tmp_path / ".lock").read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"precious"])
def test_another_name_of_somebodys_file_gets_nothing(tmp_path, content):
    victim = tmp_path / "victim"
    victim.write_bytes(content)
    (tmp_path / "metrics").mkdir()
    os.link(victim, tmp_path / "metrics" / ".lock")
    with new_lock(tmp_path / "metrics") as lock:
        assert lock.still_held()
    assert victim.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\0" * 90, b'{"pid": 1, "version": "1", "started_at": "x"}'])
def test_what_coordd_left_there_is_written_anew(tmp_path, content):
    (tmp_path / ".lock").write_bytes(content)
    with new_lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == os.getpid()


def test_who_is_neither_owner_nor_group_may_not_lock_it(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    path.chmod(0o666)
    with new_lock(tmp_path):
        assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.root
def test_a_process_of_another_user_that_locks_the_file_is_not_ended(tmp_path):
    path = tmp_path / ".lock"
    path.touch()
    path.chmod(0o644)
    ours, its = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            descriptor = os.open(path, os.O_RDONLY)
            os.setuid(65534)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            its.send(b"x")
            its.recv(1)
        finally:
            os._exit(0)
    try:
        ours.recv(1)
        with pytest.raises(StartError, match=f"pid {pid} of uid 65534"):
            find_pid(str(path))
    finally:
        ours.send(b"x")
        os.waitpid(pid, 0)
        ours.close()
        its.close()
    assert find_pid(str(path)) is None


def test_without_a_list_of_locks_the_file_says_who_holds_it(tmp_path, holder, monkeypatch):
    monkeypatch.setattr("coordd.util.flocks.TABLE", str(tmp_path / "none"))
    path = tmp_path / ".lock"
    assert find_pid(str(path)) == holder.pid
    path.write_text("7")
    with pytest.raises(StartError, match="somebody holds"):
        find_pid(str(path))
    holder.kill()
    holder.wait(30)
    assert find_pid(str(path)) is None


def test_what_the_file_says_decides_nothing(tmp_path):
    (tmp_path / ".lock").write_text(json.dumps({"pid": os.getppid(), "version": "1"}))
    with new_lock(tmp_path) as lock:
        assert lock.still_held()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"pid": 12',
        b"\xff\xfe",
        b"[1]",
        b'{"pid": true, "version": "\\u001b[2J", "started_at": 5}',
        b'{"pid": -1}',
        b'{"pid": "12", "version": "' + b"x" * 5000,
        b"[" * 4000,
    ],
)
def test_garbage_in_the_file_names_nobody(tmp_path, holder, content):
    (tmp_path / ".lock").write_bytes(content)
    with pytest.raises(InstanceRunning) as caught:
        new_lock(tmp_path).acquire()
    assert (caught.value.pid, caught.value.version, caught.value.started_at) == (None, None, None)
    assert "\x1b" not in str(caught.value)
    assert (tmp_path / ".lock").read_bytes() == content, "the second one writes nothing"


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda path: os.rename(path, f"{path}.old")])
def test_a_replaced_directory_is_noticed_and_locked_anew(tmp_path, gone):
    directory = tmp_path / "metrics"
    directory.mkdir()
    with new_lock(directory) as lock:
        gone(str(directory))
        assert not lock.still_held()
        with pytest.raises(StartError, match="cannot take the lock"):
            lock.acquire()
        directory.mkdir()
        assert not lock.still_held()
        lock.acquire()
        assert lock.still_held()
        with pytest.raises(InstanceRunning):
            new_lock(directory).acquire()


def test_a_replaced_directory_that_another_one_took_is_lost(tmp_path):
    directory = tmp_path / "metrics"
    directory.mkdir()
    with new_lock(directory) as first:
        os.rename(directory, tmp_path / "old")
        directory.mkdir()
        with new_lock(directory):
            assert not first.still_held()
            with pytest.raises(InstanceRunning):
                first.acquire()


def in_child(action):
    """Run ``action`` in a forked child; its truth comes back as the exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if action() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # other tests' threads
def test_a_forked_child_neither_holds_nor_frees_the_lock(tmp_path):
    with new_lock(tmp_path) as lock:
        assert in_child(lambda: not lock.still_held())
        assert in_child(lambda: lock.close() is None)
        with pytest.raises(InstanceRunning):
            new_lock(tmp_path).acquire()


@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # other tests' threads
def test_a_child_that_keeps_the_descriptor_does_not_outlast_a_close(tmp_path):
    lock = new_lock(tmp_path)
    lock.acquire()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        lock.close()
        with new_lock(tmp_path) as second:
            assert second.still_held()
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)


def test_the_descriptor_is_not_inherited_by_a_program(tmp_path):
    with new_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with new_lock(tmp_path) as second:
            assert second.still_held()
    finally:
        child.communicate(b"\n", timeout=30)


def put(path, kind, victim):
    if kind == "symlink":
        path.symlink_to(victim)
    elif kind == "dangling":
        path.symlink_to(path.parent / "nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["symlink", "dangling", "fifo", "socket", "directory"])
def test_what_is_no_regular_file_is_left_alone_and_the_directory_is_locked(tmp_path, kind):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    directory = tmp_path / "metrics"
    directory.mkdir()
    path = directory / ".lock"
    put(path, kind, victim)
    with new_lock(directory) as lock:
        assert lock.still_held()
        assert "the directory itself is locked instead" in lock.warning
        with pytest.raises(InstanceRunning):
            new_lock(directory).acquire()
        assert find_pid(str(path)) == os.getpid()
        assert victim.read_text() == "precious"
        assert os.listdir(directory) == [".lock"]
        os.rename(path, tmp_path / "aside")
        assert not lock.still_held(), "a file can be had again, and who starts next will lock that"
        lock.acquire()
        assert lock.still_held()
        assert lock.warning is None
        with pytest.raises(InstanceRunning):
            new_lock(directory).acquire()
    assert find_pid(str(path)) is None


def test_a_project_whose_directory_is_a_link_by_now_is_not_locked(tmp_path):
    directory, outside = tmp_path / "metrics", tmp_path / "outside"
    outside.mkdir()
    directory.mkdir()
    lock = InstanceLock(directory=str(directory), version="1", started_at="", root=str(tmp_path))
    with lock:
        shutil.rmtree(directory)
        directory.symlink_to(outside)
        assert not lock.still_held()
        with pytest.raises(StartError, match="cannot take the lock"):
            lock.acquire()
        demand_free(str(directory), root=str(tmp_path))
    assert list(outside.iterdir()) == []


def test_looking_whether_another_one_holds_it_leaves_no_trace(tmp_path, holder):
    with pytest.raises(InstanceRunning) as caught:
        demand_free(str(tmp_path), root=None)
    assert caught.value.pid == holder.pid
    empty = tmp_path / "empty"
    empty.mkdir()
    demand_free(str(empty), root=None)
    demand_free(str(tmp_path / "none"), root=None)
    assert list(empty.iterdir()) == []


@pytest.mark.root
def test_a_lock_file_that_may_not_be_opened_is_passed_by_unless_it_is_held():
    """As a user who may write into the directory, and not open the file in it."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        path = os.path.join(directory, ".lock")
        os.close(os.open(path, os.O_CREAT, 0o600))

        def taken():
            os.setuid(65534)
            with new_lock(directory) as lock:
                return lock.still_held() and "may not be written" in lock.warning

        def refused():
            os.setuid(65534)
            with pytest.raises(StartError, match="cannot take the lock"):
                new_lock(directory).acquire()
            return True

        assert in_child(taken)
        with new_lock(directory):
            assert in_child(refused)
