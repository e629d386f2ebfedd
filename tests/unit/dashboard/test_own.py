"""Test when a token is required: files of a clone never open the system's daemon without one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from coordd.cli.dashboard import _own_daemon
from coordd.protocol.paths import DaemonLocation


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def locations(directory: Path) -> list[DaemonLocation]:
    return [
        DaemonLocation(name, str(directory / name), "s", "m", "l") for name in ("project", "user", "system")
    ]


LITTER: list[Callable[[Path, Path], object]] = [
    lambda path, system: path.write_text("file"),
    lambda path, system: path.mkdir(),
    lambda path, system: path.symlink_to(system),
    lambda path, system: path.hardlink_to(system),
    lambda path, system: path.symlink_to("nowhere"),
]


@pytest.mark.parametrize("make", LITTER)
def test_what_is_no_socket_of_its_own_is_no_daemon(
    tmp_path: Path, make: Callable[[Path, Path], object]
) -> None:
    listen(tmp_path / "system")
    make(tmp_path / "project", tmp_path / "system")
    assert not _own_daemon(locations(tmp_path))


def test_a_folder_that_leads_to_the_systems_is_not_one_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    listen(tmp_path / "run" / "sock")
    (tmp_path / "clone").symlink_to("run")
    names = (tmp_path / "clone" / "sock", tmp_path / "none", tmp_path / "run" / "sock")
    assert not _own_daemon([DaemonLocation("x", str(path), "s", "m", "l") for path in names])


def test_a_socket_of_ones_own_is_one(tmp_path: Path) -> None:
    listen(tmp_path / "system")
    listen(tmp_path / "user")
    assert _own_daemon(locations(tmp_path))


def test_without_a_daemon_of_the_systems_there_is_nothing_to_guard(tmp_path: Path) -> None:
    assert _own_daemon(locations(tmp_path))
