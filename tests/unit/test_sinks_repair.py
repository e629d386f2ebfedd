import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordd.sinks import repair as module
from coordd.sinks.repair import Damage, repair, repair_file

NAME = "agent_2026-11-22.jsonl"


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
        damage = repair_file(str(path))
    assert path.read_bytes() == before
    aside = directory / f"{NAME}.damaged"
    kept = tail.rstrip(b"\0")
    assert (aside.read_bytes() if aside.exists() else b"") == (kept + b"\n" if kept else b"")
    size = len(tail) + nuls
    assert damage == (Damage(str(path), size) if size else None)
    assert repair_file(str(path)) is None


def test_killed_between_keeping_and_cutting_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / NAME
    path.write_bytes(b"whole\ntorn")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", killed)
        with pytest.raises(KeyboardInterrupt):
            repair_file(str(path))
    assert path.read_bytes() == b"whole\ntorn"
    assert repair_file(str(path)) == Damage(str(path), 4)
    assert path.read_bytes() == b"whole\n"
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == b"torn\ntorn\n"


def test_the_tail_is_synced_before_the_file_is_cut(tmp_path, monkeypatch):
    path = tmp_path / NAME
    path.write_bytes(b"torn")
    calls = []
    fsync, ftruncate = os.fsync, os.ftruncate
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/dev/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: (calls.append("cut"), ftruncate(fd, size)))
    repair_file(str(path))
    assert [os.path.basename(call) for call in calls] == [f"{NAME}.damaged", tmp_path.name, "cut", NAME]


def test_a_file_that_cannot_be_set_aside_is_not_cut(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"torn")
    (tmp_path / f"{NAME}.damaged").mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        repair_file(str(path))
    assert path.read_bytes() == b"torn"


def test_all_plain_parts_of_the_series_and_nothing_else(tmp_path):
    for name in [NAME, "agent_2026-11-21.2.jsonl", "agent_2026-11-20.jsonl.gz", "system_2026-11-22.jsonl"]:
        (tmp_path / name).write_bytes(b"a\nb")
    secret = tmp_path / "secret"
    secret.write_bytes(b"no newline")
    (tmp_path / "agent_2026-11-19.jsonl").symlink_to(secret)
    os.mkfifo(tmp_path / "agent_2026-11-18.jsonl")
    found = repair(str(tmp_path), "agent", "jsonl")
    assert [(os.path.basename(damage.path), damage.size, damage.error is None) for damage in found] == [
        ("agent_2026-11-18.jsonl", 0, False),
        ("agent_2026-11-19.jsonl", 0, False),
        ("agent_2026-11-21.2.jsonl", 1, True),
        (NAME, 1, True),
    ]
    assert secret.read_bytes() == b"no newline"
    assert (tmp_path / "agent_2026-11-20.jsonl.gz").read_bytes() == b"a\nb"
    assert (tmp_path / "system_2026-11-22.jsonl").read_bytes() == b"a\nb"


def test_only_the_tail_of_a_large_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / NAME
    with open(path, "wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nwhole\ntorn")
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: (read.append(n), pread(fd, n, at))[1])
    assert repair_file(str(path)) == Damage(str(path), 4)
    assert sum(read) < 1 << 20


def test_no_directory_is_nothing_to_repair(tmp_path):
    assert repair(str(tmp_path / "none"), "agent", "jsonl") == []
