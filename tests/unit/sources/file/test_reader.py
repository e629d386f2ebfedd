"""Reading a workspace on a real file system: what is there, what is bad, what has gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordd.agents.traces import AgentTraces, Claim, Heartbeat, Progress, Registration, SourceTraces
from coordd.sources.file import trace_folder as folder_module
from coordd.sources.file.hints import Signal
from coordd.sources.file.reader import WorkspaceReader

NOON = 1795262400.0
BEAT = "2026-11-21T12:00:00Z\n"
LATER = "2026-11-21T12:00:30Z\n"


@pytest.fixture
def coordination(tmp_path: Path) -> Path:
    path = tmp_path / ".claude" / "coordination"
    (path / "agents").mkdir(parents=True)
    return path


@pytest.fixture
def agents(coordination: Path) -> Path:
    return coordination / "agents"


@pytest.fixture
def reader(tmp_path: Path) -> WorkspaceReader:
    return WorkspaceReader(str(tmp_path))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened, one after the other."""
    names: list[str] = []
    real = folder_module.read_regular

    def read_regular(folder: int, name: str, limit: int) -> tuple[bytes, os.stat_result]:
        names.append(name)
        return real(folder, name, limit)

    monkeypatch.setattr(folder_module, "read_regular", read_regular)
    return names


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Rights count for root too in here."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def rights(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


def scan(reader: WorkspaceReader) -> SourceTraces:
    return reader.scan(time.time())


def settled(reader: WorkspaceReader) -> SourceTraces:
    """A reading long after the last change."""
    return reader.scan(time.time() + 60)


def beat(traces: AgentTraces | None) -> Heartbeat:
    assert traces is not None
    assert traces.heartbeat is not None
    return traces.heartbeat


def told(traces: AgentTraces) -> Registration:
    """What the agent wrote in its registration, without what its file tells."""
    assert traces.registration is not None
    return replace(traces.registration, owner=None, written=None, identity=0)


def test_a_touched_registration_was_written_again_and_says_the_same(
    agents: Path, reader: WorkspaceReader
) -> None:
    path = agents / "a.active"
    path.write_text('{"status": "active"}')
    before = scan(reader).agents["a"]
    os.utime(path, ns=(0, 1_795_262_400_500_000_000))
    touched = reader.read({"a"}).agents["a"]
    assert touched is not None
    assert touched.registration is not None
    assert touched.registration.written == NOON + 0.5
    assert told(touched) == told(before)


def test_everything_an_agent_leaves_is_read(agents: Path, reader: WorkspaceReader) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    os.utime(agents / "a.heartbeat", ns=(0, 1_795_262_400_500_000_000))
    (agents / "a.tasks").write_text("t1\n\nt2\n")
    (agents / "a.active").write_text('{"status": "active", "pid": 7}')
    os.utime(agents / "a.active", ns=(0, 1_795_262_400_500_000_000))
    (agents / "active.list").write_text("a\nb\n")
    traces = scan(reader)
    assert (traces.state, traces.error, traces.malformed) == ("read", None, {})
    a = traces.agents["a"]
    assert (beat(a).written, beat(a).mtime) == (NOON, NOON + 0.5)
    assert a.tasks == ("t1", "t2")
    assert told(a) == Registration(status="active", pid=7)
    assert a.registration is not None
    assert (a.registration.owner, a.registration.written) == (os.geteuid(), NOON + 0.5)
    assert a.listed
    assert traces.agents["b"] == AgentTraces("b", listed=True)
    assert traces.agents.keys() == {"a", "b"}


def test_any_one_trace_makes_an_agent(agents: Path, reader: WorkspaceReader) -> None:
    (agents / "a.heartbeat").touch()
    (agents / "b.tasks").touch()
    (agents / "c.active").touch()
    (agents / "active.list").write_text("d")
    for name in ("e.heartbeat.tmp", ".f.heartbeat", "g.tasks.swp", "h.active.bak", "README", "active.list~"):
        (agents / name).touch()
    traces = scan(reader)
    assert traces.agents.keys() == set("abcd")
    assert beat(traces.agents["a"]).written is None
    assert traces.malformed == {}


def test_half_a_world_is_no_error(tmp_path: Path) -> None:
    reader = WorkspaceReader(str(tmp_path / "p"))
    assert scan(reader) == SourceTraces(str(tmp_path / "p"), "waiting", "there is no such directory")
    (tmp_path / "p").mkdir()
    assert scan(reader).state == "waiting"
    (tmp_path / "p" / ".claude").mkdir()
    assert scan(reader).state == "waiting"
    (tmp_path / "p" / ".claude" / "coordination").mkdir()
    assert scan(reader) == SourceTraces(str(tmp_path / "p"), "read")


def test_what_was_there_and_is_gone_is_unreadable_until_it_returns(
    tmp_path: Path, coordination: Path, agents: Path, reader: WorkspaceReader
) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    assert scan(reader).agents.keys() == {"a"}
    for path in (agents, coordination, tmp_path / ".claude"):
        away = tmp_path / "away"
        path.rename(away)
        traces = scan(reader)
        assert (traces.state, dict(traces.agents), traces.gone) == ("unreadable", {}, False)
        assert traces.error is not None
        assert "was there and is gone" in traces.error
        assert traces.claims is None
        assert traces.tasks_available is None
        assert reader.read({"a"}).rescan_needed
        away.rename(path)
        assert scan(reader).agents.keys() == {"a"}


def test_a_deleted_project_is_told_apart(tmp_path: Path) -> None:
    project = tmp_path / "p"
    (project / ".claude" / "coordination").mkdir(parents=True)
    reader = WorkspaceReader(str(project))
    assert scan(reader).state == "read"
    project.rename(tmp_path / "q")
    traces = scan(reader)
    assert (traces.state, traces.gone) == ("unreadable", True)
    assert traces.error == f"the project directory is gone: {project}"


def test_something_else_in_the_place_of_a_folder_is_unreadable(
    tmp_path: Path, coordination: Path, agents: Path, reader: WorkspaceReader
) -> None:
    agents.rename(tmp_path / "elsewhere")
    agents.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a.heartbeat").touch()
    traces = scan(reader)
    assert (traces.state, dict(traces.agents)) == ("unreadable", {})
    assert traces.error is not None
    assert "a symbolic link" in traces.error
    assert reader.read({"a"}).rescan_needed
    agents.unlink()
    agents.touch()
    assert "not a directory" in (scan(reader).error or "")
    project = tmp_path / "file"
    project.touch()
    assert "Not a directory" in (WorkspaceReader(str(project)).scan(0).error or "")


@pytest.mark.parametrize("link", ["", ".claude", ".claude/coordination"])
def test_a_link_on_the_way_to_the_folder_is_not_followed_and_told(
    tmp_path: Path, agents: Path, link: str
) -> None:
    (agents / "a.heartbeat").touch()
    tree = tmp_path / "worktree"
    reader = WorkspaceReader(str(tree))
    assert reader.scan(0).state == "waiting"
    (tree / link).parent.mkdir(parents=True, exist_ok=True)
    (tree / link).symlink_to(tmp_path / link)
    traces = reader.scan(0)
    assert (traces.state, traces.agents, traces.gone, reader.moved) == ("unreadable", {}, True, True)
    assert reader.read({"a"}).rescan_needed
    (tree / link).unlink()
    assert reader.scan(0).state == "waiting"
    assert not reader.moved


def test_a_folder_that_lies_elsewhere_is_read_there(tmp_path: Path, agents: Path) -> None:
    (agents / "a.heartbeat").touch()
    reader = WorkspaceReader(str(tmp_path / "other"), folder=str(agents.parent))
    assert scan(reader).agents.keys() == {"a"}
    agents.parent.rename(tmp_path / "moved")
    reader.lies_at(str(tmp_path / "moved"))
    (tmp_path / "moved" / "agents" / "b.heartbeat").touch()
    assert scan(reader).agents.keys() == {"a", "b"}


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    path.symlink_to("good.heartbeat")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("/nowhere")


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(here)


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_fifo, "a FIFO"),
        (make_directory, "a directory"),
        (make_link, "a symbolic link, which is not followed"),
        (make_dangling_link, "a symbolic link, which is not followed"),
        (make_socket, "a socket"),
        (make_huge, "larger than"),
    ],
)
@pytest.mark.parametrize("suffix", [".heartbeat", ".tasks", ".active"])
def test_what_is_no_file_to_read_costs_one_counter_and_nothing_else(
    agents: Path, reader: WorkspaceReader, make: Any, reason: str, suffix: str
) -> None:
    (agents / "good.heartbeat").write_text(BEAT)
    bad = agents / f"bad{suffix}"
    make(bad)
    for _ in range(2):
        traces = scan(reader)
        assert traces.state == "read"
        assert traces.malformed.keys() == {str(bad)}
        assert traces.malformed[str(bad)].startswith(reason)
        assert traces.agents.keys() == {"good"}
        assert beat(traces.agents["good"]).written == NOON
    change = reader.read({"bad", "good"})
    assert change.malformed.keys() == {str(bad)}
    assert change.agents["bad"] is None
    assert beat(change.agents["good"]).written == NOON
    assert settled(reader).malformed.keys() == {str(bad)}


def test_no_fifo_is_opened_not_even_to_look(agents: Path, reader: WorkspaceReader, opened: list[str]) -> None:
    os.mkfifo(agents / "a.heartbeat")
    scan(reader)
    reader.read({"a"})
    assert opened == []


def test_random_bytes_are_a_beat_without_a_time(agents: Path, reader: WorkspaceReader) -> None:
    bad = agents / "a.heartbeat"
    bad.write_bytes(b"\xff" + os.urandom(300))
    traces = scan(reader)
    assert traces.malformed == {str(bad): "not UTF-8 text"}
    first = beat(traces.agents["a"])
    assert (first.written, first.mtime) == (None, bad.stat().st_mtime_ns / 1e9)
    bad.write_bytes(os.urandom(300))
    assert beat(scan(reader).agents["a"]).identity != first.identity
    bad.write_text(BEAT)
    assert scan(reader).malformed == {}


def test_json_of_the_wrong_shape_leaves_the_heartbeat_right(agents: Path, reader: WorkspaceReader) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    (agents / "a.active").write_text('[{"pid": 1}]')
    traces = scan(reader)
    assert traces.malformed == {str(agents / "a.active"): "JSON, but not an object"}
    assert beat(traces.agents["a"]).written == NOON
    assert told(traces.agents["a"]) == Registration()


def test_odd_names_are_ids_like_any_other(agents: Path, reader: WorkspaceReader) -> None:
    for name in (b"a\nb", b"\x1b[2J", b"\xff", "é".encode(), b" "):
        path = os.fsencode(agents) + b"/" + name + b".heartbeat"
        with open(path, "w") as file:
            file.write(BEAT)
    traces = scan(reader)
    assert traces.agents.keys() == {"a\nb", "\x1b[2J", "\\xff", "é"}, "white space is no id"
    # The raw stem, as inotify gives it, and the id, as the record has it, mean the same agent.
    for hint in ("\udcff", "\\xff"):
        assert beat(reader.read({hint}).agents["\\xff"]).written == NOON


def test_an_id_of_300_characters_is_skipped(agents: Path, reader: WorkspaceReader) -> None:
    (agents / "active.list").write_text("a\n" + "x" * 300 + "\n../../b\nc\0d\n" + "y" * 256 + "\n")
    (agents / "a.heartbeat").write_text(BEAT)
    traces = scan(reader)
    assert traces.agents.keys() == {"a", "../../b", "y" * 256}
    assert traces.malformed.keys() == {str(agents / "active.list")}
    change = reader.read({"a", "../../b", "c\0d", "y" * 256, "x" * 300, ""})
    assert change.agents == {**traces.agents, "c\0d": None}


def test_a_hint_reaches_no_file_outside(agents: Path, reader: WorkspaceReader, opened: list[str]) -> None:
    (agents.parent / "x.heartbeat").write_text(BEAT)
    (agents / "sub").mkdir()
    (agents / "sub" / "x.heartbeat").write_text(BEAT)
    strays = {"../x", "sub/x", "sub/../../x", str(agents.parent / "x")}
    assert reader.read(strays).agents == dict.fromkeys(strays)
    assert opened == []


def test_limits_are_64_kib_and_1_mib_for_tasks(agents: Path, reader: WorkspaceReader) -> None:
    (agents / "a.heartbeat").write_bytes(BEAT.encode() + b" " * (64 * 1024 - len(BEAT)))
    (agents / "a.tasks").write_bytes(b"t\n" * (512 * 1024))
    traces = scan(reader)
    assert traces.malformed == {}
    assert beat(traces.agents["a"]).written == NOON
    with (agents / "a.heartbeat").open("ab") as file:
        file.write(b" ")
    with (agents / "a.tasks").open("ab") as file:
        file.write(b"\n")
    (agents / "a.active").write_text("{}")
    traces = scan(reader)
    assert traces.malformed == {
        str(agents / "a.heartbeat"): "larger than 64 KiB",
        str(agents / "a.tasks"): "larger than 1024 KiB",
    }
    assert (traces.agents["a"].heartbeat, traces.agents["a"].tasks) == (None, None)


@pytest.fixture
def open_agents(open_directory: Path) -> Path:
    """An agents folder that other users reach, unlike everything in tmp_path."""
    path = open_directory / ".claude" / "coordination" / "agents"
    path.mkdir(parents=True)
    for agent_id in "ab":
        (path / f"{agent_id}.heartbeat").write_text(BEAT)
    return path


def test_a_file_that_may_not_be_read_is_unknown_not_absent(open_agents: Path) -> None:
    reader = WorkspaceReader(str(open_agents.parents[2]))
    secret = open_agents / "a.heartbeat"
    for read_before in (False, True):
        with rights(secret, 0), unprivileged():
            traces = scan(reader)
            closed = AgentTraces("a", hidden=traces.malformed[str(secret)])
            assert traces.agents["a"] == closed
            assert beat(traces.agents["b"]).written == NOON
            assert traces.malformed.keys() == {str(secret)}
            assert "Permission denied" in traces.malformed[str(secret)]
            change = reader.read({"a"})
            assert change.agents == {"a": closed}
            assert change.malformed.keys() == {str(secret)}
        with unprivileged():
            assert beat(scan(reader).agents["a"]).written == NOON, read_before


@pytest.mark.parametrize(
    ("depth", "mode", "need"),
    [(0, 0, "r-x"), (0, 0o444, "r-x"), (1, 0, "r-x"), (2, 0, "--x"), (3, 0, "--x")],
)
def test_the_error_names_the_folder_that_refuses(open_agents: Path, depth: int, mode: int, need: str) -> None:
    path = [open_agents, *open_agents.parents][depth]
    reader = WorkspaceReader(str(open_agents.parents[2]))
    with rights(path, mode), unprivileged():
        traces = scan(reader)
        who = f"the user running coordd (uid {os.geteuid()})"
        assert traces.error == f"Permission denied: {path} — {who} needs {need} on it"
        assert (traces.state, dict(traces.agents), traces.gone) == ("unreadable", {}, False)
    assert scan(reader).agents.keys() == {"a", "b"}


def test_a_failing_disk_is_unreadable_and_no_exception(
    agents: Path, reader: WorkspaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (agents / "a.heartbeat").touch()
    scan(reader)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", broken)
        traces = scan(reader)
    assert (traces.state, traces.error) == ("unreadable", f"Input/output error: {agents}")
    assert scan(reader).agents.keys() == {"a"}


def test_an_unchanged_file_is_not_opened_again(
    agents: Path, reader: WorkspaceReader, opened: list[str]
) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    (agents / "a.active").write_text("{}")
    first = settled(reader)
    assert sorted(opened) == ["a.active", "a.heartbeat"]
    opened.clear()
    assert settled(reader) == first
    assert opened == []


def test_a_change_that_leaves_the_files_state_alone_is_seen(
    agents: Path, reader: WorkspaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes in one tick of the kernel's clock: same mtime, ctime, size and inode."""
    path = agents / "a.heartbeat"
    path.write_text(BEAT)
    written = path.stat().st_mtime
    frozen = os.stat(path)
    assert beat(reader.scan(written + 0.5).agents["a"]).written == NOON
    path.write_text(LATER)
    monkeypatch.setattr(folder_module.Entry, "matches", lambda *_: True)
    assert beat(reader.scan(written + 60).agents["a"]).written == NOON + 30
    assert frozen.st_size == path.stat().st_size
    # Read so long after its last change, nothing can hide any more.
    path.write_text(BEAT)
    assert beat(reader.scan(written + 120).agents["a"]).written == NOON + 30


@pytest.mark.parametrize("how", ["rewrite", "rename", "touch", "grow"])
def test_every_kind_of_beat_changes_the_identity(agents: Path, reader: WorkspaceReader, how: str) -> None:
    path = agents / "a.heartbeat"
    path.write_text(BEAT)
    os.utime(path, ns=(0, 1_000_000_000))
    first = beat(settled(reader).agents["a"])
    assert beat(settled(reader).agents["a"]) is first
    if how == "rewrite":
        path.write_text(LATER)
        os.utime(path, ns=(0, 1_000_000_000))
    elif how == "rename":
        (agents / "a.tmp").write_text(BEAT)
        os.utime(agents / "a.tmp", ns=(0, 1_000_000_000))
        (agents / "a.tmp").rename(path)
    elif how == "touch":
        os.utime(path, ns=(0, 2_000_000_000))
    else:
        path.write_text(BEAT + "\n")
        os.utime(path, ns=(0, 1_000_000_000))
    by_hint = beat(reader.read({"a"}).agents["a"])
    assert by_hint.identity != first.identity
    assert beat(settled(reader).agents["a"]).identity == by_hint.identity


def test_a_rescan_sees_new_content_behind_an_old_mtime(agents: Path, reader: WorkspaceReader) -> None:
    path = agents / "a.heartbeat"
    path.write_text(BEAT)
    os.utime(path, ns=(0, 1_000_000_000))
    settled(reader)
    path.write_text(LATER)
    os.utime(path, ns=(0, 1_000_000_000))
    assert beat(settled(reader).agents["a"]).written == NOON + 30


def test_an_identity_survives_a_reader_and_json(agents: Path, tmp_path: Path) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    one, two = (beat(scan(WorkspaceReader(str(tmp_path))).agents["a"]).identity for _ in range(2))
    assert one == two
    assert json.loads(json.dumps(one)) == one


def test_a_chmod_is_no_beat(agents: Path, reader: WorkspaceReader) -> None:
    path = agents / "a.heartbeat"
    path.write_text(BEAT)
    first = beat(scan(reader).agents["a"])
    path.chmod(0o600)
    assert beat(scan(reader).agents["a"]).identity == first.identity


def test_a_hint_reads_the_heartbeat_even_where_its_state_is_the_same(
    agents: Path, reader: WorkspaceReader, opened: list[str]
) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    settled(reader)
    opened.clear()
    reader.read({"a"})
    assert opened == ["a.heartbeat"]


def test_a_hinted_reading_is_of_the_hinted_agents_as_they_are(agents: Path, reader: WorkspaceReader) -> None:
    for name in "abc":
        (agents / f"{name}.heartbeat").write_text(BEAT)
    scan(reader)
    (agents / "a.tasks").write_text("t")
    (agents / "a.active").write_text('{"status": "busy"}')
    (agents / "b.heartbeat").unlink()
    (agents / "d.heartbeat").write_text(LATER)
    change = reader.read({"a", "b", "d", Signal.RESCAN})
    assert change.agents.keys() == {"a", "b", "d"}
    assert not change.rescan_needed
    a = change.agents["a"]
    assert a is not None
    assert (a.tasks, told(a)) == (("t",), Registration(status="busy"))
    assert change.agents["b"] is None
    assert beat(change.agents["d"]).written == NOON + 30
    assert scan(reader).agents.keys() == {"a", "c", "d"}


def test_the_list_is_read_when_hinted_and_tells_whom_it_concerns(
    agents: Path, reader: WorkspaceReader
) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    (agents / "active.list").write_text("b\nc\n")
    scan(reader)
    (agents / "active.list").write_text("a\nc\n")
    change = reader.read({Signal.LIST})
    assert change.agents.keys() == {"a", "b"}
    assert change.agents["a"] is not None
    assert change.agents["a"].listed
    assert change.agents["b"] is None
    (agents / "active.list").unlink()
    assert reader.read({Signal.LIST}).agents.keys() == {"a", "c"}
    assert scan(reader).agents.keys() == {"a"}


def test_a_list_that_cannot_be_read_stands_as_it_was(agents: Path, reader: WorkspaceReader) -> None:
    (agents / "active.list").write_text("a\n")
    scan(reader)
    (agents / "active.list").unlink()
    os.mkfifo(agents / "active.list")
    traces = scan(reader)
    assert traces.agents == {"a": AgentTraces("a", listed=True)}
    assert traces.malformed == {str(agents / "active.list"): "a FIFO"}


def test_a_file_that_vanishes_between_the_listing_and_the_opening_is_absent(
    agents: Path, reader: WorkspaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (agents / "a.heartbeat").touch()
    real = folder_module.read_regular

    def read_regular(folder: int, name: str, limit: int) -> tuple[bytes, os.stat_result]:
        (agents / "a.heartbeat").unlink()
        return real(folder, name, limit)

    monkeypatch.setattr(folder_module, "read_regular", read_regular)
    traces = scan(reader)
    assert (dict(traces.agents), dict(traces.malformed)) == ({}, {})


def test_a_link_put_in_place_between_the_look_and_the_opening_is_not_followed(
    agents: Path, reader: WorkspaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    (agents / "b.tasks").write_text("secret\n")
    real = folder_module.read_regular

    def read_regular(folder: int, name: str, limit: int) -> tuple[bytes, os.stat_result]:
        if name == "a.heartbeat":
            (agents / name).unlink()
            (agents / name).symlink_to("b.tasks")
        return real(folder, name, limit)

    monkeypatch.setattr(folder_module, "read_regular", read_regular)
    traces = scan(reader)
    assert traces.agents.keys() == {"b"}
    assert "symbolic link" in traces.malformed[str(agents / "a.heartbeat")]


def test_folders_and_reports_are_bounded(coordination: Path, agents: Path, tmp_path: Path) -> None:
    reader = WorkspaceReader(str(tmp_path), max_entries=10)
    (coordination / "tasks").mkdir()
    for number in range(15):
        (agents / f"{number}.heartbeat").touch()
        (coordination / "tasks" / str(number)).touch()
    traces = scan(reader)
    assert len(traces.agents) == 10
    assert traces.tasks_available is None  # whatever the rest is called, nobody can tell
    assert set(traces.over_limit) == {"agents", "tasks"}
    assert traces.malformed == {
        str(agents): "more than 10 entries; the rest is not read",
        str(coordination / "tasks"): "more than 10 entries; the rest is not read",
    }
    hints = {str(number) for number in range(15)}
    assert sum(found is not None for found in reader.read(hints).agents.values()) == 10
    for number in range(1100):
        (agents / f"{number}.active").mkdir()
    traces = scan(WorkspaceReader(str(tmp_path)))
    assert len(traces.malformed) + traces.malformed_unnamed == 1100
    assert len(traces.malformed) == 1000


def test_claims_tasks_and_progress_are_read(coordination: Path, reader: WorkspaceReader) -> None:
    for name in ("claims", "tasks", "status"):
        (coordination / name).mkdir()
    for name in ("t1.md", "t2.json", "t3", "t3.md", "t4", "v1.2", ".hidden", "t5.tmp"):
        (coordination / "tasks" / name).touch()
    (coordination / "claims" / "t1.claim").write_text(
        '{"agent_id": "a", "claimed_at": 1795262400, "ttl": 300}'
    )
    (coordination / "claims" / "t2.json").write_text('{"id": "t2", "agent_id": "b", "status": "held"}')
    (coordination / "claims" / "t4.claim").touch()
    (coordination / "claims" / "v1.2.claim").write_text("{not json")
    os.mkfifo(coordination / "claims" / "t3.claim")
    (coordination / "status" / "t1.progress").write_text('{"progress": 50}')
    (coordination / "status" / "t9.progress").mkdir()
    (coordination / "tasks" / "sub").mkdir()
    traces = scan(reader)
    assert traces.claims == {
        "t1": Claim("t1", "a", NOON, NOON + 300),
        "t2": Claim("t2", "b", status="held"),
        "t4": Claim("t4"),
        "v1.2": Claim("v1.2"),
    }
    assert traces.tasks_available == ("t3",)
    assert traces.progress == {"t1": Progress("t1", 50.0)}
    assert traces.malformed == {
        str(coordination / "claims" / "v1.2.claim"): "not JSON",
        str(coordination / "claims" / "t3.claim"): "a FIFO",
        str(coordination / "status" / "t9.progress"): "a directory",
        str(coordination / "tasks" / "sub"): "a directory",
    }
    for path in (coordination / "claims").iterdir():
        path.unlink()
    traces = scan(reader)
    assert traces.claims == {}
    assert traces.tasks_available == ("t1", "t2", "t3", "t4", "v1.2")


def test_work_that_cannot_be_read_is_unknown_and_the_agents_stay_right(
    coordination: Path, agents: Path, tmp_path: Path, reader: WorkspaceReader
) -> None:
    (agents / "a.heartbeat").write_text(BEAT)
    (coordination / "tasks").mkdir()
    (coordination / "tasks" / "t").touch()
    (tmp_path / "far").mkdir()
    (coordination / "claims").symlink_to(tmp_path / "far")
    (coordination / "status").touch()
    traces = scan(reader)
    assert traces.state == "read"
    assert beat(traces.agents["a"]).written == NOON
    assert (traces.claims, traces.tasks_available, traces.progress) == (None, None, None)
    assert traces.malformed.keys() == {str(coordination / "claims"), str(coordination / "status")}


def test_nothing_is_written_and_no_descriptor_stays(
    agents: Path, tmp_path: Path, reader: WorkspaceReader
) -> None:
    for name in ("a.heartbeat", "a.tasks", "active.list"):
        (agents / name).write_text("x\n")
    os.mkfifo(agents / "b.heartbeat")
    before = {path: path.lstat() for path in tmp_path.rglob("*")}
    fds = os.listdir("/dev/fd")
    for _ in range(3):
        scan(reader)
        reader.read({"a", "b", "c", Signal.LIST})
    assert os.listdir("/dev/fd") == fds
    after = {path: path.lstat() for path in tmp_path.rglob("*")}
    assert after.keys() == before.keys()
    for path, state in after.items():
        assert (state.st_mtime_ns, state.st_ctime_ns) == (before[path].st_mtime_ns, before[path].st_ctime_ns)
