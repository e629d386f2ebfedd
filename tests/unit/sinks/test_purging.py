"""Which record files a purge rewrites, and which it names and leaves alone."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from record_parts import NOON, announce, part

from coordd.records import manifest, manifest_file
from coordd.records.provenance import is_own
from coordd.records.selection import RecordSelection
from coordd.sinks.base import Batch
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.purging import Purge, PurgeReport


@pytest.fixture
def sink(tmp_path: Path) -> JsonlSink:
    return JsonlSink(folder=HeldFolder(str(tmp_path)), random=lambda: 0.5)


def purge(sink: JsonlSink, agent_id: str = "gone") -> PurgeReport:
    sink.folder.folder()
    return Purge(writers=sink.files, selection=RecordSelection(agent_id=agent_id), since="").rewrite()


def owned(folder: Path) -> set[str]:
    descriptor = os.open(folder, os.O_RDONLY)
    claims = manifest.ManifestClaims.parse(manifest_file.read(descriptor) or b"")
    names = {name for name in os.listdir(folder) if is_own(claims, descriptor, name)}
    os.close(descriptor)
    return names


def test_files_keep_mode_and_time_and_owner(tmp_path: Path, sink: JsonlSink) -> None:
    for packed, day in ((False, 10), (True, 11)):
        part(tmp_path, f"agent_2026-11-{day}.jsonl", day, ["gone", "stays"], packed=packed)
    paths = [tmp_path / "agent_2026-11-10.jsonl", tmp_path / "agent_2026-11-11.jsonl.gz"]
    for path in paths:
        path.chmod(0o600)
        os.utime(path, (NOON, NOON))
    report = purge(sink)
    assert (report.lines, report.files, report.left) == (2, 2, [])
    assert [name for _, _, _, name in report.recent] == ["gone", "gone"]
    for path in paths:
        assert (path.stat().st_mode & 0o777, path.stat().st_mtime) == (0o600, NOON)
        content = path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes())
        assert content.count(b"\n") == 1
        assert b'"stays"' in content
    assert owned(tmp_path) >= {path.name for path in paths}


def test_what_is_not_about_it_is_not_written_again(tmp_path: Path, sink: JsonlSink) -> None:
    part(tmp_path, "agent_2026-11-10.jsonl", 10, ["stays", "gone-too"])
    path = tmp_path / "agent_2026-11-10.jsonl"
    inode = path.stat().st_ino
    assert purge(sink).files == 0
    assert path.stat().st_ino == inode


def test_lines_of_others_keep_a_file_as_it_is(tmp_path: Path, sink: JsonlSink) -> None:
    part(tmp_path, "agent_2026-11-10.jsonl", 10, ["gone", "stays"])
    path = tmp_path / "agent_2026-11-10.jsonl"
    with path.open("ab") as file:
        file.write(b'{"timestamp":"2026-11-10T00:00:00Z","agent_id":"gone","of":"a script"}\n')
    before = path.read_bytes()
    (left,) = purge(sink).left
    assert (left.path, left.own) == (str(path), True)
    assert "lines of others" in left.why
    assert path.read_bytes() == before


def test_a_damaged_archive_is_named(tmp_path: Path, sink: JsonlSink) -> None:
    part(tmp_path, "agent_2026-11-10.jsonl", 10, ["gone", "stays"] * 2000, packed=True, pad=30)
    path = tmp_path / "agent_2026-11-10.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    before = path.read_bytes()
    (left,) = purge(sink).left
    assert "damaged" in left.why
    assert path.read_bytes() == before


def test_a_part_that_is_being_written_is_named_and_the_next_one_takes_over(
    tmp_path: Path, sink: JsonlSink
) -> None:
    line = b'{"timestamp":"2026-11-22T12:00:00.000Z","host":"h","agent_id":"gone","cause":"start"}'
    sink.open(wall=NOON, mono=0.0)
    sink.write(Batch(agent=[line]), wall=NOON, mono=0.0)
    (left,) = purge(sink).left
    assert "being written" in left.why
    sink.begin_next(["agent"], wall=NOON, mono=0.0)
    assert purge(sink).left == []
    assert os.readlink(tmp_path / "agent.jsonl") == "agent_2026-11-22.2.jsonl"
    assert not (tmp_path / "agent_2026-11-22.jsonl").exists()
    assert os.readlink(tmp_path / "event.jsonl") == "event_2026-11-22.jsonl"
    sink.write(Batch(agent=[line]), wall=NOON, mono=0.0)
    assert (tmp_path / "agent.jsonl").read_bytes() == line + b"\n"
    sink.close(wall=NOON, mono=0.0)


def test_a_link_never_leads_to_nothing(tmp_path: Path, sink: JsonlSink) -> None:
    part(tmp_path, "agent_2026-11-10.jsonl", 10, ["gone"])
    (tmp_path / "agent.jsonl").symlink_to("agent_2026-11-10.jsonl")
    assert purge(sink).lines == 1
    assert (tmp_path / "agent.jsonl").read_bytes() == b""
    assert "agent_2026-11-10.jsonl" in owned(tmp_path)


def test_a_strangers_copy_in_the_way_stays(tmp_path: Path, sink: JsonlSink) -> None:
    part(tmp_path, "agent_2026-11-10.jsonl", 10, ["gone", "stays"])
    temporary = tmp_path / ".agent_2026-11-10.jsonl.purge.tmp"
    temporary.write_text("mine\n")
    before = (tmp_path / "agent_2026-11-10.jsonl").read_bytes()
    report = purge(sink)
    assert report.lines == 0
    assert {one.path for one in report.left} == {str(temporary), str(tmp_path / "agent_2026-11-10.jsonl")}
    assert temporary.read_text() == "mine\n"
    assert (tmp_path / "agent_2026-11-10.jsonl").read_bytes() == before


def test_a_torn_tail_goes_only_where_it_may_be_about_it(tmp_path: Path, sink: JsonlSink) -> None:
    tail = b'{"timestamp":"2026-11-10T00:00:00.000Z","host":"h","agent_id":"'
    part(tmp_path, "agent_2026-11-10.jsonl", 10, ["stays"])
    path = tmp_path / "agent_2026-11-10.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail + b"st")
    assert purge(sink).lines == 0
    path.write_bytes(whole + tail + b"go")
    assert purge(sink).lines == 1
    assert path.read_bytes() == whole
    aside = "agent_2026-11-10.jsonl.2.damaged"
    announce(tmp_path, aside, tail + b"go")
    (tmp_path / aside).write_bytes(tail + b"go\n")
    assert purge(sink).lines == 1
    assert not (tmp_path / aside).exists()
