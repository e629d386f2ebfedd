"""Test that a socket from the service manager is taken over, and its file left to the manager."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from coordd.control.activation import adopt, passed_sockets
from coordd.errors import StartError


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_what_is_meant_for_another_process_or_is_garbage_is_left_alone() -> None:
    for environ in (
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1)},
        {"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "-1", "LISTEN_PID": str(os.getpid())},
    ):
        assert passed_sockets(environ, os.getpid()) == []
    assert adopt([]) is None


def test_the_socket_is_served_and_its_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = adopt([listening(path)])
    assert listener is not None
    assert listener.path == str(path)
    assert listener.in_place()
    assert not listener.socket.getblocking()
    listener.close()
    assert path.exists()


def test_anything_else_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as quiet, socket.socket(socket.AF_INET) as inet:
        quiet.bind(str(tmp_path / "quiet"))
        inet.bind(("127.0.0.1", 0))
        inet.listen()
        for wrong in (quiet, inet):
            with pytest.raises(StartError, match="ListenStream="):
                adopt([wrong])
    with (
        listening(tmp_path / "a") as one,
        listening(tmp_path / "b") as two,
        pytest.raises(StartError, match="2 sockets"),
    ):
        adopt([one, two])
    with (
        pytest.raises(StartError, match="no socket"),
        (tmp_path / "file").open("w") as file,
    ):
        monkey = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("coordd.control.activation.FIRST", file.fileno())
            passed_sockets(monkey, 1)
