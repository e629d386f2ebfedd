"""Test what only the two sinks made of files do."""

import errno
import os
import shutil
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.model import PerformanceRow
from coordd.sinks.base import Batch
from coordd.sinks.csv import HEADER, CsvSink, format_row
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
NOW = {"wall": NOON, "mono": 0.0}


@pytest.fixture
def jsonl(tmp_path):
    sink = JsonlSink(folder=HeldFolder(str(tmp_path / "m")), random=lambda: 0.0)
    yield sink
    sink.close(**NOW)


@pytest.fixture
def csv(tmp_path):
    sink = CsvSink(folder=HeldFolder(str(tmp_path / "l")), random=lambda: 0.0)
    yield sink
    sink.close(**NOW)


def test_a_row():
    row = PerformanceRow(NOON + 0.999, 12.34, 99.96, 1_234_567, 42, "redis")
    assert format_row(row) == b"2026-11-22T12:00:00Z,12.3,100.0,1234567,42,redis"
    assert format_row(PerformanceRow(NOON, None, None, None, None, "file")) == (
        b"2026-11-22T12:00:00Z,N/A,N/A,N/A,N/A,file"
    )


@given(
    row=st.builds(
        PerformanceRow,
        st.floats(0, 4e9),
        st.none() | st.floats(0, 100),
        st.none() | st.floats(0, 100),
        st.none() | st.integers(0, 2**60),
        st.none() | st.integers(0, 2**60),
        st.sampled_from(["redis", "file"]),
    )
)
def test_every_row_has_the_headers_columns(row):
    assert format_row(row).count(b",") == HEADER.count(b",")


def test_the_table_on_disk(tmp_path, csv):
    csv.open(**NOW)
    csv.write(Batch(event=[b"not mine"], performance=[PerformanceRow(NOON, 1, 2, None, None, "file")]), **NOW)
    assert (tmp_path / "l" / "performance_2026-11-22.csv").read_bytes() == (
        b"TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE\n2026-11-22T12:00:00Z,1.0,2.0,N/A,N/A,file\n"
    )
    assert os.readlink(tmp_path / "l" / "performance.log") == "performance_2026-11-22.csv"


def test_each_kind_has_its_series(tmp_path, jsonl):
    jsonl.open(**NOW)
    row = PerformanceRow(NOON, 1, 2, None, None, "file")
    jsonl.write(Batch(system=[b"s"], agent=[b"a", b"b"], event=[b"e"], performance=[row]), **NOW)
    read = {name: (tmp_path / "m" / f"{name}.jsonl").read_text() for name in ("system", "agent", "event")}
    assert read == {"system": "s\n", "agent": "a\nb\n", "event": "e\n"}
    assert jsonl.status().written == 4


class Disk:
    def full(self, _descriptor, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_one_bad_series_holds_up_no_other(tmp_path, jsonl):
    jsonl.open(**NOW)
    part = tmp_path / "m" / "agent_2026-11-22.jsonl"
    agent = jsonl.files[1]
    write, agent._write = agent._write, Disk().full
    jsonl.write(Batch(agent=[b"a"], event=[b"e"]), **NOW)
    jsonl.write(Batch(agent=[b"b"], event=[b"f"]), **NOW)
    assert (tmp_path / "m" / "event.jsonl").read_text() == "e\nf\n"
    status = jsonl.status()
    assert (status.state, status.written, status.backlog) == ("failing", 2, 2)
    assert status.error == f"{part}: No space left on device"
    agent._write = write
    jsonl.pump(wall=NOON, mono=10.0)
    assert (tmp_path / "m" / "agent.jsonl").read_text() == "a\nb\n"


@pytest.mark.parametrize("by", ["check", "write"])
def test_a_removed_directory_is_one_notice_and_all_is_back(tmp_path, jsonl, by):
    jsonl.open(**NOW)
    shutil.rmtree(tmp_path / "m")
    if by == "check":
        jsonl.check(**NOW)
    else:
        jsonl.write(Batch(agent=[b"a"]), **NOW)
    (notice,) = jsonl.take_notices()
    assert (notice.kind, notice.subject) == ("records.recreated", str(tmp_path / "m"))
    assert len(notice.detail["paths"]) == 3
    assert {"system.jsonl", "agent.jsonl", "event.jsonl"} <= set(os.listdir(tmp_path / "m"))
    jsonl.check(**NOW)
    assert jsonl.take_notices() == []


def test_torn_lines_of_any_day_are_noticed_at_start(tmp_path, jsonl):
    before = JsonlSink(folder=HeldFolder(str(tmp_path / "m")), random=lambda: 0.0)
    before.write(Batch(event=[b"whole"]), wall=NOON - 21 * 86400, mono=0.0)
    before.write(Batch(agent=[b"whole"]), wall=NOON, mono=0.0)
    before.close(**NOW)
    for name in ("agent_2026-11-22.jsonl", "event_2026-11-01.jsonl", "agent_2026-11-20.jsonl"):
        (tmp_path / "m" / name).write_bytes(b"whole\ntorn")  # the last one is a stranger's
    jsonl.open(**NOW)
    notices = jsonl.take_notices()
    assert [notice.kind for notice in notices] == ["records.damaged"] * 2
    assert [os.path.basename(notice.subject) for notice in notices] == [
        "agent_2026-11-22.jsonl",
        "event_2026-11-01.jsonl",
    ]
    assert notices[0].detail == {"sink": "jsonl", "bytes": 4, "error": None}
    assert jsonl.status().state == "ok"
    assert (tmp_path / "m" / "agent_2026-11-20.jsonl").read_bytes() == b"whole\ntorn"


def test_a_link_in_trouble_is_a_warning_and_keeps_no_record_waiting(tmp_path, jsonl):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "event.jsonl").write_text("mine")
    jsonl.open(**NOW)
    jsonl.write(Batch(event=[b"e"]), **NOW)
    status = jsonl.status()
    assert (status.state, status.written, status.backlog, status.error) == ("ok", 1, 0, None)
    path = tmp_path / "m" / "event.jsonl"
    assert (
        f"not a symlink, and coordd does not touch it; move it away: mv {path} {path}.other" in status.warning
    )
    os.unlink(tmp_path / "m" / "event.jsonl")
    jsonl.check(**NOW)
    assert jsonl.status().warning is None
    assert jsonl.take_notices() == []


def test_midnight_moves_every_link(tmp_path, jsonl):
    jsonl.open(**NOW)
    jsonl.roll(wall=NOON + 43_200, mono=0.0)
    for series in ("system", "agent", "event"):
        assert os.readlink(tmp_path / "m" / f"{series}.jsonl") == f"{series}_2026-11-23.jsonl"


def test_a_slow_fsync_delays_neither_writing_nor_midnight(tmp_path):
    inside, go_on = threading.Event(), threading.Event()

    def slow(descriptor):
        inside.set()
        assert go_on.wait(30)
        os.fdatasync(descriptor)

    sink = JsonlSink(folder=HeldFolder(str(tmp_path / "m")), random=lambda: 0.0, fsync=slow)
    sink.open(**NOW)
    sink.write(Batch(event=[b"1"]), **NOW)
    thread = threading.Thread(target=sink.sync)
    thread.start()
    assert inside.wait(30)
    sink.write(Batch(event=[b"2"]), **NOW)
    sink.roll(wall=NOON + 86_400, mono=0.0)
    sink.write(Batch(event=[b"3"]), wall=NOON + 86_400, mono=0.0)
    assert (sink.status().written, sink.durable) == (3, 0)
    go_on.set()
    thread.join(30)
    assert sink.durable == 1
    sink.close(wall=NOON + 86_400, mono=0.0)
    assert sink.durable == 3


def test_a_closed_sink_keeps_no_descriptor(tmp_path, jsonl):
    before = len(os.listdir("/dev/fd"))
    jsonl.open(**NOW)
    for day in range(5):
        jsonl.write(Batch(event=[b"1"]), wall=NOON + day * 86_400, mono=0.0)
    jsonl.close(**NOW)
    assert len(os.listdir("/dev/fd")) == before


def test_while_a_torn_line_waits_only_the_retries_touch_the_disk(tmp_path):
    room = [3]
    writes = []

    def write(descriptor, data):
        writes.append(data)
        if not room:
            raise OSError(errno.ENOSPC, "full")
        return os.write(descriptor, data[: room.pop()])

    sink = JsonlSink(folder=HeldFolder(str(tmp_path / "m")), random=lambda: 0.0, write=write)
    sink.open(**NOW)
    sink.write(Batch(event=[b"torn"]), **NOW)
    assert sink.status().backlog == 1
    before = len(writes)
    for _ in range(10):
        sink.write(Batch(event=[b"next"]), **NOW)
    assert len(writes) == before
    sink.close(**NOW)
    assert sink.status().dropped == 11
