"""The classic daemon: detached cleanly, ready when ``start`` returns, ended without hitting another."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from live import Coordd, Project, environment, owners_file
from waiting import PATIENCE, eventually

from coordd.commands.holder import LockHolder, find_holder, find_pid
from coordd.errors import StartError


class Classic:
    """``coordd COMMAND -w PROJECT`` as a user types it."""

    def __init__(self, project: Project, home: Path) -> None:
        self.project = project
        self.environ = environment(home)
        self.metrics = project.claude / "metrics"
        self.socket = project.claude / "run" / "coordd.sock"

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coordd", *words, "--workspace", str(self.project.root)],
            capture_output=True,
            text=True,
            env=self.environ,
            cwd=cwd,
            timeout=PATIENCE * 3,
            check=False,
        )

    def pid(self) -> int:
        answer = Coordd.rpc(self, "ping")  # type: ignore[arg-type]  # only its socket is asked for
        return int(answer["pid"])


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[Classic]:
    classic = Classic(Project(tmp_path / "app"), tmp_path / "home")
    yield classic
    pid = find_pid(str(classic.metrics / ".lock"))
    if pid is not None and pid != os.getpid():
        os.kill(pid, signal.SIGKILL)


def test_start_returns_when_it_answers_and_leaves_it_detached(classic: Classic, tmp_path: Path) -> None:
    done = classic.run("start", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pid = classic.pid()  # nothing is waited for
    assert f"pid {pid}" in done.stdout
    process = Path(f"/proc/{pid}")
    assert os.getsid(pid) not in (os.getsid(0), pid), "it leads no session, so it can never get a terminal"
    assert os.readlink(process / "cwd") == "/"
    assert [os.readlink(process / "fd" / str(n)) for n in range(3)] == ["/dev/null"] * 3
    assert "Umask:\t0077" in (process / "status").read_text()
    log = classic.project.claude / "logs" / "coordd.log"
    assert "answers on" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert classic.run("start").stdout == f"coordd runs already, pid {pid}\n"
    assert classic.run("stop").returncode == 0


def test_stop_returns_when_the_last_record_is_written(classic: Classic) -> None:
    classic.run("start")
    pid = classic.pid()
    classic.project.beat("worker")
    done = classic.run("stop")
    assert (done.returncode, done.stdout) == (0, f"coordd is stopped, pid {pid}\n")
    assert find_pid(str(classic.metrics / ".lock")) is None
    assert classic.project.records("event")[-1]["kind"] == "daemon.stopped"
    assert not classic.socket.exists()
    again = classic.run("stop")
    assert again.returncode == 0
    assert "does not run here" in again.stdout


def test_restart_runs_the_new_configuration_and_keeps_the_old_on_a_bad_one(
    classic: Classic, tmp_path: Path
) -> None:
    classic.run("start")
    first = classic.pid()
    owners_file(tmp_path, classic.project, agents={"timeout": "soon"})
    bad = classic.run("restart")
    assert bad.returncode == 78
    assert "agents.timeout" in bad.stderr
    assert classic.pid() == first
    owners_file(tmp_path, classic.project, agents={"timeout": "90s"})
    assert classic.run("restart").returncode == 0
    assert classic.pid() != first
    classic.run("stop")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--socket", "{tmp}/file"), "is a file, no socket: move it away"),
        (("--log-file", "{tmp}/no/where/coordd.log"), "the log file cannot be opened"),
        (("--log-file", "{tmp}/link"), "not a regular file"),
        (("--layout", "nowhere"), "Invalid value"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing_behind(
    classic: Classic, tmp_path: Path, words: Sequence[str], said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    done = classic.run("start", *[word.replace("{tmp}", str(tmp_path)) for word in words])
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert find_pid(str(classic.metrics / ".lock")) is None
    assert (tmp_path / "target").read_text() == ""


@contextlib.contextmanager
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_pid_that_is_anothers_now_is_not_believed(classic: Classic) -> None:
    with bystander() as other:
        classic.metrics.mkdir()
        lock = classic.metrics / ".lock"
        lock.write_text(json.dumps({"pid": other.pid, "version": "0.1.0", "started_at": "long ago"}))
        assert "does not run here" in classic.run("stop").stdout
        assert classic.run("start").returncode == 0
        pid = classic.pid()
        lock.write_text(json.dumps({"pid": other.pid}))
        assert f"pid {pid}" in classic.run("stop").stdout
        assert other.poll() is None


def test_a_lock_that_another_file_of_the_same_number_has_is_not_ours(tmp_path: Path) -> None:
    # /proc/locks knows numbers alone; what a process has open decides
    (tmp_path / ".lock").touch()
    other = tmp_path / "other"
    with other.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert find_pid(str(tmp_path / ".lock")) is None
        assert find_pid(str(other)) == os.getpid()
    assert find_holder(str(tmp_path / "nowhere")) is None


def test_one_that_hangs_is_told_twice_and_then_named() -> None:
    with bystander() as process:
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: "\nState:\tT" in Path(f"/proc/{process.pid}/status").read_text())
        pidfd = os.pidfd_open(process.pid)
        holder = LockHolder(process.pid, "/nowhere/.lock", pidfd)
        with pytest.raises(StartError, match=f"kill -KILL {process.pid}"):
            holder.stop(drain=0.1, forced=0.1)
        holder.close()
    deaf = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal,time; signal.signal(15, lambda *_: signal.signal(15, 0));"
            "print(flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
    )
    with deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        holder = LockHolder(deaf.pid, "/nowhere/.lock", os.pidfd_open(deaf.pid))
        assert holder.stop(drain=1.0, forced=PATIENCE) is False
        holder.close()


def test_another_users_daemon_is_named_not_missed(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with lock.open("r+") as file, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(file, fcntl.LOCK_EX)

        def closed(path: str) -> list[str]:
            raise PermissionError(13, "Permission denied", path)

        patch.setattr("coordd.commands.holder.os.listdir", closed)
        with pytest.raises(StartError, match="another user"):
            find_pid(str(lock))
        # a number that another user's lock on another file system has as well
        fcntl.flock(file, fcntl.LOCK_UN)
        locks = f"1: FLOCK  ADVISORY  WRITE 1 00:99:{lock.stat().st_ino} 0 EOF\n"
        (tmp_path / "locks").write_text(locks)
        patch.setattr("coordd.util.flocks.TABLE", str(tmp_path / "locks"))
        assert find_pid(str(lock)) is None


def test_it_is_ended_by_a_plain_kill_too(classic: Classic) -> None:
    classic.run("start")
    pid = classic.pid()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: find_pid(str(classic.metrics / ".lock")) is None)
