"""Test that any content of a snapshot becomes a message of ``coordctl``, never a traceback."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.cli.common import DaemonTarget
from coordd.cli.look import Picture
from coordd.cli.status import show_status
from coordd.cli.status_text import lost_text, stopped_text
from coordd.cli.view import View
from coordd.protocol.origin import FIELD, origin_of
from coordd.protocol.snapshot import NotBelieved, read_snapshot
from coordd.sinks.snapshot_writer import write_snapshot
from coordd.util.directories import open_directory

NOW = 1_795_327_500.0

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def sections(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


status = st.fixed_dictionaries(
    {},
    optional={
        "schema": values,
        "timestamp": values | st.just("2026-11-22T06:05:00.123Z"),
        "health": values | st.just("ok"),
        "problems": values | st.lists(values, max_size=3),
        "daemon": values
        | sections("version", "pid", "uptime", "host", "socket", "layout", "started_at", "rss"),
        "redis": values | sections("configured", "connected", "url", "used_memory", "keys", "error", "feed"),
        "system": values
        | sections("cpu_percent", "memory_usage", "disk_usage", "load_average", "cpu_count", "timestamp"),
        "agents": values | sections("total", "active", "inactive", "unknown", "stalled"),
        "tasks": values | sections("available", "claimed", "expired", "orphaned"),
        "workspaces": values | st.lists(sections("path", "state", "error"), max_size=3),
        "sinks": values
        | st.dictionaries(st.text(max_size=6), sections("state", "error", "backlog"), max_size=2),
        "traces_malformed": values | sections("count", "traces"),
    },
)
agents = st.lists(
    sections(
        "agent_id", "workspace", "status", "reason", "active_tasks", "uptime", "last_heartbeat", "sources",
        "last_heartbeat_age", "declared_status", "cause", "timestamp", "host",
    ),
    max_size=3,
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(status, agents, st.none() | st.floats(0, 1e12))
def test_any_snapshot_becomes_words(document: Any, listed: Any, age: float | None) -> None:
    picture = Picture(document, listed)
    stopped_text(picture, [("/s", "nothing there")], View(), snapshot_age=age)
    lost_text(picture, "connection lost", View(colour=True, columns=80), age=age)


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=300)
    | st.builds(lambda s, a: json.dumps({"schema": 1, "status": s, "agents": a}).encode(), status, agents)
)
def test_any_file_in_its_place_is_survived(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("p")
    path = root / "snapshot.json"
    path.write_bytes(content)
    read_snapshot(str(path), NOW)
    try:
        assert read_snapshot(str(path), NOW, root=str(root)) is None
    except NotBelieved as problem:
        assert "passed over" in str(problem)


def test_what_coordd_left_is_believed_where_it_left_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "snapshot.json"
    with open_directory(str(path.parent), make=True, root=str(tmp_path)) as directory:
        write_snapshot(directory, path.name, {"schema": 1, "status": {"health": "ok"}}, mode=0o600)
        assert json.loads(path.read_text())[FIELD] == origin_of(directory.fd)
    assert read_snapshot(str(path), NOW, root=str(tmp_path)) is not None
    os.rename(tmp_path / "run", tmp_path / "elsewhere")
    (tmp_path / "run").mkdir()
    os.rename(tmp_path / "elsewhere" / "snapshot.json", path)
    with pytest.raises(NotBelieved, match="another folder"):
        read_snapshot(str(path), NOW, root=str(tmp_path))
    os.rename(tmp_path / "elsewhere", tmp_path / "e")
    (tmp_path / "run").rename(tmp_path / "r")
    (tmp_path / "run").symlink_to("r")
    with pytest.raises(NotBelieved, match="a link"):
        read_snapshot(str(path), NOW, root=str(tmp_path))


@pytest.mark.parametrize("kind", ["fifo", "directory", "socketless", "sparse", "link"])
def test_writing_it_is_kept_up_by_nothing_under_its_temporary_name(tmp_path: Path, kind: str) -> None:
    temporary = tmp_path / "snapshot.json.tmp"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if kind == "fifo":
        os.mkfifo(temporary)
    elif kind == "directory":
        temporary.mkdir()
    elif kind == "link":
        temporary.symlink_to(victim)
    elif kind == "sparse":
        with temporary.open("wb") as file:
            file.truncate(10 << 30)
    with open_directory(str(tmp_path)) as directory:
        if kind == "directory":
            with pytest.raises(OSError, match="directory"):
                write_snapshot(directory, "snapshot.json", {"schema": 1}, mode=0o600)
            return
        write_snapshot(directory, "snapshot.json", {"schema": 1}, mode=0o600)
    assert json.loads((tmp_path / "snapshot.json").read_text())["schema"] == 1
    assert victim.read_text() == "precious"


def test_status_says_why_a_snapshot_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".claude" / "coordination").mkdir(parents=True)
    (tmp_path / ".claude" / "run").mkdir()
    (tmp_path / ".claude" / "run" / "snapshot.json").write_text('{"schema": 1, "status": {"health": "ok"}}')
    for name in ("COORDD_SOCKET", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert show_status(DaemonTarget(), True) == 3
    assert "does not say on which machine" in err.getvalue()
    assert json.loads(out.getvalue())["daemon_running"] is False
    assert "health" not in json.loads(out.getvalue())


@pytest.mark.parametrize("name", ["snapshot.json", "snapshot.json.tmp"])
@pytest.mark.parametrize("content", [b"somebody's notes\n", b'{"a": 1}', b"\xff" * 5000, b"x"])
def test_a_strangers_file_under_its_name_keeps_every_byte(tmp_path: Path, name: str, content: bytes) -> None:
    with open_directory(str(tmp_path)) as directory:
        for _ in range(2):
            (tmp_path / name).write_bytes(content)
            write_snapshot(directory, "snapshot.json", {"schema": 1}, mode=0o600)
            write_snapshot(directory, "snapshot.json", {"schema": 1}, mode=0o600)
    assert json.loads((tmp_path / "snapshot.json").read_text())["schema"] == 1
    kept = {f"{name}.aside", f"{name}.2.aside"}
    assert set(os.listdir(tmp_path)) == {"snapshot.json", *kept}
    assert {(tmp_path / one).read_bytes() for one in kept} == {content}


@pytest.mark.parametrize("content", [b"", b'{"sch', b'{"schema":1,"torn'])
def test_what_coordd_itself_left_is_not_kept(tmp_path: Path, content: bytes) -> None:
    for name in ("snapshot.json", "snapshot.json.tmp"):
        (tmp_path / name).write_bytes(content)
    with open_directory(str(tmp_path)) as directory:
        write_snapshot(directory, "snapshot.json", {"schema": 1}, mode=0o600)
    assert os.listdir(tmp_path) == ["snapshot.json"]


def test_in_a_project_another_users_snapshot_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "snapshot.json"
    with open_directory(str(tmp_path)) as directory:
        write_snapshot(directory, path.name, {"schema": 1, "status": {}}, mode=0o644)
    owner = os.geteuid()
    fstat = os.fstat
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:  # root's word counts for everybody
        assert read_snapshot(str(path), NOW, root=str(tmp_path)) is not None
        monkeypatch.setattr(os, "geteuid", lambda: 0)

        def another(descriptor: int) -> os.stat_result:
            found = list(fstat(descriptor))
            found[4] = 1234
            return os.stat_result(found)

        monkeypatch.setattr(os, "fstat", another)
    with pytest.raises(NotBelieved, match="it is a file of uid"):
        read_snapshot(str(path), NOW, root=str(tmp_path))
    assert read_snapshot(str(path), NOW) is not None, "outside of projects it counts"
