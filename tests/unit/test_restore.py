"""The memory of the last run: the snapshot, the records after it, and nothing that is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd import restore as restore_module
from coordd.reducer import KnownAgent
from coordd.restore import restore
from coordd.timestamps import format_utc

T0 = 1_795_327_500.0


def record(agent: str = "a", at: float = 0.0, **other: Any) -> dict[str, Any]:
    """One agent's sample, ``at`` seconds after T0."""
    return {
        "timestamp": format_utc(T0 + at),
        "host": "h",
        "workspace": "/w",
        "agent_id": agent,
        "status": "active",
        "reason": "heartbeat",
        "cause": "heartbeat",
        "active_tasks": 0,
        "uptime": 10.0,
        "last_heartbeat": format_utc(T0 + at),
        "declared_status": None,
        "sources": ["file"],
        **other,
    }


class Place:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.snapshot = directory / "snapshot.json"

    def records(self, *lines: Any, part: str = "agent_2026-11-22.jsonl") -> None:
        body = b"".join(
            (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
        )
        (self.directory / part).write_bytes(body)

    def picture(self, *agents: Any, at: float = 0.0) -> None:
        document = {"schema": 1, "written_at": format_utc(T0 + at), "status": {}, "agents": list(agents)}
        self.snapshot.write_text(json.dumps(document))

    def known(self) -> dict[str, KnownAgent]:
        return {agent.key[1]: agent for agent in restore(str(self.snapshot), str(self.directory))}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_memory_nobody_is_known(place: Place) -> None:
    assert place.known() == {}
    with pytest.raises(FileNotFoundError):
        restore(str(place.snapshot), str(place.directory / "none"))


def test_the_last_record_of_each_agent_is_what_is_known(place: Place) -> None:
    place.records(record("a", 0), record("b", 1), record("a", 2, active_tasks=3, declared_status="busy"))
    known = place.known()
    assert set(known) == {"a", "b"}
    a = known["a"]
    assert a.key == ("/w", "a")
    assert (a.beat_wall, a.active_tasks, a.declared_status, a.traces) == (T0 + 2, 3, "busy", None)
    assert a.run_since == pytest.approx(T0 - 8)
    assert a.verdict.status == "active"


def test_the_snapshot_knows_who_was_not_recorded_lately(place: Place) -> None:
    place.picture(record("old", -5000), record("new", 0), at=0)
    place.records(record("ancient", -6000), record("new", -1))
    known = place.known()
    assert set(known) == {"old", "new"}


def test_records_of_the_same_moment_and_after_win_over_the_snapshot(place: Place) -> None:
    """A change is recorded before it is shown: a snapshot taken in between is behind, though younger."""
    place.picture(record("a", 0, last_heartbeat=format_utc(T0 - 30)), at=0)
    place.records(record("a", -30), record("a", -0.01))
    assert place.known()["a"].beat_wall == pytest.approx(T0 - 0.01)


def test_one_that_was_removed_is_forgotten_until_it_comes_back(place: Place) -> None:
    place.picture(record("a", 0), record("b", 0), at=0)
    place.records(
        record("a", 1, cause="removed"), record("b", 2, cause="removed"), record("b", 3, cause="appeared")
    )
    assert set(place.known()) == {"b"}


def test_parts_are_read_in_their_order_and_gzipped_ones_are_not(place: Place) -> None:
    place.records(record("a", 0, active_tasks=1), part="agent_2026-11-22.jsonl")
    place.records(record("a", 1, active_tasks=10), part="agent_2026-11-22.10.jsonl")
    place.records(record("a", 0.5, active_tasks=2), part="agent_2026-11-22.2.jsonl")
    place.records(record("z", 9), part="agent_2026-11-23.jsonl.gz")
    place.records(record("y", 9), part="system_2026-11-23.jsonl")
    known = place.known()
    assert set(known) == {"a"}
    assert known["a"].active_tasks == 10


def test_what_is_damaged_is_passed_over(place: Place) -> None:
    place.picture(record("a", 0), at=0)
    place.records(
        b"",
        b"garbage",
        b"\xff\xfe",
        b"[" * 100_000,
        record("b", 1),
        record("c", 1, status="sleeping"),
        record("d", 1, timestamp="yesterday"),
        record("e", 1, last_heartbeat="soon"),
        {"timestamp": format_utc(T0)},
        json.dumps(record("torn", 2)).encode()[:-20],
    )
    assert set(place.known()) == {"a", "b"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"written_at": "x", "agents": []}', b"[" * 100_000])
def test_a_damaged_snapshot_leaves_the_records(place: Place, body: bytes) -> None:
    place.snapshot.write_bytes(body)
    place.records(record("a", 0))
    assert set(place.known()) == {"a"}


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_a_snapshot_or_part_that_is_no_file_is_not_opened(place: Place, kind: str) -> None:
    real = place.directory / "real"
    real.write_text(json.dumps(record("x", 0)) + "\n")
    for path in (place.snapshot, place.directory / "agent_2026-11-22.jsonl"):
        if kind == "symlink":
            os.symlink(real, path)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    assert place.known() == {}


def test_a_torn_last_line_without_newline_does_not_hide_the_one_before(place: Place) -> None:
    whole = json.dumps(record("a", 0)).encode()
    (place.directory / "agent_2026-11-22.jsonl").write_bytes(whole + b"\n" + whole[:40])
    assert set(place.known()) == {"a"}


@pytest.mark.parametrize("status", ["inactive", "unknown"])
def test_the_run_of_one_that_is_not_active(place: Place, status: str) -> None:
    uptime = None if status == "unknown" else 50.0
    place.records(
        record("a", 0), record("a", 300, status=status, last_heartbeat=format_utc(T0), uptime=uptime)
    )
    assert place.known()["a"].run_since == pytest.approx(T0 - 50 if uptime else T0 - 10)


def test_no_more_is_read_than_the_budget(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [record(f"a{n}", n) for n in range(100)]
    place.records(*lines)
    one = len(json.dumps(lines[-1])) + 1
    monkeypatch.setattr(restore_module, "MAX_RECORDS", one * 10)
    known = place.known()
    assert 8 <= len(known) <= 10
    assert "a99" in known


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), max_size=30), st.integers(1, 9))
def test_lines_come_backwards_whatever_the_block(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], block: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "f"
    path.write_bytes(b"\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore_module, "_BLOCK", block)
        found = list(restore_module._lines_backwards(str(path), 10_000))
    assert found == [line for line in reversed(lines) if line]
