"""Test what every sink of record files promises."""

import errno
import os

import pytest

from coordd.model import PerformanceRow
from coordd.sinks.base import Batch
from coordd.sinks.csv import CsvSink
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
LIMIT = 5


class Rig:
    """A sink, and hands on its directory.

    It breaks by a file where the directory was: a real failure, and one that root meets too.
    """

    def __init__(self, directory):
        self.place = directory / "records"
        self.fault = None
        self.sink = self.make()

    def fsync(self, descriptor):
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))

    def break_it(self):
        if self.place.exists():
            os.rename(self.place, f"{self.place}.away")
        self.place.touch()

    def heal(self):
        os.unlink(self.place)
        if os.path.exists(f"{self.place}.away"):
            os.rename(f"{self.place}.away", self.place)

    def break_sync(self):
        self.fault = errno.EIO

    def heal_sync(self):
        self.fault = None

    def batch(self, *numbers):
        return Batch(event=[b"%d" % number for number in numbers])

    def write(self, *numbers, mono=0.0):
        self.sink.write(self.batch(*numbers), wall=NOON, mono=mono)

    def kinds(self):
        """Without what only a place that can be removed tells."""
        kinds = [notice.kind for notice in self.sink.take_notices()]
        return [kind for kind in kinds if kind not in {"records.recreated", "records.displaced"}]


class JsonlRig(Rig):
    def make(self):
        return JsonlSink(
            folder=HeldFolder(str(self.place)), random=lambda: 0.0, backlog=LIMIT, fsync=self.fsync
        )

    def read(self):
        return [int(line) for line in (self.place / "event.jsonl").read_text().splitlines()]


class CsvRig(Rig):
    def make(self):
        return CsvSink(
            folder=HeldFolder(str(self.place)), random=lambda: 0.0, backlog=LIMIT, fsync=self.fsync
        )

    def batch(self, *numbers):
        return Batch(performance=[PerformanceRow(NOON, None, None, None, n, "redis") for n in numbers])

    def read(self):
        lines = (self.place / "performance.log").read_text().splitlines()
        return [int(line.split(",")[4]) for line in lines[1:]]


@pytest.fixture(params=[JsonlRig, CsvRig])
def rig(request, tmp_path):
    rig = request.param(tmp_path)
    yield rig
    rig.sink.close(wall=NOON, mono=1e9)


def test_records_come_through_in_order(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.write(*range(20))
    rig.write(20, 21)
    assert rig.read() == list(range(22))
    status = rig.sink.status()
    assert (status.state, status.written, status.backlog, status.dropped, status.error) == (
        "ok",
        22,
        0,
        0,
        None,
    )
    assert rig.sink.retry_at is None
    assert rig.kinds() == []


def test_a_failure_is_a_value_and_records_wait_for_its_end(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.write(1)
    rig.break_it()
    rig.write(2, 3)
    status = rig.sink.status()
    assert (status.state, status.written, status.backlog, status.dropped) == ("failing", 1, 2, 0)
    assert status.error
    assert rig.sink.retry_at == pytest.approx(0.1)
    rig.write(4, mono=0.05)
    rig.sink.pump(wall=NOON, mono=0.1)
    assert rig.sink.retry_at == pytest.approx(0.3), "each failed try duplicates the wait"
    assert rig.sink.status().backlog == 3
    rig.heal()
    rig.sink.pump(wall=NOON, mono=0.2)
    assert rig.sink.status().state == "failing", "not before its time"
    rig.sink.pump(wall=NOON, mono=rig.sink.retry_at)
    assert rig.read() == [1, 2, 3, 4]
    status = rig.sink.status()
    assert (status.state, status.written, status.backlog, status.error) == ("ok", 4, 0, None)
    assert rig.sink.retry_at is None
    assert rig.kinds() == ["sink.failed", "sink.recovered"]


def test_a_place_that_is_broken_from_the_start(rig):
    rig.break_it()
    rig.sink.open(wall=NOON, mono=0.0)
    assert rig.sink.status().state == "failing"
    rig.write(1)
    rig.heal()
    rig.sink.pump(wall=NOON, mono=rig.sink.retry_at)
    assert rig.read() == [1]
    assert rig.sink.status().state == "ok"


def test_the_oldest_are_dropped_counted_and_announced_once(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.break_it()
    for number in range(LIMIT + 3):
        rig.write(number)
    status = rig.sink.status()
    assert (status.backlog, status.dropped) == (LIMIT, 3)
    assert rig.kinds() == ["sink.failed", "sink.dropping"]
    rig.heal()
    rig.sink.pump(wall=NOON, mono=10.0)
    assert rig.read() == list(range(3, LIMIT + 3))
    notices = rig.sink.take_notices()
    assert notices[-1].kind == "sink.recovered"
    assert notices[-1].detail["dropped"] == 3


def test_durable_is_what_a_sync_has_covered(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.sink.sync()
    rig.write(1, 2)
    assert (rig.sink.dirty, rig.sink.durable) == (True, 0)
    rig.sink.sync()
    assert (rig.sink.dirty, rig.sink.durable) == (False, 2)


def test_what_was_before_a_failed_sync_is_durable_once_it_was_written_again(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.write(1, 2)
    rig.break_sync()
    rig.sink.sync()
    assert (rig.sink.status().state, rig.sink.durable) == ("failing", 0)
    assert rig.sink.dirty, "it asks for another try"
    rig.write(3)
    assert rig.sink.status().written == 3, "a failing sync keeps no record from being written"
    rig.heal_sync()
    rig.sink.sync()
    assert (rig.sink.status().state, rig.sink.durable) == ("ok", 3)
    assert rig.read()[-3:] == [1, 2, 3]
    assert rig.sink.status().written == 3
    assert rig.kinds() == ["sink.failed", "sink.recovered"]


def test_a_failed_sync_asks_for_a_try_at_once_and_then_less_and_less(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.write(1, 2)
    rig.break_sync()
    rig.sink.sync()
    for mono in (0.0, 10.0, 20.0, 30.0):
        if rig.sink.retry_at is not None:
            rig.sink.pump(wall=NOON, mono=mono)
        rig.sink.sync()
        status = rig.sink.status()
        assert (status.state, status.written + status.backlog, status.dropped) == ("failing", 2, 0)
    rig.heal_sync()
    rig.sink.pump(wall=NOON, mono=40.0)
    rig.sink.pump(wall=NOON, mono=50.0)
    rig.sink.sync()
    assert (rig.sink.status().state, rig.sink.durable, rig.sink.status().backlog) == ("ok", 2, 0)
    assert rig.read() == [1, 2]


def test_what_no_sync_ever_covered_is_counted_at_the_end(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.write(1, 2)
    rig.break_sync()
    rig.sink.close(wall=NOON, mono=0.0)
    status = rig.sink.status()
    assert (status.written, status.dropped) == (0, 2)
    assert "sink.dropping" in rig.kinds()


def test_what_is_left_at_the_end_is_written_or_counted(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.break_it()
    rig.write(1)
    rig.heal()
    rig.sink.close(wall=NOON, mono=0.0)
    assert rig.read() == [1]
    assert rig.sink.durable == 1
    rig.write(2)
    assert (rig.sink.status().dropped, rig.sink.status().written) == (1, 1)
    assert rig.sink.retry_at is None


def test_closed_while_broken(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    rig.break_it()
    rig.write(1, 2)
    rig.sink.close(wall=NOON, mono=0.0)
    rig.sink.close(wall=NOON, mono=0.0)
    assert (rig.sink.status().dropped, rig.sink.status().backlog) == (2, 0)


def test_notices_are_bounded(rig):
    rig.sink.open(wall=NOON, mono=0.0)
    for number in range(200):
        rig.break_it()
        rig.write(number, mono=number * 10.0)
        rig.heal()
        rig.sink.pump(wall=NOON, mono=number * 10.0 + 5)
    assert len(rig.sink.take_notices()) == 100
