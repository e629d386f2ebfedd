"""The real daemon under a service manager that only listens; tests/systemd has the real one."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Project, RpcFailed, beating, owners_file, watching
from redisd import redis_server
from waiting import eventually

from coordd.util.text import epoch_of


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def listen(self) -> list[str]:
        """All messages so far."""
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    def hears(self, start: str, *, after: int = 0) -> int:
        """Wait for a message; its number."""

        def found() -> int:
            return next(n + 1 for n, m in enumerate(self.listen()) if n >= after and m.startswith(start))

        def probe() -> int:
            try:
                return found()
            except StopIteration:
                return 0

        return eventually(probe, what=f"{start} in {self.heard}") - 1

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def supervised(manager: Manager, **extra: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, **extra}


def test_a_whole_life(manager: Manager, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("one")
    with watching(project, tmp_path, **supervised(manager, WATCHDOG_USEC="900000")) as coordd:
        ready = manager.hears("READY=1")
        assert coordd.rpc("system.latest")["cpu_percent"] is not None
        assert manager.heard[ready] == "READY=1\nSTATUS=1 alive; no problems"
        assert "WATCHDOG=1" not in manager.heard[:ready]
        first = manager.hears("WATCHDOG=1", after=ready)
        manager.hears("WATCHDOG=1", after=first + 1)

        project.beat("two")
        manager.hears("STATUS=2 alive", after=ready)
        sampled = [event for event in project.records("event") if event["kind"] == "daemon.started"]
        first = project.records("system")[0]
        # so soon after its own start, less than a second would be the CPU use of that start
        assert (epoch_of(first["timestamp"]) or 0.0) - (epoch_of(sampled[0]["timestamp"]) or 0.0) >= 1.0

        begun = len(manager.listen())
        coordd.ctl("reload")
        reloading = manager.hears("RELOADING=1\nMONOTONIC_USEC=", after=begun)
        manager.hears("READY=1\nSTATUS=2 alive", after=reloading)

        config = owners_file(tmp_path, project, agents={"nonsense": 1})
        begun = len(manager.listen())
        with pytest.raises(RpcFailed):
            coordd.rpc("reload")
        manager.hears("READY=1", after=manager.hears("RELOADING=1", after=begun))
        config.unlink()

        assert coordd.stop() == 0
    assert manager.listen()[-1].startswith("STOPPING=1\n")


def test_no_ready_without_a_sample(manager: Manager, tmp_path: Path) -> None:
    # psutil that hangs: everything answers, but nothing is measured
    (tmp_path / "hang").mkdir()
    (tmp_path / "hang" / "psutil.py").write_text("import time; time.sleep(600)")
    project = Project(tmp_path / "app")
    hanging = supervised(manager, WATCHDOG_USEC="900000", PYTHONPATH=str(tmp_path / "hang"))
    with watching(project, tmp_path, **hanging) as coordd:
        eventually(lambda: manager.hears("STATUS=reading back") >= 0)
        project.beat("one")
        eventually(lambda: coordd.statuses() == {"one": "active"})
        assert not [m for m in manager.listen() if m.startswith(("READY", "WATCHDOG"))]
        coordd.process.send_signal(signal.SIGKILL)


def test_signs_meant_for_another_process_are_not_given(manager: Manager, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    other = supervised(manager, WATCHDOG_USEC="60000", WATCHDOG_PID=str(os.getpid()))
    with watching(project, tmp_path, **other) as coordd:
        ready = manager.hears("READY=1")
        coordd.ctl("reload")
        manager.hears("READY=1", after=ready + 1)
        assert coordd.stop() == 0
    assert "WATCHDOG=1" not in manager.listen()


AS_A_MANAGER = """
import os, socket, sys
made = socket.socket(socket.AF_UNIX)
made.bind(sys.argv[1])
made.listen()
os.dup2(made.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_the_socket_is_taken_over_and_left_to_its_maker(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    path = tmp_path / "made.sock"
    prefix = [sys.executable, "-c", AS_A_MANAGER, str(path)]
    with watching(project, tmp_path, prefix=prefix, sock=path) as coordd:
        assert coordd.rpc("status")["daemon"]["socket"] == str(path)
        assert not (project.claude / "run" / "coordd.sock").exists()
        assert coordd.stop() == 0
    assert path.exists()


def test_the_status_line_follows_what_changes_between_two_samples(manager: Manager, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("one")
    owners_file(tmp_path, project, agents={"timeout": "3s"})
    # Without a watchdog and with a sample an hour, only the change itself can bring the line.
    rare = {"COORDD_SAMPLING_INTERVAL": "1h"}
    with redis_server(tmp_path / "redis") as server:
        extra = {"COORDD_REDIS_URL": server.url, **rare}
        with watching(project, tmp_path, **supervised(manager, **extra)) as coordd:
            with beating(project, "one"):
                manager.hears("READY=1")
            silent = manager.hears("STATUS=0 alive, 1 dead", after=len(manager.listen()))  # by a deadline
            project.beat("one")
            alive = manager.hears("STATUS=1 alive; no problems", after=silent)  # by a heartbeat
            server.kill()
            down = manager.hears("STATUS=1 alive; degraded: Redis", after=alive)  # by an event
            server.start()
            manager.hears("STATUS=", after=down)
            assert eventually(lambda: coordd.rpc("status")["health"] == "ok")
            eventually(lambda: "no problems" in manager.listen()[-1], what="the line is well again")
