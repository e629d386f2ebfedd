"""Record files stay bounded: by dates that exist, by bytes, oldest first, and never the current part."""

from __future__ import annotations

import gzip
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from coordd.history.moments import Span
from coordd.history.scan import Question, Scan
from coordd.sinks.base import Batch
from coordd.sinks.compress import compress, finish, temporary_of
from coordd.sinks.housekeeping import Housekeeper, Policy, Report
from coordd.sinks.jsonl import JsonlSink

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0
ROOMY = Policy(retention_days=1000, compress_after_days=1000, max_bytes=1 << 30)


class Fleet:
    """A real sink in a directory, and a housekeeper for it."""

    def __init__(self, directory: Path, policy: Policy = ROOMY, part_bytes: int = 1 << 20) -> None:
        self.directory = directory
        self.sink = JsonlSink(metrics_dir=str(directory), random=lambda: 0.5, max_part_bytes=part_bytes)
        self.housekeeper = Housekeeper(writers=self.sink.files, policy=policy)

    def write(self, wall: float, count: int = 1, size: int = 100) -> None:
        stamp = b'{"timestamp":"2026-11-22T12:00:00.000Z","pad":"%s"}'
        lines = [stamp % (b"x" * size) for _ in range(count)]
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
        return sorted(path.name for path in self.directory.iterdir() if not path.is_symlink())


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def put(directory: Path, name: str, size: int = 1000) -> Path:
    path = directory / name
    path.write_bytes(b"x" * (size - 1) + b"\n")
    return path


def test_the_newest_dates_that_exist_are_kept_whatever_the_clock_says(fleet: Fleet) -> None:
    for date in ("2019-01-01", "2019-03-05", "2026-11-20", "2040-01-01"):
        put(fleet.directory, f"agent_{date}.jsonl")
    put(fleet.directory, "agent_2019-03-05.2.jsonl.gz")
    put(fleet.directory, "event_2019-01-01.jsonl")
    put(fleet.directory, "event_2019-01-02.jsonl.gz")
    for wall in (0.0, NOON, NOON * 2):
        fleet.run(wall, retention_days=3, compress_after_days=36500)
        assert fleet.names() == [
            "agent_2019-03-05.2.jsonl.gz",
            "agent_2019-03-05.jsonl",
            "agent_2026-11-20.jsonl",
            "agent_2040-01-01.jsonl",
            "event_2019-01-01.jsonl",
            "event_2019-01-02.jsonl.gz",
        ]


def test_the_current_part_stays_even_as_the_oldest_and_largest(fleet: Fleet) -> None:
    fleet.write(NOON - 10 * DAY, count=50)
    current = os.path.basename(str(fleet.sink.files[1].path))
    put(fleet.directory, "agent_2026-11-21.jsonl")
    fleet.run(retention_days=1, max_bytes=1, compress_after_days=0)
    assert fleet.names() == [current]


def test_bytes_go_oldest_first_and_leave_room_for_the_current_part(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, part_bytes=2000)
    for number in range(1, 7):
        put(tmp_path, f"agent_2026-11-{number:02d}.jsonl", 1000)
    put(tmp_path, "agent_2026-11-03.2.jsonl.gz", 1000)
    put(tmp_path, "agent_2026-11-01.jsonl.damaged", 1000)
    put(tmp_path, "system_2026-11-01.jsonl", 4000)
    report = fleet.run(max_bytes=6500)
    assert fleet.names() == [
        "agent_2026-11-03.2.jsonl.gz",
        "agent_2026-11-04.jsonl",
        "agent_2026-11-05.jsonl",
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
    path = fleet.directory / "agent_2026-11-01.jsonl"
    content = random.Random(1).randbytes(700_000).hex().encode() + b"\n"
    path.write_bytes(content)
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
    elsewhere = put(fleet.directory, "elsewhere")
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
    ]
    for name in strangers:
        put(fleet.directory, name)
    before = sorted(os.listdir(fleet.directory))
    fleet.run(retention_days=1, compress_after_days=0, max_bytes=1)
    assert sorted(os.listdir(fleet.directory)) == before
    assert elsewhere.stat().st_size == 1000


def test_an_impossible_date_counts_and_goes_but_has_no_age(fleet: Fleet) -> None:
    put(fleet.directory, "agent_2026-99-99.jsonl")
    fleet.run(compress_after_days=0)
    assert fleet.names() == ["agent_2026-99-99.jsonl"]
    fleet.run(max_bytes=1)
    assert fleet.names() == []


def test_what_a_kill_left_behind_is_tidied(fleet: Fleet) -> None:
    plain = put(fleet.directory, "agent_2026-11-01.jsonl")
    put(fleet.directory, ".agent_2026-11-01.jsonl.gz.tmp")
    put(fleet.directory, ".agent_2026-10-01.2.jsonl.gz.tmp")
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
        (WHOLE, b"no gzip at all", {"": WHOLE}),
        (b"", gzip.compress(WHOLE), {".gz": WHOLE}),
        (WHOLE, gzip.compress(HALF) + gzip.compress(b"two\n"), {".gz": WHOLE}),
        (WHOLE, gzip.compress(OTHER), None),
        (HALF + OTHER, gzip.compress(WHOLE), None),
    ],
    ids=range(9),  # gzip's bytes tell the time
)
def test_of_two_forms_none_is_lost(
    fleet: Fleet, plain: bytes, packed: bytes, left: dict[str, bytes] | None
) -> None:
    base = fleet.directory / "agent_2026-11-01.jsonl"
    base.write_bytes(plain)
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


def test_a_failure_is_said_once_and_again_after_it_was_gone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(fleet.directory, "agent_2026-11-01.jsonl")
    put(fleet.directory, "agent_2026-11-02.jsonl")
    unlink = os.unlink

    def refuse(path: str) -> None:
        if path.endswith("01.jsonl"):
            raise PermissionError(1, "Operation not permitted", path)
        unlink(path)

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

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    report = fleet.run(compress_after_days=1)
    assert fleet.names() == ["agent_2026-11-01.jsonl"]
    assert "No space left on device" in report.notices[0].message


def test_a_missing_directory_is_nothing_to_do(tmp_path: Path) -> None:
    assert Fleet(tmp_path / "none").run().notices == []


def during(step: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, right before the first call of an os function in compress.py."""
    import coordd.sinks.compress as module

    real = getattr(os, step)
    done: list[bool] = []

    class Os:
        def __getattr__(self, name: str) -> object:
            if name != step:
                return getattr(os, name)

            def call(*arguments: object, **named: object) -> object:
                if not done:
                    done.append(True)
                    act()
                return real(*arguments, **named)

            return call

    monkeypatch.setattr(module, "os", Os())


@pytest.mark.parametrize("step", ["fstat", "pread", "utime", "rename", "lstat", "unlink"])
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
    scan = Scan(str(tmp_path), Question("agent", Span()))
    assert sum(map(len, scan.batches())) == 7
    assert scan.damaged == 0
    assert not [name for name in fleet.names() if name.endswith(".tmp")]


def test_compress_and_finish_by_themselves(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl")

    def keep(_path: str) -> bool:
        return False

    assert not compress(str(path), keep), "somebody writes to it"
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert temporary_of(str(path)) == str(tmp_path / ".a.jsonl.gz.tmp")
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert finish(str(path), keep)
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "a.jsonl.gz"]


def test_what_is_written_is_what_gunzip_reads(tmp_path: Path) -> None:
    path = put(tmp_path, "a.jsonl", 3_000_000)

    def remove(name: str) -> bool:
        os.unlink(name)
        return True

    assert compress(str(path), remove)
    data = (tmp_path / "a.jsonl.gz").read_bytes()
    inflate = zlib.decompressobj(wbits=31)
    assert len(inflate.decompress(data)) == 3_000_000
    assert inflate.eof
    assert inflate.unused_data == b""


def test_nothing_is_done_to_a_part_that_is_open(fleet: Fleet) -> None:
    fleet.write(NOON)
    file = fleet.sink.files[1]
    done: list[str] = []
    assert not file.unless_open(str(file.path), lambda: done.append("current"))
    assert file.unless_open(str(fleet.directory / "other"), lambda: done.append("other"))
    current = str(file.path)
    file.close()
    assert file.unless_open(current, lambda: done.append("closed"))
    assert done == ["other", "closed"]
