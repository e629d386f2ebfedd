"""Test that torn tails are set aside, and everything else is left alone."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordd.records import backwards, manifest, manifest_file
from coordd.records.names import RecordSeries
from coordd.sinks import repair as module
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.repair import Damage, repair, repair_file

NAME = "agent_2026-11-22.jsonl"


def mend(directory):
    """Repair one file of coordd's."""
    held = HeldFolder(str(directory))
    try:
        return repair_file(held.folder(), NAME, held)
    finally:
        held.close()


@given(
    whole=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=5),
    tail=st.binary(max_size=40).filter(lambda line: b"\n" not in line),
    nuls=st.integers(0, 20),
    block=st.integers(1, 7),
)
@example(whole=[], tail=b"", nuls=0, block=1)
@example(whole=[b"a"], tail=b"", nuls=3, block=2)
def test_whole_lines_stay_and_the_tail_is_kept_aside(tmp_path_factory, whole, tail, nuls, block):
    directory = tmp_path_factory.mktemp("r")
    path = directory / NAME
    before = b"".join(line + b"\n" for line in whole)
    path.write_bytes(before + tail + bytes(nuls))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(backwards, "_BLOCK", block)
        damage = mend(path.parent)
    assert path.read_bytes() == before
    aside = directory / f"{NAME}.damaged"
    kept = tail.rstrip(b"\0")
    assert (aside.read_bytes() if aside.exists() else b"") == (kept + b"\n" if kept else b"")
    size = len(tail) + nuls
    assert damage == (Damage(str(path), size) if size else None)
    assert mend(path.parent) is None


def test_killed_between_keeping_and_cutting_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / NAME
    path.write_bytes(b"whole\ntorn")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", killed)
        with pytest.raises(KeyboardInterrupt):
            mend(path.parent)
    assert path.read_bytes() == b"whole\ntorn"
    assert mend(path.parent) == Damage(str(path), 4)
    assert path.read_bytes() == b"whole\n"
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == b"torn\ntorn\n"


def test_the_tail_is_synced_before_the_file_is_cut(tmp_path, monkeypatch):
    path = tmp_path / NAME
    path.write_bytes(b"torn")
    calls = []
    fsync, ftruncate = os.fsync, os.ftruncate
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/dev/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: (calls.append("cut"), ftruncate(fd, size)))
    mend(path.parent)
    made = [os.path.basename(call) for call in calls]
    # the manifest (made anew, then in its directory), the tail, its name, and only then the file itself
    assert made[-4:] == [f"{NAME}.damaged", tmp_path.name, "cut", NAME]
    assert made[:2] == [f"{manifest_file.NAME}.tmp", tmp_path.name]


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_a_tail_is_set_aside_where_nobody_has_the_name(tmp_path, kind):
    path = tmp_path / NAME
    path.write_bytes(b"torn")
    taken = tmp_path / f"{NAME}.damaged"
    if kind == "directory":
        taken.mkdir()
    elif kind == "file":
        taken.write_text("a stranger's\n")
    else:
        taken.symlink_to("precious")
    before = taken.lstat()
    mend(tmp_path)
    assert path.read_bytes() == b""
    assert (tmp_path / f"{NAME}.2.damaged").read_bytes() == b"torn\n"
    assert (taken.lstat().st_ino, taken.lstat().st_size) == (before.st_ino, before.st_size)
    assert not (tmp_path / "precious").exists()


def test_all_plain_parts_of_the_series_that_are_ours_and_nothing_else(tmp_path):
    names = [NAME, "agent_2026-11-21.2.jsonl", "agent_2026-11-20.jsonl.gz", "system_2026-11-22.jsonl"]
    strange = ["agent_2026-11-16.jsonl", "agent_2026-11-15.jsonl"]
    for name in [*names, *strange]:
        (tmp_path / name).write_bytes(b"a\nb" if name not in strange else b"c\nd")
    with (tmp_path / manifest_file.NAME).open("wb") as file:
        for name in [*names, "agent_2026-11-19.jsonl", "agent_2026-11-18.jsonl", strange[0]]:
            file.write(manifest.announcement(name.removesuffix(".gz"), b"a"))
    secret = tmp_path / "secret"
    secret.write_bytes(b"no newline")
    (tmp_path / "agent_2026-11-19.jsonl").symlink_to(secret)
    os.mkfifo(tmp_path / "agent_2026-11-18.jsonl")
    held = HeldFolder(str(tmp_path), file_mode=0o600)
    found = repair(held, RecordSeries("agent", "jsonl", "agent.jsonl"))
    held.close()
    assert [(os.path.basename(damage.path), damage.size, damage.error is None) for damage in found] == [
        ("agent_2026-11-21.2.jsonl", 1, True),
        (NAME, 1, True),
    ]
    assert (tmp_path / f"{NAME}.damaged").stat().st_mode & 0o777 == 0o600
    assert secret.read_bytes() == b"no newline"
    for name in ("agent_2026-11-20.jsonl.gz", "system_2026-11-22.jsonl"):
        assert (tmp_path / name).read_bytes() == b"a\nb"
    for name in strange:
        assert (tmp_path / name).read_bytes() == b"c\nd"


def test_only_the_tail_of_a_large_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / NAME
    with open(path, "wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nwhole\ntorn")
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: (read.append(n), pread(fd, n, at))[1])
    assert mend(path.parent) == Damage(str(path), 4)
    assert sum(read) < 1 << 20
