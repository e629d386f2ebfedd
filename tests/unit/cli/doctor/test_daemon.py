"""Checks of the daemon, its lock, version and configuration."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from doctor_facts import STRANGER, facts, only
from fake_coordd import status_document

from coordd import __version__
from coordd.cli.common import DaemonTarget
from coordd.cli.doctor import facts as doctor_facts
from coordd.cli.doctor.daemon import (
    check_config,
    check_lock,
    check_sinks,
    check_socket,
    check_traces,
)
from coordd.cli.doctor.daemon import check_version as check_versions
from coordd.cli.doctor.facts import gather
from coordd.cli.doctor.service_command import ConfigAnswer
from coordd.errors import CannotTell, DaemonNotRunning


def test_a_daemon_that_answers_is_ok(tmp_path: Path) -> None:
    found = only(check_socket(facts(socket=str(tmp_path))))
    assert found.result == "ok"
    assert f"coordd {__version__}, pid {os.getpid()}, up 5 s" in found.message


def test_a_daemon_that_is_not_there_fails_and_a_stale_socket_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "s"
    error = DaemonNotRunning([(str(path), "nothing there")])
    found = only(check_socket(facts(error=error, socket=None)))
    assert (found.result, "nothing there" in found.message) == ("fail", True)
    assert found.fix == "; ".join(error.hints).rstrip("."), "as in the words of every other command"
    os.mknod(path, 0o600 | stat.S_IFSOCK)
    found = only(check_socket(facts(error=error, socket=None)))
    assert f"left at {path}" in str(found.fix)


def test_a_lock_is_no_failure_where_a_socket_was_there_and_gave_no_answer(tmp_path: Path) -> None:
    status = status_document(daemon={"metrics_dir": str(tmp_path)})
    silent = facts(error=CannotTell("/run/x.sock: no answer within 5 s"), status=status)
    gone = facts(error=DaemonNotRunning([]), status=status, socket=None)
    with (tmp_path / ".lock").open("w") as file:
        file.write(f'{{"pid": {os.getpid()}}}')
        file.flush()
        assert not list(check_lock(gone)), "what the file says is believed only while the lock is held"
        fcntl.flock(file, fcntl.LOCK_EX)
        stopped = only(check_lock(silent))
        assert (stopped.result, stopped.fix) == ("ok", None)
        assert "not behind a socket" not in stopped.message
        astray = only(check_lock(gone))
        assert (astray.result, f"kill {os.getpid()}" in str(astray.fix)) == ("fail", True)
        (tmp_path / ".lock").write_text('{"pid": true}')
        assert not list(check_lock(gone))


@pytest.mark.parametrize("closed", ["run", "run/s"])
def test_a_daemon_that_refuses_us_is_judged_by_its_own_user(
    monkeypatch: pytest.MonkeyPatch, open_directory: Path, closed: str
) -> None:
    (open_directory / "run").mkdir(0o755)
    path = open_directory / "run" / "s"
    os.mknod(path, 0o600 | stat.S_IFSOCK)
    (open_directory / closed).chmod(0o700)

    class Refused(DaemonTarget):
        def connect(self) -> Any:
            raise CannotTell(f"{path}: permission denied")

    monkeypatch.setattr(doctor_facts, "process", lambda _pid: STRANGER)
    about = gather(Refused(str(path)))
    assert (about.me, about.daemon.uid) == (STRANGER, os.geteuid())


def test_versions() -> None:
    assert only(check_versions(facts())).result == "ok"
    found = only(check_versions(facts(ping={"version": "0.0.1\x1b"})))
    assert (found.result, "0.0.1\\x1b" in found.message, "restart" in str(found.fix)) == ("warn", True, True)
    assert list(check_versions(facts(error=CannotTell("no answer")))) == []


@pytest.mark.parametrize(
    ("answer", "result", "words"),
    [
        (ConfigAnswer(0, "/nowhere.toml"), "ok", "defaults hold"),
        (ConfigAnswer(78, "/x.toml", "/x.toml: agents.timeout = 'x': expected"), "fail", "agents.timeout"),
        (ConfigAnswer(1, None, "ModuleNotFoundError: msgspec"), "fail", "msgspec"),
        (ConfigAnswer(None, "/x.toml", "/x.toml may not be read"), "warn", "may not be read"),
    ],
)
def test_the_configuration(answer: ConfigAnswer, result: str, words: str) -> None:
    found = only(check_config(facts(config=answer)))
    assert (found.result, words in found.message) == (result, True)
    assert (found.fix is None) == (result == "ok")


@pytest.mark.parametrize(
    ("sink", "error", "fix"),
    [
        ("jsonl", "/m: No space left on device", "make room there"),
        ("csv", "/l: Permission denied", "rights to that folder"),
        ("jsonl", "/m: Read-only file system", "writable again"),
        ("jsonl", "/m: what nobody foresaw", "the daemon's log"),
        ("redis", "Redis refuses connections: nothing listens there", "coordd check-redis"),
        ("redis", "Redis takes no writes: its memory is full (maxmemory)", "coordd check-redis"),
    ],
)
def test_a_failing_sink_gets_the_fix_of_its_error(sink: str, error: str, fix: str) -> None:
    status = status_document(sinks={sink: {"state": "failing", "error": error, "backlog": 1}})
    found = only(check_sinks(facts(status=status)))
    assert found.fix is not None
    assert fix in found.fix
    assert ("room" in found.fix) == ("space" in error)


def test_sinks_and_traces() -> None:
    sinks = {
        "jsonl": {"state": "failing", "error": "No space left on device", "backlog": 7},
        "csv": {"state": "ok", "dropped": 3},
    }
    failing, dropping = list(check_sinks(facts(status=status_document(sinks=sinks))))
    assert (failing.result, "No space left on device; 7 records waiting" in failing.message) == ("fail", True)
    assert (dropping.result, "3 records" in dropping.message) == ("warn", True)

    traces = [{"path": f"/w/{i}", "reason": "a FIFO"} for i in range(5)]
    found = only(check_traces(facts(status=status_document(traces_malformed={"count": 5, "traces": traces}))))
    assert found.message.endswith("/w/0: a FIFO; /w/1: a FIFO; /w/2: a FIFO; and 2 more")
