"""Start, reload, kill, hang and end under a real systemd, with clients and agents at it all the while."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from box import SOCKET, Box, beat
from live import RpcFailed, read_records
from waiting import PATIENCE, eventually

from coordd.util.timestamps import format_utc

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

WORKSPACE = "/home/ann/src/app"
METRICS = "/var/lib/coordd/metrics"
CONFIG = "/etc/coordd/coordd.toml"


class Load:
    """Clients that ask without a pause, each on a connection a request."""

    def __init__(self, box: Box) -> None:
        self.answered = 0
        self.failed: list[str] = []
        self._box = box
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self._box.rpc("status")
                self.answered += 1
            except (OSError, RpcFailed, ValueError) as error:
                self.failed.append(repr(error))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.answered > 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@contextmanager
def signs_every(box: Box, seconds: float, extra: str = "") -> Iterator[None]:
    """The service with a shorter watchdog."""
    box.drop_in(f"[Service]\nWatchdogSec={seconds}\n{extra}")
    box.run("systemctl", "restart", "coordd")
    yield


def restarts(box: Box) -> int:
    return int(box.show("coordd", "NRestarts")["NRestarts"])


def messages(box: Box) -> str:
    return "\n".join(str(entry["MESSAGE"]) for entry in box.journal())


def test_a_reload_under_load_refuses_nobody_and_keeps_the_process(box: Box) -> None:
    pid = box.main_pid()
    path = box.path(CONFIG)
    whole = "[agents]\n"
    with Load(box) as load:
        for turn in range(5):
            path.write_text(whole + f'timeout = "{60 + turn}s"\n')
            box.run("systemctl", "reload", "coordd")
            assert box.rpc("ping")["pid"] == pid
        before = load.answered
        eventually(lambda: load.answered > before + 10)
    assert load.failed == []
    assert box.main_pid() == pid
    assert "changed: agents.timeout" in messages(box)
    shown = box.show("coordd", "ActiveState", "SubState", "StatusText")
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
    assert "reading the configuration" not in shown["StatusText"]


def test_a_bad_configuration_fails_the_reload_with_its_reason_and_the_old_one_stays(box: Box) -> None:
    pid = box.main_pid()
    whole = box.path(CONFIG).read_text()
    box.path(CONFIG).write_text(whole.replace('#interval = "1m"', "interval = 'often'"))
    with Load(box) as load:
        done = box.try_("systemctl", "reload", "coordd")
        assert done.returncode != 0
        eventually(lambda: "sampling.interval" in messages(box))
    assert load.failed == []
    assert (box.main_pid(), box.active()) == (pid, True)
    assert [w["path"] for w in box.rpc("status")["workspaces"]] == [WORKSPACE]
    box.path(CONFIG).write_text(whole)
    box.run("systemctl", "reload", "coordd")


def test_twenty_kills_lose_nothing_that_a_client_was_told(box: Box) -> None:
    told: dict[str, str] = {}
    first = restarts(box)
    for turn in range(20):
        agent = f"a{turn % 4}"
        stamp = format_utc(time.time())
        beat(box, WORKSPACE, agent, "ann", stamp)

        def known(agent: str = agent, stamp: str = stamp) -> bool:
            shown = box.rpc("agents.get", {"agent_id": agent, "workspace": WORKSPACE})
            return bool(shown["last_heartbeat"] == stamp)

        eventually(known, what=f"{agent} has beaten {stamp}")
        told[stamp] = agent
        pid = box.main_pid()
        box.run("kill", "-KILL", str(pid))
        eventually(lambda pid=pid: box.active() and box.main_pid() not in (0, pid))  # type: ignore[misc]
    assert restarts(box) - first == 20
    records = read_records(box.path(METRICS), "agent")
    recorded = {r["last_heartbeat"]: r["agent_id"] for r in records}
    assert told.items() <= recorded.items()
    starts = [r for r in records if r["last_heartbeat"] in told]
    assert len(starts) == len({(r["agent_id"], r["last_heartbeat"], r["status"]) for r in starts}), "repeated"


HANG = """
import signal, time
def hang_the_loop(*_):
    time.sleep(3600)
def hang_the_sampler(*_):
    import psutil
    psutil.virtual_memory = lambda: time.sleep(3600)
signal.signal(signal.SIGUSR2, hang_the_loop)
signal.signal(signal.SIGUSR1, hang_the_sampler)
"""


def test_a_hung_loop_is_ended_by_the_watchdog_and_shows_where_it_hung(box: Box) -> None:
    box.path("/opt/hang").mkdir(exist_ok=True)
    (box.path("/opt/hang") / "sitecustomize.py").write_text(HANG)
    with signs_every(box, 2, "Environment=PYTHONPATH=/opt/hang\n"):
        pid = box.main_pid()
        box.run("kill", "-USR2", str(pid))
        eventually(lambda: restarts(box) == 1 and box.active())
        assert box.main_pid() != pid
        said = messages(box)
        assert "Watchdog timeout" in said
        assert "in hang_the_loop" in said


def test_samples_that_do_not_come_count_as_hung(box: Box) -> None:
    box.path("/opt/hang").mkdir(exist_ok=True)
    (box.path("/opt/hang") / "sitecustomize.py").write_text(HANG)
    path = box.path(CONFIG)
    path.write_text('[sampling]\ninterval = "1s"\n')
    with signs_every(box, 3, "Environment=PYTHONPATH=/opt/hang\n"):
        pid = box.main_pid()
        box.run("kill", "-USR1", str(pid))
        eventually(lambda: restarts(box) == 1 and box.active())
        assert box.main_pid() != pid
        assert "gets no sign of life" in messages(box)


def test_a_stopped_process_is_ended_by_the_watchdog(box: Box) -> None:
    with signs_every(box, 2):
        pid = box.main_pid()
        box.run("kill", "-STOP", str(pid))
        eventually(lambda: restarts(box) == 1 and box.active())
        assert box.main_pid() != pid


def test_a_pause_of_half_the_watchdog_is_survived(box: Box) -> None:
    with signs_every(box, 6):
        pid = box.main_pid()
        beat(box, WORKSPACE, "patient", "ann")

        def last_sign() -> int:
            return int(box.show("coordd", "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"])

        first = last_sign()
        eventually(lambda: last_sign() > first)
        box.run("sh", "-c", f"kill -STOP {pid}; sleep 3; kill -CONT {pid}")
        paused = last_sign()
        eventually(lambda: last_sign() > paused)
        assert (restarts(box), box.main_pid()) == (0, pid)
        assert box.rpc("agents.get", {"agent_id": "patient"})["status"] == "active"


def test_the_end_under_load_is_clean(box: Box) -> None:
    stop = threading.Event()

    def agents() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            beat(box, WORKSPACE, f"busy-{turn % 5}", "ann", f"2026-11-02T00:00:00.{turn:03d}Z")

    beating = threading.Thread(target=agents)
    beating.start()
    try:
        with Load(box):
            box.run("systemctl", "stop", "coordd")
    finally:
        stop.set()
        beating.join(PATIENCE)
    shown = box.show("coordd", "Result", "ExecMainCode", "ExecMainStatus", "ActiveState")
    # systemd kills what has not drained within TimeoutStopSec, and calls that a failure
    assert shown == {
        "Result": "success",
        "ExecMainCode": "1",
        "ExecMainStatus": "0",
        "ActiveState": "inactive",
    }
    assert not box.path(SOCKET).exists()
    records = [*read_records(box.path(METRICS), "agent"), *read_records(box.path(METRICS), "event")]
    assert records[-1]["kind"] == "daemon.stopped"
    assert json.loads(box.path("/var/lib/coordd/snapshot.json").read_text())["status"]["daemon"]


def test_the_start_limit_is_reached_and_reset(box: Box) -> None:
    box.run("systemctl", "stop", "coordd")
    box.drop_in("[Unit]\nStartLimitBurst=3\n")
    holder = f"flock {METRICS}/.lock sleep 3600"
    box.run("systemd-run", "--unit=holder", "sh", "-c", f"exec {holder}")
    try:
        eventually(lambda: box.try_("flock", "--nonblock", f"{METRICS}/.lock", "true").returncode == 1)
        box.try_("systemctl", "start", "coordd")
        # systemd 252 keeps the exit code as the Result, and says the limit in the journal
        eventually(lambda: "Start request repeated too quickly" in messages(box))
        eventually(lambda: box.show("coordd", "ActiveState")["ActiveState"] == "failed")
        assert "already records into this metrics directory" in messages(box)
    finally:
        box.run("systemctl", "kill", "holder")
    eventually(lambda: box.try_("flock", "--nonblock", f"{METRICS}/.lock", "true").returncode == 0)
    box.run("systemctl", "reset-failed", "coordd")
    box.run("systemctl", "start", "coordd")
    assert box.rpc("ping")


def test_a_bad_configuration_at_start_ends_it_once_with_its_reason(box: Box) -> None:
    box.run("systemctl", "stop", "coordd")
    box.path(CONFIG).write_text("[storage]\nretention_days = 0\n")
    assert box.try_("systemctl", "start", "coordd").returncode != 0
    eventually(lambda: box.show("coordd", "ActiveState")["ActiveState"] == "failed")
    shown = box.show("coordd", "ExecMainStatus", "NRestarts")
    assert shown == {"ExecMainStatus": "78", "NRestarts": "0"}
    (reason,) = [e for e in box.journal() if "retention_days" in str(e["MESSAGE"])]
    assert reason["PRIORITY"] == "3"
    assert CONFIG in reason["MESSAGE"]


def test_the_journal_has_priorities_and_no_times_of_our_own(box: Box) -> None:
    box.path(CONFIG).write_text("")
    box.run("systemctl", "restart", "coordd")
    pid = str(box.main_pid())
    ours = [entry for entry in box.journal() if entry["_PID"] == pid]
    by_message = {e["MESSAGE"]: e["PRIORITY"] for e in ours}
    assert by_message["coordd 0.1.0 answers on /run/coordd/coordd.sock"] == "6"
    (warning,) = [p for m, p in by_message.items() if "no workspace to watch" in m]
    assert warning == "4"
    assert not [m for m in by_message if m[:4].isdigit() or m.startswith("<")]
    assert {e["SYSLOG_IDENTIFIER"] for e in ours} == {"coordd"}


def test_socket_activation_keeps_clients_waiting_while_it_restarts(box: Box) -> None:
    box.run("systemctl", "stop", "coordd")
    unit = box.path("/etc/systemd/system/coordd.socket")
    unit.write_text(
        "[Socket]\nListenStream=/run/coordd.sock\nSocketMode=0660\nSocketGroup=coordd\nRemoveOnStop=yes\n"
    )
    box.run("systemctl", "daemon-reload")
    try:
        box.run("systemctl", "start", "coordd.socket")
        assert not box.active()
        assert box.rpc("ping", path="/run/coordd.sock")["pid"] == box.main_pid()  # which has started it
        pid = box.main_pid()
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.settimeout(PATIENCE)
            box.run("kill", "-STOP", str(pid))
            waiting.connect(str(box.path("/run/coordd.sock")))  # nobody accepts it yet
            box.run("kill", "-KILL", str(pid))
            waiting.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            answer = json.loads(waiting.makefile("rb").readline())
        assert answer["result"]["pid"] not in (0, pid)
        box.run("systemctl", "stop", "coordd.service")
        assert box.path("/run/coordd.sock").exists(), "the socket is the manager's to remove"
        assert box.rpc("status", path="/run/coordd.sock")["daemon"]["socket"] == "/run/coordd.sock"
    finally:
        box.try_("systemctl", "stop", "coordd.socket", "coordd.service")
        unit.unlink()
        box.run("systemctl", "daemon-reload")
