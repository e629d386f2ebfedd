"""Test what proves that coordd made a file, and what does not."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordd.records import manifest, manifest_file, provenance
from coordd.records.manifest import ManifestClaims, announcement

NAME = "agent_2026-11-22.jsonl"
NAMES = st.sampled_from([NAME, "agent_2026-11-22.2.jsonl", "coordd.log", "é"])
LINES = st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def claims(folder: int) -> ManifestClaims:
    return ManifestClaims.parse(manifest_file.read(folder) or b"")


@given(announced=st.lists(st.tuples(NAMES, LINES), max_size=8), name=NAMES, line=LINES)
def test_a_whole_line_proves_what_was_announced_under_its_name(
    announced: list[tuple[str, bytes]], name: str, line: bytes
) -> None:
    known = ManifestClaims.parse(b"".join(announcement(one, first) for one, first in announced))
    assert known.prove(name, line, whole=True) == ((name, line) in announced)
    assert list(known.order) == list(dict.fromkeys(one for one, _ in announced))


@given(data=st.binary(max_size=200))
def test_a_manifest_may_hold_anything(data: bytes) -> None:
    known = ManifestClaims.parse(data + b"\n" + announcement(NAME, b"x"))
    assert known.prove(NAME, b"x", whole=True)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{}",
        b'{"name": 1}',
        b'{"name": "a/b", "sha256": "x"}',
        b'{"name": ""}',
        b"[" * 5000,
        b"\xff",
        b"null",
    ],
)
def test_a_line_that_is_none_says_nothing(line: bytes) -> None:
    known = ManifestClaims.parse(line)
    assert (known.order, known.adopted, known.found) == ({}, set(), set())


@given(line=LINES.filter(bool), data=st.data())
def test_a_part_of_the_first_line_is_what_a_kill_leaves(line: bytes, data: st.DataObject) -> None:
    name = "coordd.log"
    known = ManifestClaims.parse(announcement(name, line))
    part = line[: data.draw(st.integers(0, len(line)))]
    assert known.prove(name, part, whole=False)
    assert known.prove(name, part + bytes(9), whole=False), "NUL bytes of a power loss"
    assert not known.prove(name, line + b"more", whole=False)
    assert not known.prove("other", part, whole=False)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (NAME, b'{"timestamp":"2026-11-22T12:00:00.123Z","host":"h","cause":"start"}'),
        ("performance_2026-11-22.csv", b"TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE"),
    ],
)
def test_a_part_of_a_first_record_looks_like_one(name: str, line: bytes) -> None:
    known = ManifestClaims.parse(manifest.remark(name, sha256="of something else", length=10**9))
    assert all(known.prove(name, line[:end], whole=False) for end in range(len(line)))
    for other in (b"x", b'{"timestamp": "2026', b"{}", b"TIMESTAMP;", line[:10] + b"#" + line[11:]):
        assert not known.prove(name, other, whole=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=LINES, rest=st.binary(max_size=50))
def test_a_gzipped_file_is_as_much_proven_as_the_plain_one(
    tmp_path: Path, folder: int, first: bytes, rest: bytes
) -> None:
    (tmp_path / manifest_file.NAME).write_bytes(announcement(NAME, first))
    (tmp_path / NAME).write_bytes(first + b"\n" + rest)
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(first + b"\n" + rest))
    for name in (NAME, f"{NAME}.gz"):
        assert provenance.proves(claims(folder), folder, name)
        assert not provenance.proves(ManifestClaims(), folder, name)
    (tmp_path / NAME).write_bytes(b"x" + first + b"\n" + rest)
    assert not provenance.proves(claims(folder), folder, NAME)


def test_an_empty_file_is_proven_by_its_name_gzipped_too(tmp_path: Path, folder: int) -> None:
    manifest_file.append(folder, announcement(NAME, b""), mode=0o600)
    (tmp_path / NAME).touch()
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(b""))
    assert provenance.proves(claims(folder), folder, NAME)
    assert provenance.proves(claims(folder), folder, f"{NAME}.gz")
    (tmp_path / f"{NAME}.gz").write_bytes(b"")
    assert not provenance.proves(claims(folder), folder, f"{NAME}.gz"), "that is no gzipped file at all"


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_regular_file_is_not_proven_and_not_waited_for(
    tmp_path: Path, folder: int, kind: str
) -> None:
    manifest_file.append(folder, announcement(NAME, b"mine"), mode=0o600)
    path = tmp_path / NAME
    if kind == "link":
        (tmp_path / "elsewhere").write_text("mine\n")
        path.symlink_to("elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert not provenance.proves(claims(folder), folder, NAME)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_manifest_that_is_no_file_is_an_error_that_says_what_to_do(
    tmp_path: Path, folder: int, kind: str
) -> None:
    path = tmp_path / manifest_file.NAME
    if kind == "link":
        path.symlink_to("elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError, match="mv "):
        manifest_file.read(folder, str(tmp_path))
    with pytest.raises(OSError, match="mv ") as raised:
        manifest_file.append(folder, announcement(NAME, b""), mode=0o600, shown=str(tmp_path))
    assert raised.value.filename == str(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path, folder: int) -> None:
    (tmp_path / manifest_file.NAME).write_bytes(announcement("a", b"") + b'{"name":"b","sha')
    manifest_file.append(folder, announcement("c", b""), mode=0o600)
    assert set(claims(folder).order) == {"a", "c"}


def test_what_a_manifest_began_with_comes_back(tmp_path: Path, folder: int) -> None:
    manifest_file.append(folder, announcement("b", b""), mode=0o640, before=announcement("a", b""))
    assert list(claims(folder).order) == ["a", "b"]
    assert (tmp_path / manifest_file.NAME).stat().st_mode & 0o777 == 0o640
    manifest_file.append(folder, announcement("c", b""), mode=0o640, before=announcement("a", b""))
    assert list(claims(folder).order) == ["a", "b", "c"]


def test_a_large_one_is_written_anew_without_what_is_gone(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"agent_2026-01-01.{n}.jsonl" for n in range(2, 1000)]
    manifest_file.append(folder, b"".join(announcement(name, b"") for name in names), mode=0o600)
    present = set(names[:3])
    assert not manifest_file.compact(folder, present.__contains__, mode=0o600), "it is small"
    monkeypatch.setattr(manifest_file, "COMPACT_FROM", 1000)
    assert manifest_file.compact(folder, present.__contains__, mode=0o600)
    kept = list(claims(folder).order)
    assert kept[:3] == names[:3]
    assert kept[3:] == names[-100:], "announced, and perhaps not made yet"
    assert not manifest_file.compact(folder, present.__contains__, mode=0o600), "there is nothing to gain"


def test_nothing_that_is_added_is_lost_in_a_compaction(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_file, "COMPACT_FROM", 1)
    added: list[str] = []

    def add() -> None:
        other = os.open(tmp_path, os.O_RDONLY)
        while len(added) < 300:
            name = f"kept{len(added)}"
            try:
                gone = b"".join(announcement(f"gone{n}of{name}", b"") for n in range(9))
                manifest_file.append(other, gone + announcement(name, b""), mode=0o600)
            except BlockingIOError:  # a moment later, then
                continue
            added.append(name)
        os.close(other)

    thread = threading.Thread(target=add)
    thread.start()
    compacted = 0
    while thread.is_alive():
        compacted += manifest_file.compact(folder, lambda name: name.startswith("kept"), mode=0o600)
    thread.join()
    # On a busy machine the adder may have held the lock at every try so far.
    compacted += manifest_file.compact(folder, lambda name: name.startswith("kept"), mode=0o600)
    assert compacted
    assert set(added) <= set(claims(folder).order)


def test_of_one_of_any_size_the_end_counts(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_file, "MAX_BYTES", 1000)
    planted = b"".join(b'{"name":"%d","found":true}\n' % number for number in range(500))
    (tmp_path / manifest_file.NAME).write_bytes(planted)
    manifest_file.append(folder, announcement(NAME, b"mine"), mode=0o600)
    data = manifest_file.read(folder) or b""
    assert len(data) <= 1000
    assert data.endswith(announcement(NAME, b"mine")), "what is added to it is proven"
    assert all(line.startswith(b'{"name":') for line in data.splitlines()), "none is cut"
    assert claims(folder).prove(NAME, b"mine", whole=True)
    os.truncate(tmp_path / manifest_file.NAME, 20 << 30)
    manifest_file.append(folder, announcement("later", b""), mode=0o600)
    assert list(claims(folder).order) == ["later"]


def test_a_manifest_of_20_years_fits() -> None:
    a_day = [f"{kind}_2026-11-22{part}" for kind in ("system", "agent", "event") for part in (".jsonl",)]
    size = sum(len(announcement(name, b"x" * 400)) for name in a_day)
    assert size * 366 * 20 < manifest_file.MAX_BYTES


def test_a_large_one_is_shortened_whatever_stood_in_it(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_file, "MAX_BYTES", 20_000)
    monkeypatch.setattr(manifest_file, "COMPACT_FROM", 1000)
    (tmp_path / manifest_file.NAME).write_bytes(b'{"name":"gone","sha256":"x"}\n' * 5000)
    manifest_file.append(folder, announcement(NAME, b"mine"), mode=0o600)
    assert manifest_file.compact(folder, lambda name: name == NAME, mode=0o600)
    assert (tmp_path / manifest_file.NAME).stat().st_size < 20_000
    assert claims(folder).prove(NAME, b"mine", whole=True)


def test_a_shortened_one_has_the_size_that_was_said_last(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_file, "COMPACT_FROM", 1000)
    table = "performance_2026-11-22.csv"
    lines = [announcement(table, b"head")] + [manifest.remark("gone", met=True)] * 500
    for size in (100, None, 150, None):
        lines += [manifest.remark(table, size=size), *[manifest.remark("gone too", size=size)] * 100]
    lines.append(manifest.remark(table, mixed=True))
    (tmp_path / manifest_file.NAME).write_bytes(b"".join(lines))
    assert manifest_file.compact(folder, lambda name: name == table, mode=0o600)
    after = claims(folder)
    assert (after.sizes[table], after.mixed) == (None, {table})
