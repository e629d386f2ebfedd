import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import agent, status_document
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli import app, plain_status
from coordd.cli.screen import Screen
from coordd.cli.status_text import running_text, stopped_text
from coordd.cli.tables import agent_lines, not_active_first
from coordd.cli.task_table import task_lines
from coordd.protocol.paths import DaemonLocation
from coordd.protocol.snapshot import MAX_BYTES, last_snapshot, read_snapshot
from coordd.util.text import epoch_of, width

WRITTEN = "2026-11-22T06:05:00.000Z"
NOW = epoch_of(WRITTEN)
assert NOW is not None


def text_of(document: dict[str, Any], agents: list[dict[str, Any]] | None = None) -> str:
    return running_text(document, agents or [], colour=False)


def test_a_healthy_daemon_on_one_screen() -> None:
    assert text_of(status_document(), [agent("builder-1")]).splitlines() == [
        "ok  host box  coordd 0.1.0  up 2 h 13 min  mode file  layout user",
        "",
        "Redis      not configured",
        "Host       cpu 12.3 %  memory 45.1 % of 16.0 GiB  disk 71.0 % of 100 GiB  load 0.52 0.40 0.31  "
        "sampled 24 s ago",
        "Agents     1: 1 active, 0 inactive, 0 unknown",
        "",
        "AGENT      STATUS  REASON     TASKS  LAST BEAT",
        "builder-1  active  heartbeat  2      12 s ago",
    ]


def test_problems_redis_tasks_workspaces_and_malformed_traces() -> None:
    text = text_of(
        status_document(
            health="degraded",
            problems=["sink jsonl: No space left"],
            redis={
                "configured": True,
                "connected": True,
                "url": "redis://h/0",
                "used_memory": 1258291,
                "keys": 345,
                "latency_ms": 0.21,
                "feed": "push",
            },
            tasks={"available": 4, "claimed": 3, "expired": 0, "orphaned": None},
            workspaces=[
                {"path": "/a", "state": "inotify", "error": None},
                {"path": "/b", "state": "waiting", "error": None},
                {"path": "/c", "state": "unreadable", "error": "Permission denied"},
            ],
            traces_malformed={"count": 7},
        )
    )
    assert text.startswith("degraded  ")
    assert "\nProblems\n  sink jsonl: No space left\n" in text
    assert "Redis      connected  redis://h/0  memory 1.2 MiB  345 keys  latency 0.2 ms  feed push\n" in text
    assert "Tasks      4 available, 3 claimed, 0 expired, - orphaned\n" in text
    assert "Workspaces 3, 2 not read\n" in text
    assert "           /b: waits for .claude/coordination\n" in text
    assert "           /c: Permission denied\n" in text
    assert "Traces     7 malformed" in text


def test_a_redis_that_is_down_says_why() -> None:
    redis = {"configured": True, "connected": False, "url": "redis://h/0", "error": "refused"}
    assert "Redis      down  redis://h/0  refused\n" in text_of(status_document(redis=redis))


def test_unknown_is_a_dash_and_never_zero() -> None:
    system = {"timestamp": None, "cpu_percent": None, "memory_usage": None, "load_average": None}
    text = text_of(status_document(system=system))
    assert "Host       cpu -  memory - of -  disk - of -  load -  sampled -\n" in text
    assert "Host       no sample yet\n" in text_of(status_document(system=None))
    (_, row) = agent_lines([agent("a", active_tasks=None, last_heartbeat_age=None)], colour=False)
    assert row.split() == ["a", "active", "heartbeat", "-", "-"]


def test_tasks_nobody_knows_take_no_line() -> None:
    assert "Tasks" not in text_of(status_document())


def test_not_active_ones_come_first_and_twenty_at_most() -> None:
    agents = [agent(f"a{n:02}") for n in range(20)] + [
        agent("z-dead", "inactive"),
        agent("y-what", "unknown"),
    ]
    counts = {"total": 57, "active": 55, "inactive": 1, "unknown": 1}
    rows = text_of(status_document(agents=counts), agents).split("AGENT")[1].splitlines()
    assert [row.split()[0] for row in rows[1:4]] == ["z-dead", "y-what", "a00"]
    assert len(rows) == 1 + 20 + 1
    assert rows[-1] == "… and 37 more: coordctl agents"


def test_an_agent_whose_verdict_changed_between_two_answers_is_shown_once() -> None:
    assert [a["status"] for a in not_active_first([agent("a", "inactive"), agent("a")])] == ["inactive"]
    assert (
        len(not_active_first([agent("a"), agent("a", workspace="/other"), agent("a", workspace=None)])) == 3
    )


def test_the_workspace_is_shown_where_there_are_several() -> None:
    lines = agent_lines([agent("a"), agent("b", workspace=None)], colour=False)
    assert lines[0].endswith("WORKSPACE")
    assert lines[1].endswith("/src/app")
    assert lines[2].endswith("-")


def test_strangers_cannot_reach_the_terminal() -> None:
    evil = "\x1b[2J\x9b31m\u202e\nok"
    document = status_document(problems=[evil], health=evil, workspaces=[{"path": evil, "state": "waiting"}])
    document["daemon"]["host"] = evil
    document["redis"] = {"configured": True, "connected": False, "url": evil, "error": evil}
    text = text_of(document, [agent(evil, evil, reason=evil, workspace=evil), agent("b")])
    assert all(line.isprintable() for line in text.splitlines())
    assert "\nok" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [(key,) for key in status_document()] + [
    (outer, inner)
    for outer in ("daemon", "redis", "system", "agents", "tasks")
    for inner in status_document()[outer]
]


@given(
    st.dictionaries(st.sampled_from(PLACES), JSON), st.dictionaries(st.sampled_from(sorted(agent("a"))), JSON)
)
def test_a_document_of_any_shape_is_shown(changes: dict[tuple[str, ...], Any], entry: dict[str, Any]) -> None:
    document = status_document(workspaces=[{"path": "/a", "state": "waiting"}])
    for place, value in changes.items():
        at = document
        for key in place[:-1]:
            at = at[key] if isinstance(at.get(key), dict) else {}
        at[place[-1]] = value
    agents = [agent("a", **{k: v for k, v in entry.items() if k not in ("agent_id", "status")}), entry]
    for text in (
        running_text(document, agents, colour=False),
        stopped_text(document, agents, [], snapshot_age=None, colour=False),
    ):
        assert all(line.isprintable() for line in text.split("\n"))


def test_a_snapshot_is_marked_as_old_and_its_ages_grow() -> None:
    document = status_document(problems=["p"], agents={"total": 25})
    text = stopped_text(
        document, [agent("a")], [("/run/x", "nothing there")], snapshot_age=240.0, colour=False
    )
    assert text.splitlines()[0] == "coordd is not running. Last snapshot 4 min ago; what follows was so then."
    assert "was ok  host box" in text
    assert "Problems then" in text
    assert "sampled 4 min ago" in text
    assert "AGENT  WAS" in text
    assert "252 s" not in text
    assert "4 min ago\n" in text.split("AGENT")[1]
    assert "… and 24 more\n" in text
    assert "\n  /run/x: nothing there\n" in text


def test_colour_marks_the_verdict_of_the_living_only() -> None:
    assert "\x1b[31minactive\x1b[0m" in running_text(status_document(), [agent("a", "inactive")], colour=True)
    stopped = stopped_text(status_document(), [agent("a", "inactive")], [], snapshot_age=1.0, colour=True)
    assert "\x1b[31minactive" not in stopped


def write_snapshot(path: Path, **fields: Any) -> None:
    document = {
        "schema": 1,
        "written_at": WRITTEN,
        "status": status_document(),
        "agents": [agent("a")],
        **fields,
    }
    path.write_text(json.dumps(document))


def test_a_snapshot_has_an_age(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    write_snapshot(path)
    found = read_snapshot(str(path), NOW + 180)
    assert found is not None
    assert found.age == 180
    assert found.agents == [agent("a")]
    ahead = read_snapshot(str(path), NOW - 5)
    assert ahead is not None and ahead.age == 0
    write_snapshot(path, written_at="then", agents=["x", agent("a")])
    unknown = read_snapshot(str(path), NOW)
    assert unknown is not None and unknown.age is None and len(unknown.agents) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"schema":1}',
        b'{"schema":1,"status":[]}',
        b'{"schema":2,"status":{}}',
    ],
)
def test_what_is_no_snapshot_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(content)
    assert read_snapshot(str(path), NOW) is None


def test_only_a_regular_file_of_bounded_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "real.json"
    write_snapshot(path)
    (tmp_path / "link.json").symlink_to(path)
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "dir.json").mkdir()
    with (tmp_path / "big.json").open("wb") as big:
        big.truncate(MAX_BYTES + 1)
    for name in ("link", "fifo", "dir", "big", "missing"):
        assert read_snapshot(str(tmp_path / f"{name}.json"), NOW) is None


def test_the_first_place_with_a_sound_snapshot_counts(tmp_path: Path) -> None:
    places = [
        DaemonLocation("user", "/s", str(tmp_path / f"{name}.json"), "/m", "/l")
        for name in ("bad", "good", "later")
    ]
    (tmp_path / "bad.json").write_text("{")
    write_snapshot(tmp_path / "good.json")
    write_snapshot(tmp_path / "later.json")
    found = last_snapshot(places, {}, None, NOW)
    assert found is not None and found.path == str(tmp_path / "good.json")


def test_a_named_socket_takes_the_snapshot_of_its_own_daemon_only(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    own = tmp_path / "own.sock"
    place = DaemonLocation("--socket", str(own), None, None, None)
    state = tmp_path / ".local" / "state" / "coordd"
    state.mkdir(parents=True)
    write_snapshot(state / "snapshot.json")
    write_snapshot(tmp_path / "snapshot.json")
    assert last_snapshot([place], environ, None, NOW) is None
    status = status_document()
    status["daemon"]["socket"] = str(own)
    write_snapshot(state / "snapshot.json", status=status)
    found = last_snapshot([place], environ, None, NOW)
    assert found is not None and found.path == str(state / "snapshot.json")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status"], (None, 5.0, False)),
        (["status", "--json"], (None, 5.0, True)),
        (["--socket", "/s", "status", "--timeout=2"], ("/s", 2.0, False)),
        (["--timeout", "1", "status", "--timeout", "3", "--json", "--socket=/a=b"], ("/a=b", 3.0, True)),
    ],
)
def test_a_plain_status_needs_no_click(arguments: list[str], expected: tuple[object, ...]) -> None:
    plain = plain_status(arguments)
    assert plain is not None
    assert (plain[0].socket, plain[0].timeout, plain[1]) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--json", "status"],
        ["status", "--help"],
        ["status", "status"],
        ["status", "--jso"],
        ["status", "--json=1"],
        ["status", "--timeout"],
        ["status", "--timeout", "0"],
        ["status", "--timeout", "nan"],
        ["status", "--timeout", "inf"],
        ["status", "--timeout", "x"],
        ["status", "--socket", "--json"],
        ["status", "--socket="],
        ["--", "status"],
        ["agents"],
        ["status", "extra"],
    ],
)
def test_anything_else_is_for_click(arguments: list[str]) -> None:
    assert plain_status(arguments) is None


def test_a_long_id_does_not_push_the_table_off_the_screen() -> None:
    agents = [agent("a"), agent("x" * 240)]
    lines = agent_lines(agents, colour=False)
    assert max(map(len, lines)) < 100
    assert any(line.startswith("x" * 39 + "…  ") for line in lines)
    tasks = [{"task_id": "t" * 240, "state": "held", "agent_id": "你" * 120, "message": "m" * 500}]
    assert max(width(line) for line in task_lines(tasks, WRITTEN, colour=False)) < 200


def test_choices_stand_in_one_line_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["history"]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("coordctl: Missing argument")
    assert "system, agent, event" in first
    assert "\\t" not in first


def test_a_terminal_without_a_size_is_taken_for_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()  # its size is 0 by 0
    try:
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr(sys, "stdout", terminal)
            Screen().draw([f"line {n}" for n in range(20)], "the end")
            shown = os.read(ours, 65536).decode()
            assert "line 19" in shown
            assert "more than this window" not in shown
    finally:
        os.close(ours)
