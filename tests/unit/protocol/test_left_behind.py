"""Whether a coordd has run at a place, and how it ended, by each combination of what lies there."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from coordd.protocol.left_behind import first_left, left_at
from coordd.protocol.origin import FIELD, origin_of
from coordd.protocol.paths import DaemonLocation, project_paths, workspace_above

ABSENT = object()


def place(root: Path, *, layout: str = "project") -> DaemonLocation:
    paths = project_paths(str(root))
    named = (paths["socket"], paths["snapshot"], paths["metrics_dir"], paths["log_dir"])
    return DaemonLocation(layout, *named, root=str(root) if layout == "project" else None)


def leave(root: Path, *, dead_socket: bool, ended_at: object = ABSENT, elsewhere: bool = False) -> None:
    run = root / ".claude" / "run"
    run.mkdir(parents=True)
    if dead_socket:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(run / "coordd.sock"))
    if ended_at is ABSENT and not elsewhere:
        return
    descriptor = os.open(run, os.O_RDONLY)
    origin = origin_of(descriptor)
    os.close(descriptor)
    if elsewhere:
        origin["inode"] = 1
    document = {"schema": 1, "status": {"health": "ok"}, "agents": [], FIELD: origin}
    if ended_at != "older":
        document["ended_at"] = None if ended_at is ABSENT else ended_at
    (run / "snapshot.json").write_text(json.dumps(document))


def crashed(location: DaemonLocation) -> bool | None:
    left = left_at(location, environ={}, cwd=None, now=0.0)
    return None if left is None else left.crashed


@pytest.mark.parametrize("layout", ["project", "user"])
@pytest.mark.parametrize(
    ("dead_socket", "ended_at", "expected"),
    [
        (False, ABSENT, None),
        (True, ABSENT, True),
        (False, None, True),
        (True, None, True),
        (False, "2026-11-22T06:05:00.000Z", False),
        (True, "2026-11-22T06:05:00.000Z", True),
        (False, "older", False),
        (True, "older", True),
    ],
)
def test_how_it_ended(
    tmp_path: Path, layout: str, dead_socket: bool, ended_at: object, expected: bool | None
) -> None:
    leave(tmp_path, dead_socket=dead_socket, ended_at=ended_at)
    assert crashed(place(tmp_path, layout=layout)) is expected


@pytest.mark.parametrize("dead_socket", [True, False])
def test_a_copied_project_is_none_where_one_has_run(tmp_path: Path, dead_socket: bool) -> None:
    leave(tmp_path, dead_socket=dead_socket, elsewhere=True)
    assert crashed(place(tmp_path)) is None
    refused: list[str] = []
    assert first_left([place(tmp_path)], {}, None, 0.0, refused) is None
    assert "written in another folder" in refused[0]


def test_no_link_is_followed_in_a_project(tmp_path: Path) -> None:
    leave(tmp_path / "other", dead_socket=False, ended_at=None)
    (tmp_path / "app" / ".claude").mkdir(parents=True)
    (tmp_path / "app" / ".claude" / "run").symlink_to(tmp_path / "other" / ".claude" / "run")
    assert crashed(place(tmp_path / "app")) is None
    assert workspace_above(str(tmp_path / "app")) is None


def test_a_project_is_known_by_what_a_coordd_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    assert workspace_above(str(tmp_path / "deep")) is None
    leave(tmp_path, dead_socket=False, ended_at="2026-11-22T06:05:00.000Z")
    assert workspace_above(str(tmp_path / "deep")) == str(tmp_path)
