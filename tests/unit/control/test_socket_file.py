"""Test binding the socket: a dead daemon's is replaced, a live one's never, and no client connects early."""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
from pathlib import Path

import pytest

from coordd.control.socket_file import listen
from coordd.errors import StartError


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


def connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_it_listens_with_the_rights_asked_for_whatever_the_umask(path: str, mode: int) -> None:
    before = os.umask(0)
    try:
        listener = listen(path, mode=mode)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert connects(path)
    assert not listener.socket.getblocking()
    assert not listener.socket.get_inheritable()
    listener.close()
    assert not os.path.lexists(path)
    listener.close()


def test_a_dead_daemons_socket_is_replaced(path: str) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    listener = listen(path, mode=0o600)
    assert connects(path)
    listener.close()


def test_a_live_daemons_socket_is_left_alone(path: str) -> None:
    live = listen(path, mode=0o600)
    with pytest.raises(StartError, match="a live daemon listens"):
        listen(path, mode=0o600)
    assert connects(path)
    live.close()


def test_one_too_busy_to_answer_is_alive(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        clients = []
        try:
            while True:
                clients.append(socket.socket(socket.AF_UNIX))
                clients[-1].setblocking(False)
                clients[-1].connect(path)
        except BlockingIOError:
            pass
        with pytest.raises(StartError, match="a live daemon listens"):
            listen(path, mode=0o600)
        assert os.path.lexists(path)
        for client in clients:
            client.close()


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_is_left_alone(path: str, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    if kind == "file":
        Path(path).write_text("mine")
    elif kind == "directory":
        Path(path).mkdir()
    else:
        os.symlink(target, path)
    with pytest.raises(StartError, match="no socket: move it away"):
        listen(path, mode=0o600)
    assert os.path.lexists(path)
    assert target.read_text() == "mine"


def test_closing_leaves_another_daemons_socket_alone(path: str) -> None:
    listener = listen(path, mode=0o600)
    os.unlink(path)
    other = listen(path, mode=0o600)
    listener.close()
    assert connects(path)
    other.close()


def test_a_path_that_is_too_long_or_has_no_directory_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--socket"):
        listen(str(tmp_path / ("x" * 200)), mode=0o600)
    with pytest.raises(StartError, match="--socket"):
        listen(str(tmp_path / "no" / "s"), mode=0o600)


def test_a_group_that_does_not_exist_is_said_and_survived(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        listener = listen(path, mode=0o660, group="no-such-group-at-all")
    assert "no group no-such-group-at-all" in caplog.text
    listener.close()


@pytest.mark.root
def test_the_group_gets_the_socket(path: str) -> None:
    listener = listen(path, mode=0o660, group="daemon")
    assert os.stat(path).st_gid == grp.getgrnam("daemon").gr_gid
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    listener.close()
