"""Test that record files stay bounded: by existing dates, by bytes, oldest first, never the current part."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from coordd.records import manifest, manifest_file
from coordd.records.moments import Span
from coordd.records.scan import RecordQuery, Scan
from coordd.sinks.base import Batch
from coordd.sinks.compress import compress, finish, temporary_of
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.housekeeping import Housekeeper
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.retention import Policy
from coordd.sinks.series_housekeeping import Report

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0
ROOMY = Policy(retention_days=1000, compress_after_days=1000, max_bytes=1 << 30)


class Fleet:
    """A real sink in a directory, and a housekeeper for it."""

    def __init__(self, directory: Path, policy: Policy = ROOMY, part_bytes: int = 1 << 20) -> None:
        self.directory = directory
        self.sink = JsonlSink(
            folder=HeldFolder(str(directory)), random=lambda: 0.5, max_part_bytes=part_bytes
        )
        self.housekeeper = Housekeeper(writers=self.sink.files, policy=policy)
        self.sink.folder.folder()

    def write(self, wall: float, count: int = 1, size: int = 100) -> None:
        lines = [line(size) for _ in range(count)]
        self.sink.write(Batch(agent=lines), wall=wall, mono=0.0)

    def run(self, wall: float = NOON, **policy: int) -> Report:
        if policy:
            self.housekeeper.policy = Policy(
                **{
                    "retention_days": 1000,
                    "compress_after_days": 1000,
                    "max_bytes": 1 << 30,
                    **policy,
                }
            )
        return self.housekeeper.run(wall)

    def names(self) -> list[str]:
        found = (path.name for path in self.directory.iterdir() if not path.is_symlink())
        return sorted(name for name in found if name != ".coordd-files.jsonl")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def put(directory: Path, name: str, size: int = 1000) -> Path:
    """A file that coordd made, of one line of so many bytes."""
    return ours(directory, name, line(size - 1 - len(line(0))) + b"\n")


def line(size: int) -> bytes:
    """A record that is one of any series, with ``size`` bytes of no use."""
    stamp = b'"timestamp":"2026-11-22T12:00:00.000Z","host":"h"'
    return b'{%s,"cause":"start","kind":"x","self":{},"pad":"%s"}' % (stamp, b"x" * size)


def ours(directory: Path, name: str, content: bytes) -> Path:
    path = directory / name
    line = content.partition(b"\n")[0]
    with (directory / manifest_file.NAME).open("ab") as file:
        file.write(manifest.announcement(manifest.plain_name(name), line))
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def strange(directory: Path, name: str, size: int = 1000) -> Path:
    """A file that coordd did not make."""
    path = directory / name
    path.write_bytes(b"y" * (size - 1) + b"\n")
    return path


def test_the_newest_dates_that_exist_are_kept_whatever_the_clock_says(fleet: Fleet) -> None:
    for date in ("2018-01-01", "2019-01-01", "2019-03-05", "2026-11-20"):
        put(fleet.directory, f"agent_{date}.jsonl")
    put(fleet.directory, "agent_2019-03-05.2.jsonl.gz")
    put(fleet.directory, "event_2019-01-01.jsonl")
    put(fleet.directory, "event_2019-01-02.jsonl.gz")
    for wall in (0.0, NOON, NOON * 2):
        fleet.run(wall, retention_days=3, compress_after_days=36500)
        assert fleet.names() == [
            "agent_2019-01-01.jsonl",
            "agent_2019-03-05.2.jsonl.gz",
            "agent_2019-03-05.jsonl",
            "agent_2026-11-20.jsonl",
            "event_2019-01-01.jsonl",
            "event_2019-01-02.jsonl.gz",
        ]


def days(first: int, last: int) -> list[str]:
    return [f"agent_2026-11-{day:02d}.jsonl" for day in range(first, last + 1)]


def test_dates_that_are_still_to_come_evict_no_true_day(fleet: Fleet) -> None:
    """A clock that ran ahead, and came back, thirty times."""
    for name in days(1, 15):
        put(fleet.directory, name)
    for year in range(2030, 2060):
        put(fleet.directory, f"agent_{year}-01-01.jsonl")
    for name in days(16, 22):
        put(fleet.directory, name)
    fleet.run(retention_days=20, compress_after_days=36500)
    assert [name for name in fleet.names() if name < "agent_2027"] == days(3, 22)
    assert len(fleet.names()) == 20 + 30, "they are of the day on which they were begun"
    fleet.run(NOON + DAY, retention_days=7, compress_after_days=36500)
    assert fleet.names() == days(16, 22), "and go with it"


def test_dates_long_ago_are_of_the_day_on_which_they_were_begun(fleet: Fleet) -> None:
    """A board without a clock: each start begins in 1970."""
    for name in days(20, 21):
        put(fleet.directory, "agent_1970-01-01.jsonl" if name == days(21, 21)[0] else name)
        put(fleet.directory, name)
    put(fleet.directory, "agent_1970-01-02.jsonl")
    fleet.run(retention_days=2, compress_after_days=36500)
    assert fleet.names() == [
        "agent_1970-01-01.jsonl",
        "agent_1970-01-02.jsonl",
        *days(20, 21),
    ]
    fleet.run(retention_days=1, compress_after_days=36500)
    assert fleet.names() == ["agent_1970-01-02.jsonl", *days(21, 21)]


def test_bytes_go_in_the_order_of_writing_not_of_names(fleet: Fleet) -> None:
    for name in (*days(20, 20), "agent_2050-01-01.jsonl", "agent_1970-01-01.jsonl", *days(21, 21)):
        put(fleet.directory, name, 100_000)
    fleet.run(max_bytes=1_200_000)
    assert fleet.names() == ["agent_1970-01-01.jsonl", *days(21, 21)][-len(fleet.names()) :]


def test_a_clock_that_was_set_far_evicts_nothing_as_long_as_it_may_be_wrong(fleet: Fleet) -> None:
    for name in days(1, 22):
        put(fleet.directory, name)
    fleet.write(NOON + 366 * DAY)
    fleet.housekeeper.policy = Policy(retention_days=22, compress_after_days=36500, max_bytes=1 << 30)
    fleet.housekeeper.run(NOON + 366 * DAY, doubtful=True)
    assert fleet.names() == [*days(1, 22), "agent_2027-11-23.jsonl"]
    # a restart does not know that it was set, but that no records lead up to this day
    fleet.housekeeper.run(NOON + 366 * DAY)
    assert fleet.names() == [*days(1, 22), "agent_2027-11-23.jsonl"]
    fleet.write(NOON + 367 * DAY)
    fleet.housekeeper.run(NOON + 367 * DAY)
    assert fleet.names() == [*days(3, 22), "agent_2027-11-23.jsonl", "agent_2027-11-24.jsonl"]


def test_a_strangers_files_are_counted_and_evict_nothing(fleet: Fleet) -> None:
    strangers = [f"agent_9999-12-{day:02d}.jsonl" for day in range(1, 32)]
    strangers += ["agent_2026-11-01.2.jsonl.gz", "agent_2026-11-01.3.jsonl.damaged"]
    for name in strangers:
        strange(fleet.directory, name, 1 << 20)
    for name in days(20, 22):
        put(fleet.directory, name)
    fleet.run(retention_days=3, compress_after_days=0, max_bytes=10_000_000)
    assert fleet.names() == sorted([*strangers, *(f"{name}.gz" for name in days(20, 22))])
    assert [file.unproven for file in fleet.sink.files] == [0, len(strangers), 0]
    assert fleet.sink.status().unproven == len(strangers)


def test_the_current_part_stays_even_as_the_oldest_and_largest(fleet: Fleet) -> None:
    fleet.write(NOON - 10 * DAY, count=50)
    current = current_name(fleet)
    put(fleet.directory, "agent_2026-11-21.jsonl")
    fleet.run(retention_days=1, max_bytes=1, compress_after_days=0)
    assert fleet.names() == [current]


def test_bytes_go_oldest_first_and_leave_room_for_the_current_part(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, part_bytes=2000)
    for number in range(1, 7):
        put(tmp_path, f"agent_2026-11-{number:02d}.jsonl", 1000)
    ours(tmp_path, "agent_2026-11-06.2.jsonl.gz", random.Random(1).randbytes(600).hex().encode() + b"\n")
    put(tmp_path, "agent_2026-11-01.jsonl.damaged", 1000)
    put(tmp_path, "system_2026-11-01.jsonl", 4000)
    report = fleet.run(max_bytes=6500)
    assert fleet.names() == [
        "agent_2026-11-04.jsonl",
        "agent_2026-11-05.jsonl",
        "agent_2026-11-06.2.jsonl.gz",
        "agent_2026-11-06.jsonl",
        "system_2026-11-01.jsonl",
    ]
    assert (report.removed, report.freed) == (4, 4000)


def test_compression_comes_before_the_byte_budget(fleet: Fleet) -> None:
    for day in range(10, 20):
        put(fleet.directory, f"agent_2026-11-{day}.jsonl", 300_000)
    fleet.run(max_bytes=1_500_000, compress_after_days=1)
    assert fleet.names() == [f"agent_2026-11-{day}.jsonl.gz" for day in range(10, 20)]


def test_damaged_tails_age_with_their_date(fleet: Fleet) -> None:
    put(fleet.directory, "agent_2026-11-01.jsonl.damaged")
    put(fleet.directory, "agent_2026-11-02.jsonl.gz")
    put(fleet.directory, "agent_2026-11-03.jsonl")
    put(fleet.directory, "agent_2026-11-03.jsonl.damaged")
    fleet.run(retention_days=2, compress_after_days=1)
    assert fleet.names() == [
        "agent_2026-11-02.jsonl.gz",
        "agent_2026-11-03.jsonl.damaged",
        "agent_2026-11-03.jsonl.gz",
    ]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, ["20", "21", "22"]),
        (1, ["20"]),
        (2, []),
    ],
)
def test_a_closed_part_is_gzipped_when_whole_days_have_passed(
    fleet: Fleet, days: int, expected: list[str]
) -> None:
    for day in ("20", "21", "22"):
        put(fleet.directory, f"agent_2026-11-{day}.jsonl")
    fleet.write(NOON)  # 22 is full or not; what is current stays
    fleet.run(compress_after_days=days)
    packed = [name[14:16] for name in fleet.names() if name.endswith(".gz")]
    assert packed == [day for day in expected if f"agent_2026-11-{day}.jsonl" != current_name(fleet)]


def current_name(fleet: Fleet) -> str:
    return os.path.basename(str(fleet.sink.files[1].path))


def test_a_gzipped_part_keeps_content_mode_and_mtime(fleet: Fleet) -> None:
    pads = (random.Random(n).randbytes(50_000).hex().encode() for n in range(14))
    content = b"".join(line(0).replace(b'""', b'"%s"' % pad) + b"\n" for pad in pads)
    path = ours(fleet.directory, "agent_2026-11-01.jsonl", content)
    path.chmod(0o604)
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    report = fleet.run(compress_after_days=1)
    packed = fleet.directory / "agent_2026-11-01.jsonl.gz"
    assert fleet.names() == [packed.name]
    assert gzip.decompress(packed.read_bytes()) == content
    assert packed.stat().st_mode & 0o777 == 0o604
    assert packed.stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert (report.compressed, report.notices) == (1, [])


def test_what_is_not_ours_is_left_alone(fleet: Fleet) -> None:
    elsewhere = strange(fleet.directory, "elsewhere")
    (fleet.directory / "agent_2026-11-01.jsonl").symlink_to(elsewhere)
    (fleet.directory / "agent_2026-11-02.jsonl").mkdir()
    os.mkfifo(fleet.directory / "agent_2026-11-03.jsonl")
    strangers = [
        "agent_2026-11-01.jsonl~",
        "agent_2026-11-01.jsonl.bak",
        "agents_2026-11-01.jsonl",
        "agent_2026-11-01.1.jsonl",
        "agent_2026-11-01.csv",
        "agent.jsonl.gz.tmp",
        ".agent_x.jsonl.gz.tmp",
        ".agent_2026-11-01.jsonl.gz.tmp",
        "agent_2026-11-04.jsonl",
        "agent_2026-11-04.2.jsonl.gz",
        "agent_2026-11-04.jsonl.damaged",
    ]
    for name in strangers:
        strange(fleet.directory, name)
    before = sorted(os.listdir(fleet.directory))
    fleet.run(retention_days=1, compress_after_days=0, max_bytes=1)
    assert sorted(os.listdir(fleet.directory)) == before
    assert elsewhere.stat().st_size == 1000


def test_an_impossible_date_counts_and_goes_but_has_no_age(fleet: Fleet) -> None:
    put(fleet.directory, "agent_2026-99-99.jsonl")
    fleet.run(compress_after_days=0)
    assert fleet.names() == ["agent_2026-99-99.jsonl"]
    fleet.run(NOON + 60 * DAY, max_bytes=1)
    assert fleet.names() == []


def test_what_a_kill_left_behind_is_tidied(fleet: Fleet) -> None:
    plain = put(fleet.directory, "agent_2026-11-01.jsonl")
    for name in (".agent_2026-11-01.jsonl.gz.tmp", ".agent_2026-10-01.2.jsonl.gz.tmp"):
        ours(fleet.directory, name, b"")
        (fleet.directory / name).write_bytes(gzip.compress(plain.read_bytes())[:12])
    put(fleet.directory, "agent_2026-11-02.jsonl")
    (fleet.directory / "agent_2026-11-02.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    fleet.run()
    assert fleet.names() == ["agent_2026-11-01.jsonl", "agent_2026-11-02.jsonl.gz"]


WHOLE, HALF, OTHER = b"one\ntwo\n", b"one\n", b"three\n"


@pytest.mark.parametrize(
    ("plain", "packed", "left"),
    [
        (WHOLE, gzip.compress(WHOLE), {".gz": WHOLE}),
        (HALF, gzip.compress(WHOLE), {".gz": WHOLE}),
        (WHOLE, gzip.compress(HALF), {"": WHOLE}),
        (WHOLE, gzip.compress(WHOLE)[:-9], {"": WHOLE}),
        (b"", gzip.compress(WHOLE), {".gz": WHOLE}),
        (WHOLE, gzip.compress(HALF) + gzip.compress(b"two\n"), {".gz": WHOLE}),
        (HALF + OTHER, gzip.compress(WHOLE), None),
    ],
    ids=range(7),  # gzip's bytes tell the time
)
def test_of_two_forms_none_is_lost(
    fleet: Fleet, plain: bytes, packed: bytes, left: dict[str, bytes] | None
) -> None:
    base = fleet.directory / "agent_2026-11-01.jsonl"
    for content in (WHOLE, plain):
        ours(fleet.directory, base.name, content)
    base.with_name(f"{base.name}.gz").write_bytes(packed)
    first, second = fleet.run(), fleet.run()
    now = {}
    for suffix in ("", ".gz"):
        path = base.with_name(base.name + suffix)
        if path.exists():
            data = path.read_bytes()
            now[suffix] = gzip.decompress(data) if suffix else data
    if left is None:
        assert now == {"": plain, ".gz": gzip.decompress(packed)}
        assert [notice.kind for notice in first.notices] == ["housekeeping.failed"]
        assert second.notices == [], "said once"
    else:
        assert now == left
        assert first.notices == []


@pytest.mark.parametrize("packed", [gzip.compress(OTHER), b"no gzip at all"], ids=["other", "none"])
def test_a_strangers_gzipped_file_under_the_same_name_stays(fleet: Fleet, packed: bytes) -> None:
    base = ours(fleet.directory, "agent_2026-11-01.jsonl", WHOLE)
    twin = base.with_name(f"{base.name}.gz")
    twin.write_bytes(packed)
    report = fleet.run(compress_after_days=0)
    assert (base.read_bytes(), twin.read_bytes(), report.notices) == (WHOLE, packed, [])


def test_a_failure_is_said_once_and_again_after_it_was_gone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(fleet.directory, "agent_2026-11-01.jsonl")
    put(fleet.directory, "agent_2026-11-02.jsonl")
    unlink = os.unlink

    def refuse(path: str, **options: int) -> None:
        if path.endswith("01.jsonl"):
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path, **options)

    monkeypatch.setattr("os.unlink", refuse)
    report = fleet.run(max_bytes=1)
    assert fleet.names() == ["agent_2026-11-01.jsonl"], "one that fails does not keep the others"
    (notice,) = report.notices
    assert notice.kind == "housekeeping.failed"
    assert notice.subject.endswith("agent_2026-11-01.jsonl")
    assert "Operation not permitted" in notice.message
    assert fleet.run().notices == []
    monkeypatch.setattr("os.unlink", unlink)
    fleet.run()
    assert fleet.names() == []
    put(fleet.directory, "agent_2026-11-01.jsonl")
    monkeypatch.setattr("os.unlink", refuse)
    assert len(fleet.run().notices) == 1


def test_a_full_disk_leaves_the_plain_file_and_no_copy(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    put(fleet.directory, "agent_2026-11-01.jsonl")

    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if b"sha256" in data:
            return write(descriptor, data)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    report = fleet.run(compress_after_days=1)
    assert fleet.names() == ["agent_2026-11-01.jsonl"]
    assert "No space left on device" in report.notices[0].message


@pytest.mark.parametrize("instead", ["nothing", "link", "directory"])
def test_a_directory_that_is_not_in_place_is_left_alone(tmp_path: Path, instead: str) -> None:
    fleet = Fleet(tmp_path / "m")
    put(tmp_path / "m", "agent_2026-11-01.jsonl")
    (tmp_path / "m").rename(tmp_path / "old")
    if instead != "nothing":
        shutil.copytree(tmp_path / "old", tmp_path / "other")
        (tmp_path / "m").symlink_to("other") if instead == "link" else (tmp_path / "other").rename(
            tmp_path / "m"
        )
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert fleet.run(compress_after_days=0, max_bytes=1).notices == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def during(step: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, right before compress.py calls a function of os, or writes, for the first time."""
    import coordd.sinks.compress as module

    real = module.write_all if step == "write" else getattr(os, step)
    done: list[bool] = []

    def call(*arguments: object, **named: object) -> object:
        if not done:
            done.append(True)
            act()
        return real(*arguments, **named)

    class Os:
        def __getattr__(self, name: str) -> object:
            return call if name == step else getattr(os, name)

    if step == "write":
        monkeypatch.setattr(module, "write_all", call)
    else:
        monkeypatch.setattr(module, "os", Os())


@pytest.mark.parametrize("step", ["fstat", "pread", "utime", "write"])
@pytest.mark.parametrize("dates", [[0, 0], [-5, -5], [-5, 0]], ids=["today", "back", "back-and-forth"])
def test_a_file_written_to_meanwhile_is_not_lost(
    tmp_path: Path, step: str, dates: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock set back makes an old date current, in the middle of compressing it."""
    fleet = Fleet(tmp_path)
    fleet.write(NOON - 5 * DAY, count=3)
    fleet.write(NOON, count=1)
    during(step, monkeypatch, lambda: [fleet.write(NOON + days * DAY) for days in dates])
    fleet.run(compress_after_days=1)
    fleet.write(NOON - 5 * DAY, count=1)
    fleet.run()
    scan = Scan(str(tmp_path), RecordQuery("agent", Span()))
    assert sum(map(len, scan.batches())) == 7
    assert scan.damaged == 0
    assert not [name for name in fleet.names() if name.endswith(".tmp")]


def test_compress_and_finish_by_themselves(tmp_path: Path) -> None:
    path = strange(tmp_path, "a.jsonl")
    folder = Folder.at(str(tmp_path))

    def keep(_name: str) -> bool:
        return False

    assert not compress(folder, "a.jsonl", keep), "somebody writes to it"
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert temporary_of("a.jsonl") == ".a.jsonl.gz.tmp"
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert finish(folder, "a.jsonl", keep)
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "a.jsonl.gz"]
    packed.write_text("somebody else's")
    with pytest.raises(FileExistsError):
        compress(folder, "a.jsonl", keep)
    assert packed.read_text() == "somebody else's"
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "a.jsonl.gz"]
    folder.close()


def test_what_is_written_is_what_gunzip_reads(tmp_path: Path) -> None:
    path = strange(tmp_path, "a.jsonl", 3_000_000)
    folder = Folder.at(str(tmp_path))

    def remove(name: str) -> bool:
        os.unlink(path.with_name(name))
        return True

    assert compress(folder, "a.jsonl", remove)
    folder.close()
    data = (tmp_path / "a.jsonl.gz").read_bytes()
    inflate = zlib.decompressobj(wbits=31)
    assert len(inflate.decompress(data)) == 3_000_000
    assert inflate.eof
    assert inflate.unused_data == b""


def test_nothing_is_done_to_a_part_that_is_open(fleet: Fleet) -> None:
    fleet.write(NOON)
    file = fleet.sink.files[1]
    done: list[str] = []
    current = str(file.name)
    assert not file.unless_open(current, lambda: done.append("current"))
    assert file.unless_open("other", lambda: done.append("other"))
    file.close()
    assert file.unless_open(current, lambda: done.append("closed"))
    assert done == ["other", "closed"]
