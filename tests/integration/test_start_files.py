"""A start with anything at all in the place of the files that it reads: it starts, and says what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live import Project, watching
from waiting import eventually

READ_AT_START = ("run/snapshot.json", "metrics/.lock", "coordd.toml")
BESIDE = ("run/.gitignore", "run/snapshot.json.tmp", "metrics/.gitignore", "logs/.gitignore")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def ten_gigabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 1_000_000)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path itself is too long for an address
    os.close(folder)


def directory(path: Path) -> None:
    (path / "inner").mkdir(parents=True)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def to_a_secret(path: Path) -> None:
    path.symlink_to(path.parents[2] / "secret")


def closed(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: endless


KINDS = [
    garbage,
    nothing,
    ten_gigabytes,
    deep,
    fifo,
    unix_socket,
    directory,
    dangling,
    to_a_secret,
    closed,
    pytest.param(device, marks=pytest.mark.root),
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    (project.root / "secret").write_bytes(b"precious")
    for folder in ("run", "metrics", "logs"):
        (project.claude / folder).mkdir()
    return project


def works(project: Project, tmp_path: Path) -> None:
    """It starts, sees an agent, and ends in order."""
    with watching(project, tmp_path) as coordd:
        project.beat("a")
        eventually(lambda: coordd.statuses() == {"a": "active"})
        assert coordd.stop(signal.SIGTERM) == 0
    assert (project.root / "secret").read_bytes() == b"precious"
    assert not (project.claude / "nowhere").exists()


@pytest.mark.parametrize("make", KINDS)
def test_whatever_stands_there_it_starts(
    project: Project, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    for name in (*READ_AT_START, *BESIDE):
        if name != "coordd.toml" or make in (nothing, dangling, to_a_secret):
            make(project.claude / name)
    works(project, tmp_path)


@pytest.mark.parametrize("make", KINDS)
def test_records_of_the_last_run_may_be_anything(
    project: Project, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    for kind in ("agent", "system", "event"):
        make(project.claude / "metrics" / f"{kind}_{yesterday}.jsonl")
    make(project.claude / "logs" / f"performance_{yesterday}.csv")
    works(project, tmp_path)
