"""Test the recorder while its writer hangs: calls return, status shows it, nothing is lost or repeated."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from waiting import PATIENCE, until

from coordd.model import PerformanceRow, SinkStatus
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import Schedule
from coordd.runtime.worker import Worker
from coordd.sinks import recorder as recorder_module
from coordd.sinks.base import Batch, Notice
from coordd.sinks.recorder import Recorder

ROW = PerformanceRow(
    timestamp=0.0, cpu=None, memory=None, redis_memory=None, redis_keys=None, coord_mode="file"
)


class Disk:
    """A sink whose disk can hang, for writes and for fsync apart."""

    name = "disk"
    retry_at: float | None = None
    durable = 0
    dirty = False

    def __init__(self) -> None:
        self.writes, self.syncs = threading.Event(), threading.Event()
        self.writes.set()
        self.syncs.set()
        self.rows = 0
        self.synced = 0

    def open(self, *, wall: float, mono: float) -> None:
        pass

    def write(self, batch: Batch, *, wall: float, mono: float) -> None:
        assert self.writes.wait(PATIENCE)
        self.rows += len(batch.performance)
        self.dirty = True

    def pump(self, *, wall: float, mono: float) -> None: ...

    roll = check = close = pump

    def sync(self) -> None:
        assert self.syncs.wait(PATIENCE)
        self.dirty = False
        self.synced += 1

    def status(self) -> SinkStatus:
        return SinkStatus(written=self.rows)

    def take_notices(self) -> list[Notice]:
        return []


class Bench:
    def __init__(self, disk: Disk, *, fsync_interval: float = 0.02) -> None:
        self.disk = disk
        self.schedule = Schedule(
            loop_monitor=LoopMonitor(),
            on_step=lambda _: None,
            on_gap=lambda _: None,
        )
        self.recorder = Recorder(
            sinks=[disk],
            writer=Worker("writer"),
            syncer=Worker("syncer"),
            schedule=self.schedule,
            host="h",
            fsync_interval=fsync_interval,
        )

    @property
    def status(self) -> SinkStatus:
        return self.recorder.statuses()["disk"]

    async def until_ok(self) -> None:
        await until(lambda: self.status.state == "ok", what="the sink is well")


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(recorder_module, "WRITE_DEADLINE", 0.05)
    monkeypatch.setattr(recorder_module, "SYNC_DEADLINE", 0.05)
    monkeypatch.setattr(Recorder._submit, "__kwdefaults__", {"records": 0, "deadline": 0.05})
    bench = Bench(Disk())
    bench.schedule.start()
    yield bench
    bench.schedule.stop()


async def test_while_a_write_hangs_every_record_returns_and_the_sink_fails(bench: Bench) -> None:
    bench.disk.writes.clear()
    for _ in range(4):
        await bench.recorder.record(performance=[ROW])
    assert bench.status.state == "failing"
    assert "has not returned" in (bench.status.error or "")
    bench.disk.writes.set()
    await bench.until_ok()
    await bench.recorder.record(performance=[ROW])
    assert bench.disk.rows == 5
    assert bench.status.dropped == 0
    await bench.recorder.close()


async def test_what_does_not_fit_behind_a_write_that_hangs_is_counted_for_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MAX_WAITING", 2)
    bench.disk.writes.clear()
    for _ in range(4):
        await bench.recorder.record(performance=[ROW, ROW, ROW])
    assert bench.status.dropped == 6
    bench.disk.writes.set()
    await bench.until_ok()
    assert (bench.disk.rows, bench.status.dropped) == (6, 6)
    await bench.recorder.close()


async def test_an_fsync_that_hangs_shows_and_stops_no_record(bench: Bench) -> None:
    bench.disk.syncs.clear()
    await bench.recorder.record(performance=[ROW])
    await until(lambda: "fsync" in (bench.status.error or ""))
    await bench.recorder.record(performance=[ROW])
    assert bench.disk.rows == 2
    assert bench.status.state == "failing"
    bench.disk.syncs.set()
    await bench.until_ok()
    assert bench.disk.synced
    await bench.recorder.close()


async def test_an_fsync_follows_at_once_after_a_pause_and_else_half_an_interval_after_the_last() -> None:
    bench = Bench(Disk(), fsync_interval=1000.0)
    bench.schedule.start()
    await bench.recorder.record(performance=[ROW])
    await until(lambda: bench.disk.synced == 1)
    await bench.recorder.record(performance=[ROW])
    await bench.recorder.record(performance=[ROW])
    due = bench.schedule.waiting("records.sync")
    assert due is not None
    assert due - monotonic() == pytest.approx(500, abs=PATIENCE)
    assert bench.disk.synced == 1
    bench.schedule.stop()


async def test_who_looks_after_the_files_hears_of_each_batch(bench: Bench) -> None:
    heard: list[int] = []
    bench.recorder.settled = lambda: heard.append(bench.disk.rows)
    await bench.recorder.record(performance=[ROW])
    assert heard[:1] == [1]
