"""Test restoring the last run: from the snapshot and the records after it, and from nothing damaged."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agents import state_of
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.beats import Reading
from coordd.agents.join import Agent
from coordd.agents.liveness import Evidence
from coordd.agents.observation import observe
from coordd.agents.remembered import RememberedAgent, by_place
from coordd.agents.samples import view_fields
from coordd.agents.shown import ShownAgent
from coordd.agents.source import SourceState
from coordd.agents.traces import AgentTraces, Heartbeat
from coordd.protocol.origin import FIELD, origin_of
from coordd.records.manifest import remark
from coordd.runtime.clocks import Moment
from coordd.sinks import restore as restore_module
from coordd.sinks.restore import covered, restore
from coordd.sinks.snapshot_reader import read_snapshot
from coordd.util.directories import open_directory
from coordd.util.timestamps import format_utc

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
        self.now = T0 + 1000
        self.root: str | None = None
        self.host: str | None = None

    def records(self, *lines: Any, part: str = "agent_2026-11-22.jsonl") -> None:
        body = b"".join(
            (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
        )
        (self.directory / part).write_bytes(body)

    def store(self, *agents: Any, at: float = 0.0) -> None:
        document = {"schema": 1, "written_at": format_utc(T0 + at), "status": {}, "agents": list(agents)}
        self.snapshot.write_text(json.dumps(document))

    def known(self) -> dict[str, RememberedAgent]:
        with open_directory(str(self.directory)) as directory:
            snapshot = read_snapshot(str(self.snapshot), root=self.root)
            found = restore(snapshot, directory.fd, now=self.now, host=self.host)
        return {agent.key.agent_id: agent for agent in found}


def shown(one: RememberedAgent, *, now: float = T0 + 1000, sources: tuple[str, ...] = ("/w",)) -> Agent:
    """Return the agent as the daemon shows it before its sources are read: workspaces, or "" for Redis."""
    observations = one.observations(by_place(state_of(path) for path in sources), Moment(now, now - T0))
    return one.agent(observations)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_memory_nobody_is_known(place: Place) -> None:
    assert place.known() == {}
    assert restore(None, None, now=T0) == []


def test_the_last_record_of_each_agent_is_what_is_known(place: Place) -> None:
    place.records(record("a", 0), record("b", 1), record("a", 2, active_tasks=3, declared_status="busy"))
    known = place.known()
    assert set(known) == {"a", "b"}
    a = shown(known["a"])
    assert a.key == ("/w", "a")
    assert (a.beat_wall, a.active_tasks, a.declared_status, a.traces) == (T0 + 2, 3, "busy", None)
    assert a.run_since == pytest.approx(T0 - 8)
    assert (a.verdict.status, a.cause) == ("active", "heartbeat")


def test_the_snapshot_knows_who_was_not_recorded_lately(place: Place) -> None:
    place.store(record("old", -5000), record("new", 0), at=0)
    place.records(record("ancient", -6000), record("new", -1))
    known = place.known()
    assert set(known) == {"old", "new"}


def test_records_of_the_same_moment_and_after_win_over_the_snapshot(place: Place) -> None:
    """A change is recorded before it is shown: a snapshot taken in between is behind, though younger."""
    place.store(record("a", 0, last_heartbeat=format_utc(T0 - 30)), at=0)
    place.records(record("a", -30), record("a", -0.01))
    assert place.known()["a"].beat_wall == pytest.approx(T0 - 0.01)


def test_one_that_was_removed_is_forgotten_until_it_comes_back(place: Place) -> None:
    place.store(record("a", 0), record("b", 0), at=0)
    place.records(
        record("a", 1, cause="removed"), record("b", 2, cause="removed"), record("b", 3, cause="appeared")
    )
    assert set(place.known()) == {"b"}


def test_one_that_was_forgotten_is_known_as_dormant_until_its_next_beat(place: Place) -> None:
    document = {"schema": 1, "written_at": format_utc(T0), "agents": [record("b", 0)]}
    forgotten = [["/w", "a", ["file"], T0 - 5], ["/w", "b", ["file"], None]]
    place.snapshot.write_text(json.dumps({**document, "forgotten": forgotten}))
    ended = {
        "status": "inactive",
        "reason": "ended",
        "ended_at": format_utc(T0 + 1),
        "pid": 7,
        "proc_start": 9,
    }
    place.records(record("c", 1, **ended), record("c", 601, cause="removed", **ended))
    known = place.known()
    assert {agent_id: one.dormant for agent_id, one in known.items()} == {"a": True, "b": False, "c": True}
    assert (known["a"].beat_wall, known["a"].sources) == (T0 - 5, ("file",))
    moment = Moment(T0 + 1000, 1000)
    for agent_id in ("a", "c"):
        (one,) = known[agent_id].observations(by_place([state_of("/w")]), moment)
        assert (one.dormant, one.process) == (True, None)


def test_the_end_of_a_process_is_known_to_the_millisecond(place: Place) -> None:
    killed = {"status": "inactive", "reason": "killed", "ended_at": format_utc(T0 + 1.234)}
    place.records(record("a", 900, pid=7, proc_start=9, **killed))
    (one,) = place.known()["a"].observations(by_place([state_of("/w")]), Moment(T0 + 1000, 5000.0))
    assert one.process is not None
    assert one.process.end is not None
    assert not one.process.end.orderly
    assert one.process.end.wall == pytest.approx(T0 + 1.234)
    assert one.process.end.mono == pytest.approx(5000.0 - 998.766)


def test_parts_are_read_in_their_order_and_gzipped_ones_are_not(place: Place) -> None:
    place.records(record("a", 0, active_tasks=1), part="agent_2026-11-22.jsonl")
    place.records(record("a", 1, active_tasks=10), part="agent_2026-11-22.10.jsonl")
    place.records(record("a", 0.5, active_tasks=2), part="agent_2026-11-22.2.jsonl")
    place.records(record("z", 9), part="agent_2026-11-23.jsonl.gz")
    place.records(record("y", 9), part="system_2026-11-23.jsonl")
    known = place.known()
    assert set(known) == {"a"}
    assert known["a"].restored.tasks == 10


def test_what_is_damaged_is_passed_over(place: Place) -> None:
    place.store(record("a", 0), at=0)
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


# clocks that were wrong for a while


DAY = 86_400.0


def covering(place: Place, *agents: Any, at: float, covers: dict[str, Any]) -> None:
    document = {"schema": 1, "written_at": format_utc(T0 + at), "agents": list(agents), "records": covers}
    place.snapshot.write_text(json.dumps(document))


def reach(place: Place) -> dict[str, tuple[int, int]]:
    with open_directory(str(place.directory)) as directory:
        return covered(directory.fd)


def test_without_a_snapshot_what_is_dated_in_the_future_is_not_believed(place: Place) -> None:
    """The clock stood a day ahead for a while; then it was set back, and the heartbeat of one deleted."""
    place.records(record("kept", 0), record("gone", 0))
    place.records(record("kept", DAY), record("gone", DAY), part="agent_2026-11-23.jsonl")
    with (place.directory / "agent_2026-11-22.jsonl").open("a") as file:
        file.write(json.dumps(record("kept", 60, active_tasks=7)) + "\n")
        file.write(json.dumps(record("gone", 61, cause="removed")) + "\n")
    place.now = T0 + 120
    known = place.known()
    assert set(known) == {"kept"}
    assert known["kept"].restored.tasks == 7
    assert known["kept"].beat_wall == pytest.approx(T0 + 60)


def test_what_the_snapshot_covers_is_not_read_again_whatever_its_date(place: Place) -> None:
    place.records(record("kept", 0), record("gone", 0))
    place.records(record("gone", DAY), part="agent_2026-11-23.jsonl")
    covering(place, record("kept", 60), at=60, covers=reach(place))
    for now in (120.0, DAY + 5, 3 * DAY):
        place.now = T0 + now
        assert set(place.known()) == {"kept"}


def test_what_was_written_after_the_snapshot_counts_whatever_its_date(place: Place) -> None:
    """A kill on the false day: the snapshot was written before, and the clock is right again by now."""
    place.records(record("a", 0), record("b", 0))
    covering(place, record("a", 0), record("b", 0), at=0, covers=reach(place))
    place.records(record("a", DAY), record("b", DAY), part="agent_2026-11-23.jsonl")
    with (place.directory / "agent_2026-11-22.jsonl").open("a") as file:
        file.write(json.dumps(record("b", 30, cause="removed")) + "\n")
    place.now = T0 + 60
    known = place.known()
    assert set(known) == {"a"}, "b was removed after the clock had been set back"
    assert known["a"].beat_wall == pytest.approx(T0 + DAY), "that is what the beat is known by"
    assert known["a"].restored.seen == pytest.approx(place.now), "but it was not seen in the future"
    assert known["a"].restored.wall == pytest.approx(place.now)


@pytest.mark.parametrize("cause", ["appeared", "heartbeat", "activity"])
def test_one_that_is_known_by_its_process_alone_was_never_seen_to_beat(place: Place, cause: str) -> None:
    place.records(record("a", 0, cause=cause, reason="process", last_heartbeat=None))
    assert place.known()["a"].restored.seen is None


def test_a_snapshot_from_the_false_day_counts_as_of_now(place: Place) -> None:
    place.records()
    covering(place, record("a", DAY - 5, last_heartbeat_age=5.0), at=DAY, covers=reach(place))
    place.now = T0
    restored = place.known()["a"].restored
    assert restored.wall is not None and restored.wall <= place.now
    assert restored.seen is not None and restored.seen <= place.now


def test_planted_files_of_days_to_come_hide_nothing(place: Place) -> None:
    place.records(record("a", 0))
    for number in range(31):
        place.records(record("ghost", 1e9), part=f"agent_9999-12-{number % 31 + 1:02}.jsonl")
    place.records(record("ghost", 5), part="agent_9999-01-01.jsonl")
    assert place.known()["a"].beat_wall == T0


def test_a_file_that_was_replaced_is_read_from_its_beginning(place: Place) -> None:
    place.records(record("a", 0), record("b", 0))
    covers = reach(place)
    covering(place, record("a", 0), at=0, covers=covers)
    (place.directory / "agent_2026-11-22.jsonl").unlink()
    (place.directory / "keeps the inode").touch()
    place.records(record("c", 1), record("d", 1), record("e", 1))
    assert set(place.known()) == {"a", "c", "d", "e"}


def test_a_file_out_of_which_lines_were_taken_is_no_news(place: Place) -> None:
    """A kill after a purge has replaced files, and before it has written the snapshot again."""
    place.records(record("a", 0), record("gone", 0))
    covering(place, record("a", 60), at=60, covers=reach(place))
    (place.directory / "agent_2026-11-22.jsonl").unlink()
    (place.directory / "keeps the inode").touch()
    place.records(record("a", 0))
    place.records(record("a", 0), record("b", 61), part="agent_2026-11-22.2.jsonl")  # begun by the purge
    manifest = place.directory / ".coordd-files.jsonl"
    manifest.write_bytes(remark("agent_2026-11-22.jsonl", purged=True))
    assert place.known()["a"].beat_wall == pytest.approx(T0, abs=1)
    (place.directory / "agent_2026-11-22.2.jsonl").unlink()
    assert place.known()["a"].beat_wall == pytest.approx(T0 + 60, abs=1)
    manifest.unlink()
    manifest.mkdir()
    assert place.known()["a"].beat_wall == pytest.approx(T0, abs=1), "it cannot be told, and is read"


def test_a_recorded_beat_from_a_false_day_hides_no_later_one(place: Place) -> None:
    place.records(record("a", 0))
    place.now = T0
    (one,) = place.known().values()
    (ahead,) = shown(replace(one, beat_wall=T0 + DAY), now=T0).observations
    traces = AgentTraces("a", heartbeat=Heartbeat(written=T0 + 30, mtime=T0 + 30, identity=(1, 1)))
    reading = Reading(wall=T0 + 40, mono=40.0, observed=40.0, since=0.0, timeout=120.0, fresh=True)
    assert observe(ahead, ahead.place, "/w", traces, reading).beat_wall == T0 + 30


# what is made of it while its sources are not read yet


def test_each_source_that_told_of_it_and_is_read_still_is_given_its_observation(place: Place) -> None:
    place.records(record("both", 0, sources=["file", "redis"]), record("file", 0))
    place.records(
        record("alone", 0, workspace=None, sources=["redis"]),
        record("new", 0, sources=["file", "claude-code"]),
        part="agent_2026-11-23.jsonl",
    )
    sources = [state_of("/w"), state_of("/other"), state_of("")]
    known = place.known()

    def found(agent_id: str, some: list[SourceState]) -> list[tuple[str, str, str]]:
        observations = known[agent_id].observations(by_place(some), Moment(T0 + 20, 50.0))
        for one in observations:
            assert (one.traces, one.beat_wall, one.beat_at, one.beat_mono) == (None, T0, 30.0, 30.0)
            assert one.restored == known[agent_id].restored
        return [(*one.source, one.workspace) for one in observations]

    assert found("file", sources) == [("file", "/w", "/w")]
    assert found("both", sources[::-1]) == [("file", "/w", "/w"), ("redis", "", "")]
    assert found("both", sources[:2]) == [("file", "/w", "/w")]
    assert found("alone", sources) == [("redis", "", "")]
    assert found("new", sources) == [("file", "/w", "/w")]  # nothing of the other kind is read
    assert found("new", sources[1:2]) == []
    assert {agent_id: one.restored.shared for agent_id, one in known.items()} == {
        "both": True,
        "file": False,
        "alone": False,
        "new": True,
    }


# what a stranger wrote


def test_in_a_project_only_what_this_machine_wrote_there_is_believed(place: Place, tmp_path: Path) -> None:
    place.root, place.host = str(tmp_path), "h"
    place.records(record("mine", 0), record("theirs", 1, host="elsewhere"))
    place.store(record("committed", 0), at=0)
    assert set(place.known()) == {"mine"}
    with open_directory(str(tmp_path)) as directory:
        here = origin_of(directory.fd)
    for wrong in ({"host": "x"}, {"machine": "x"}, {"device": 0}, {"inode": 0}, {"inode": True}):
        place.store(record("committed", 0), at=0)
        document = json.loads(place.snapshot.read_text())
        place.snapshot.write_text(json.dumps({**document, FIELD: {**here, **wrong}}))
        assert set(place.known()) == {"mine"}, wrong
    place.snapshot.write_text(json.dumps({**document, FIELD: here}))
    assert set(place.known()) == {"mine", "committed"}


WHOLE = json.dumps(
    {
        "schema": 1,
        "written_at": format_utc(T0),
        "status": {"health": "ok"},
        "agents": [record("a", 0, last_heartbeat_age=1.5), record("b", 1, declared_status="büsy")],
        "records": {"agent_2026-11-22.jsonl": [7, 40]},
    },
    ensure_ascii=False,
).encode()


def check(known: dict[str, RememberedAgent]) -> None:
    """What the rest of the daemon does with the memory never fails."""
    for one in known.values():
        seen = one.restored.seen
        assert seen is None or math.isfinite(seen)
        assert len(one.key.agent_id) <= 256
        assert 1 <= len(one.sources) <= 16 and all(1 <= len(kind) <= 64 for kind in one.sources)
        observations = one.observations(
            by_place([state_of(one.key.workspace), state_of("")]), Moment(T0 + 1000, 5000.0)
        )
        if observations:
            agent = one.agent(observations)
            shown = ShownAgent(agent, agent.verdict, Evidence(1.0, 120.0), age=1.0, doing=agent.doing)
            view_fields(shown, wall=T0 + 1000, host="h")


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_any_flipped_byte_of_a_snapshot_is_survived(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    place = Place(tmp_path_factory.mktemp("memory"))
    content = bytearray(WHOLE)
    content[at] ^= flip
    place.snapshot.write_bytes(content)
    place.records(record("c", 2))
    known = place.known()
    assert "c" in known
    check(known)


def test_one_damaged_agent_does_not_take_the_others_with_it(place: Place) -> None:
    inside = WHOLE.index("büsy".encode())
    content = bytearray(WHOLE)
    content[inside + 1] = 0xFF
    place.snapshot.write_bytes(content)
    assert "a" in place.known()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
records_like = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.just(value) for name, value in record("a", 0, last_heartbeat_age=3.0).items()
    },
)


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=200)
    | st.fixed_dictionaries(
        {},
        optional={
            "written_at": json_values | st.just(format_utc(T0)),
            "agents": json_values | st.lists(records_like, max_size=3),
            "records": json_values,
        },
    ),
    st.lists(st.binary(max_size=60) | records_like, max_size=4),
)
def test_any_snapshot_and_any_records_are_survived(
    tmp_path_factory: pytest.TempPathFactory, snapshot: Any, lines: list[Any]
) -> None:
    place = Place(tmp_path_factory.mktemp("memory"))
    place.snapshot.write_bytes(snapshot if isinstance(snapshot, bytes) else json.dumps(snapshot).encode())
    place.records(*lines)
    check(place.known())


def test_sparse_files_of_ten_gigabytes_cost_nothing(place: Place) -> None:
    for path in (place.snapshot, place.directory / "agent_2026-11-22.jsonl"):
        with path.open("wb") as file:
            file.truncate(10 << 30)
    place.records(record("a", 0), part="agent_2026-11-21.jsonl")
    assert set(place.known()) == {"a"}
