"""Others write into coordd's files, or claim by a manifest that theirs are coordd's: every byte of theirs
stays."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coordd.model import PerformanceRow
from coordd.records import manifest, manifest_file
from coordd.sinks.base import Batch
from coordd.sinks.csv import HEADER, CsvSink
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.housekeeping import Housekeeper
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.retention import Policy

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0
TIGHT = Policy(retention_days=1, compress_after_days=0, max_bytes=1 << 30)
DATE = "2026-11-22"
JSONL, CSV = f"agent_{DATE}.jsonl", f"performance_{DATE}.csv"
THEIR_RECORD = '{"timestamp": "2026-11-22T12:00:00Z", "cpu_percent": 1.5}\n'
THEIR_ROW = "2026-11-22T12:00:30Z,1.5,40.0,N/A,N/A,file\n"


def record(number: int) -> bytes:
    stamp = b'"timestamp":"2026-11-22T12:00:00.000Z","host":"h"'
    return b'{%s,"cause":"heartbeat","n":%d}' % (stamp, number)


def batch(number: int, wall: float) -> Batch:
    return Batch(agent=[record(number)], performance=[PerformanceRow(wall, 1.0, 2.0, None, None, "file")])


class Place:
    """A folder with both sinks in it, as a project's with one directory has them."""

    def __init__(self, directory: Path, **options: object) -> None:
        self.directory = directory
        self.options = options
        self.number = 0
        self.begin()

    def begin(self, wall: float = NOON) -> None:
        options = self.options
        self.jsonl = JsonlSink(folder=HeldFolder(str(self.directory)), random=lambda: 0.0, **options)  # type: ignore[arg-type]
        self.csv = CsvSink(folder=HeldFolder(str(self.directory)), random=lambda: 0.0, **options)  # type: ignore[arg-type]
        for sink in (self.jsonl, self.csv):
            sink.open(wall=wall, mono=0.0)
        self.housekeeper = Housekeeper(writers=[*self.jsonl.files, *self.csv.files], policy=TIGHT)

    def write(self, wall: float = NOON) -> None:
        self.number += 1
        for sink in (self.jsonl, self.csv):
            sink.write(batch(self.number, wall), wall=wall, mono=0.0)

    def end(self, wall: float = NOON) -> None:
        for sink in (self.jsonl, self.csv):
            sink.close(wall=wall, mono=0.0)

    def keep_house(self, wall: float) -> None:
        report = self.housekeeper.run(wall)
        assert report.notices == []

    def add(self, name: str, text: str) -> None:
        with (self.directory / name).open("a") as file:
            file.write(text)

    def numbers(self) -> list[int]:
        """Of the records that are readable in plain parts."""
        found = []
        for path in self.directory.glob("agent_*.jsonl"):
            lines = path.read_bytes().split(b"\n")
            whole = [line for line in lines if line.startswith(b'{"timestamp":"') and line.endswith(b"}")]
            found += [json.loads(line)["n"] for line in whole]
        return sorted(found)

    def current(self) -> tuple[str, str]:
        return os.readlink(self.directory / "agent.jsonl"), os.readlink(self.directory / "performance.log")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "records")


def later_days(place: Place) -> None:
    """Two days more, each with a start and an end and house kept."""
    for day in (1, 2, 3):
        place.begin(NOON + day * DAY)
        place.write(NOON + day * DAY)
        place.keep_house(NOON + day * DAY)
        place.end(NOON + day * DAY)


def test_what_others_append_to_the_current_part_stays(place: Place) -> None:
    place.write()
    place.add(JSONL, THEIR_RECORD)
    place.add("performance.log", THEIR_ROW)  # which is a link to the part
    place.write()
    place.write()
    assert place.current() == (f"agent_{DATE}.2.jsonl", f"performance_{DATE}.2.csv")
    assert place.numbers() == [1, 2, 3]
    place.end()
    later_days(place)
    assert THEIR_RECORD in (place.directory / JSONL).read_text()
    assert THEIR_ROW in (place.directory / CSV).read_text()
    assert not list(place.directory.glob(f"*_{DATE}.2.*")), "what is coordd's alone goes"
    assert [file.unproven for file in (*place.jsonl.files, *place.csv.files)] == [0, 1, 0, 1]


def test_one_part_more_and_no_more_however_often_others_append(place: Place) -> None:
    for _ in range(5):
        place.write()
        place.add("agent.jsonl", THEIR_RECORD)
        place.add("performance.log", THEIR_ROW)
    place.end()
    assert len(list(place.directory.glob("agent_*"))) == 2
    assert len(list(place.directory.glob("performance_*"))) == 2
    later_days(place)
    found = "".join(path.read_text() for path in place.directory.glob(f"*_{DATE}*"))
    assert (found.count(THEIR_RECORD), found.count(THEIR_ROW)) == (5, 5)


@pytest.mark.parametrize("killed", [False, True])
def test_what_others_append_to_a_closed_part_stays(place: Place, *, killed: bool) -> None:
    """A script that names files by local time, or goes on while coordd is down."""
    place.write()
    if not killed:
        place.end()
        place.add(CSV, THEIR_ROW)
    place.add(JSONL, THEIR_RECORD)
    later_days(place)
    assert THEIR_RECORD in (place.directory / JSONL).read_text()
    assert killed or THEIR_ROW in (place.directory / CSV).read_text()
    assert killed == (not (place.directory / CSV).exists())


def test_a_table_that_goes_on_after_a_restart_is_still_coordds(place: Place) -> None:
    place.write()
    place.end()
    place.begin()
    place.write()
    assert place.current() == (JSONL, CSV)
    # and after a kill as well
    place.begin()
    place.write()
    later_days(place)
    assert not list(place.directory.glob(f"*_{DATE}*"))


def test_the_plain_name_of_a_day_is_left_to_those_who_used_the_one_before(place: Place) -> None:
    place.end()
    shutil.rmtree(place.directory)
    place.directory.mkdir()
    (place.directory / JSONL).write_text(THEIR_RECORD)
    (place.directory / f"{CSV}.gz").write_bytes(gzip.compress(f"{HEADER.decode()}\n{THEIR_ROW}".encode()))
    for day, number in ((1, ".2"), (2, ".2"), (3, "")):
        place.begin(NOON + day * DAY)
        place.write(NOON + day * DAY)
        date = f"2026-11-{22 + day}"
        assert place.current() == (f"agent_{date}{number}.jsonl", f"performance_{date}{number}.csv")
        place.end(NOON + day * DAY)


def test_a_table_of_others_in_place_of_ours_is_theirs(place: Place) -> None:
    """All tables begin with the same line."""
    place.write()
    theirs = f"{HEADER.decode()}\n{THEIR_ROW}"
    (place.directory / CSV).rename(place.directory / "archived.csv")
    (place.directory / CSV).write_text(theirs)
    place.write()
    assert place.current()[1] == f"performance_{DATE}.2.csv"
    place.end()
    later_days(place)
    assert (place.directory / CSV).read_text() == theirs


def test_a_gzipped_table_replaced_by_others_is_theirs(place: Place) -> None:
    place.write()
    place.end()
    first_row = (place.directory / CSV).read_text()
    place.housekeeper.policy = Policy(retention_days=9, compress_after_days=0, max_bytes=1 << 30)
    place.begin(NOON + 2 * DAY)
    place.housekeeper.policy = Policy(retention_days=9, compress_after_days=0, max_bytes=1 << 30)
    place.keep_house(NOON + 2 * DAY)
    packed = place.directory / f"{CSV}.gz"
    theirs = gzip.compress((first_row + THEIR_ROW).encode())
    assert packed.exists()
    packed.write_bytes(theirs)
    later_days(place)
    assert packed.read_bytes() == theirs


class Disk:
    """A write(2) that takes ``room`` bytes and then says that the disk is full."""

    def __init__(self) -> None:
        self.room = 1 << 30

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = os.write(descriptor, bytes(data)[: self.room])
        self.room -= count
        return count


@pytest.mark.parametrize("numbered", [False, True])
def test_a_record_torn_by_a_full_disk_is_whole_elsewhere_once_others_wrote_behind_it(
    tmp_path: Path, *, numbered: bool
) -> None:
    disk = Disk()
    place = Place(tmp_path, write=disk.write)
    place.write()
    if numbered:
        place.add(JSONL, THEIR_RECORD)
        place.write()
    count = place.number
    disk.room = 5
    place.write()
    place.add(place.current()[0], "\n" + THEIR_RECORD)
    disk.room = 1 << 30
    for sink in (place.jsonl, place.csv):
        sink.pump(wall=NOON, mono=100.0)
    place.write()
    assert place.numbers() == list(range(1, count + 3))
    assert place.jsonl.status().dropped == 0


@pytest.mark.parametrize("numbered", [False, True])
def test_half_a_line_of_others_swallows_no_record(place: Place, *, numbered: bool) -> None:
    place.write()
    if numbered:
        place.add(JSONL, THEIR_RECORD)
        place.write()
    place.add(place.current()[0], '{"theirs":')
    place.write()
    assert place.numbers() == list(range(1, place.number + 1))


@pytest.mark.parametrize("when", ["before it is looked at", "after a record more", "after the day"])
def test_a_failed_fsync_cuts_off_nothing_of_others(tmp_path: Path, when: str) -> None:
    failing = [False]

    def fsync(descriptor: int) -> None:
        if failing[0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    place = Place(tmp_path, fsync=fsync)
    place.write()
    place.jsonl.sync()
    place.write()
    wall = NOON
    if when == "after the day":
        wall += DAY
        place.write(wall)
    place.add(JSONL, THEIR_RECORD)
    if when == "after a record more":
        place.write()
    failing[0] = True
    place.jsonl.sync()
    failing[0] = False
    for mono in (1.0, 100.0, 200.0):
        place.jsonl.pump(wall=wall, mono=mono)
        place.jsonl.sync()
    place.write(wall)
    place.jsonl.close(wall=wall, mono=300.0)
    assert THEIR_RECORD in (tmp_path / JSONL).read_text()
    assert set(place.numbers()) == set(range(1, place.number + 1))
    assert place.jsonl.status().dropped == 0


LINE = THEIR_RECORD.encode().rstrip()
WORK = b"no newline at all, and all my work"
CLAIMED: dict[str, tuple[bytes, Callable[[str], bytes]]] = {
    "agent_2026-10-01.jsonl": (LINE + b"\n", lambda name: manifest.announcement(name, LINE)),
    "agent_2026-10-02.jsonl": (LINE, lambda name: manifest.remark(name, sha256="", length=10**9)),
    "agent_2026-10-03.jsonl": (LINE + b"\n", lambda name: manifest.announcement(name, LINE, adopted=True)),
    "agent_2026-10-04.jsonl.gz": (
        gzip.compress(LINE + b"\n"),
        lambda name: manifest.announcement(name, LINE),
    ),
    "agent_2026-10-05.jsonl.damaged": (LINE + b"\n", lambda name: manifest.announcement(name, LINE)),
    ".agent_2026-10-06.jsonl.gz.tmp": (WORK, lambda name: manifest.announcement(name, b"")),
    "performance_2026-10-01.csv": (
        HEADER + b"\n" + THEIR_ROW.encode(),
        lambda name: manifest.announcement(name, HEADER),
    ),
    "performance_2026-10-02.csv": (
        HEADER + b"\n" + THEIR_ROW.encode(),
        lambda name: manifest.announcement(name, HEADER, adopted=True),
    ),
    "performance_2026-10-03.csv": (WORK, lambda name: manifest.remark(name, sha256="", length=10**9)),
    "performance_2026-10-04.csv": (
        HEADER + b"\n" + THEIR_ROW.encode(),
        lambda name: manifest.announcement(
            name, HEADER, adopted=True, origin={"host": os.uname().nodename, "machine": "x", "inode": 1}
        ),
    ),
}


@pytest.mark.parametrize("name", CLAIMED)
def test_a_manifest_that_came_with_a_clone_costs_nobody_a_byte(tmp_path: Path, name: str) -> None:
    content, claim = CLAIMED[name]
    (tmp_path / name).write_bytes(content)
    (tmp_path / manifest_file.NAME).write_bytes(claim(manifest.plain_name(name)))
    place = Place(tmp_path)
    place.write()
    place.keep_house(NOON)
    place.end()
    later_days(place)
    assert (tmp_path / name).read_bytes() == content


def test_what_its_owner_gave_is_given_in_this_very_folder(place: Place, tmp_path: Path) -> None:
    place.write()
    place.end()
    theirs = "performance_2026-10-01.csv"
    (place.directory / theirs).write_bytes(HEADER + b"\n" + b"their own words\n")
    folder = os.open(place.directory, os.O_RDONLY)
    origin = manifest.origin_here(folder)
    claim = manifest.announcement(theirs, HEADER, adopted=True, origin=origin)
    manifest_file.append(folder, claim, mode=0o600)
    os.close(folder)
    copy = tmp_path / "copy"
    shutil.copytree(place.directory, copy, symlinks=True)
    for one in (place, Place(copy)):
        later_days(one)
    assert not (place.directory / theirs).exists()
    assert (copy / theirs).exists()
