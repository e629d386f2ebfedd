"""What a service manager and the installer need of the dashboard: a log of its own, its version on asking."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

from dash import dashboard
from live import coordctl, environment
from waiting import eventually

from coordd import __version__
from coordd.dashboard.listen import Address
from coordd.installer.dashboard import version_at


def test_it_tells_its_version_on_tcp_and_on_a_socket(tmp_path: Path) -> None:
    nowhere = tmp_path / "none.sock"
    with dashboard(sock=nowhere, home=tmp_path, wait_for_daemon=False) as running:
        assert version_at(Address("0.0.0.0", running.port)) == __version__
    path = tmp_path / "http.sock"
    with dashboard(sock=nowhere, home=tmp_path, listen=f"unix:{path}"):
        assert version_at(Address(None, 0, str(path))) == __version__
    assert version_at(Address(None, 0, str(path))) is None


def test_a_manager_hears_when_it_serves_and_when_it_ends(tmp_path: Path) -> None:
    nowhere = tmp_path / "none.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        tells = ("env", f"NOTIFY_SOCKET={tmp_path}/notify")
        with dashboard(sock=nowhere, home=tmp_path, wait_for_daemon=False, prefix=tells) as running:
            assert manager.recv(1000) == b"READY=1\nSTATUS=serving"
            assert running.stop(signal.SIGTERM) == 0
            assert manager.recv(1000) == b"STOPPING=1\nSTATUS=sending the last answers"


def test_a_log_file_of_its_own_takes_every_line(tmp_path: Path) -> None:
    log = tmp_path / "dashboard.log"
    nowhere = tmp_path / "none.sock"
    words = ("--log-file", str(log))
    with dashboard(*words, sock=nowhere, home=tmp_path, wait_for_daemon=False) as running:
        line = eventually(lambda: re.search(r"^\S+T\S+Z WARNING no daemon: .*$", log.read_text(), re.M))
        assert line
        assert running.stop(signal.SIGTERM) == 0
        assert "no daemon" not in running.log.read_text()


def test_a_log_file_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    words = ("dashboard", "--listen", "127.0.0.1:0", "--log-file", f"{tmp_path}/no/log")
    done = coordctl(*words, environ=environment(tmp_path / "home"))
    assert done.returncode == 1
    assert f"coordctl: --log-file {tmp_path}/no/log: No such file or directory" in done.stderr
