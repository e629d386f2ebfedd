import os
import shutil
from pathlib import Path

import pytest

from coordd.cli import follow
from coordd.cli.follow import Follower, Series
from coordd.errors import CannotTell

HEAD = "TIMESTAMP,CPU\n"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    directory = tmp_path / "metrics"
    directory.mkdir()
    return directory


def follower(directory: Path, extension: str = "jsonl") -> Follower:
    return Follower(Series(str(directory), "agent", extension))


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def last(f: Follower, wanted: int) -> str:
    return b"".join(f.last(wanted)).decode()


def added(f: Follower) -> str:
    return b"".join(f.added()).decode()


def lines(first: int, end: int) -> str:
    return "".join(f"{n}\n" for n in range(first, end))


@pytest.mark.parametrize("wanted", [0, 1, 2, 3, 4, 5, 9, 10, 11, 99])
def test_the_last_lines_come_from_as_many_parts_as_it_takes(metrics: Path, wanted: int) -> None:
    (metrics / "agent_2026-11-20.jsonl").write_text(lines(0, 3))
    (metrics / "agent_2026-11-21.jsonl").write_text(lines(3, 5))
    (metrics / "agent_2026-11-21.2.jsonl").write_text(lines(5, 6))
    (metrics / "agent_2026-11-21.10.jsonl").write_text("")
    (metrics / "agent_2026-11-22.jsonl").write_text(lines(6, 10) + '{"torn')
    for stranger in (
        "event_2026-11-22.jsonl",
        "agent_2026-11-22.jsonl.gz",
        "agent_2026-11-22.x.jsonl",
        "agent_1.jsonl",
    ):
        (metrics / stranger).write_text("stranger\n")
    (metrics / "agent.jsonl").symlink_to("agent_2026-11-22.jsonl")
    assert last(follower(metrics), wanted) == lines(max(0, 10 - wanted), 10)


@pytest.mark.parametrize("wanted", [0, 1, 500, 1000, 1001])
def test_lines_longer_and_shorter_than_a_block(
    metrics: Path, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BLOCK", 16)
    content = [f"{n}" * (n % 40 + 1) + "\n" for n in range(1000)]
    (metrics / "agent_2026-11-22.jsonl").write_text("".join(content))
    f = follower(metrics)
    assert last(f, wanted) == "".join(content[1000 - min(wanted, 1000) :])
    assert added(f) == ""


def test_a_line_without_end_is_said(metrics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MAX_LINE", 100_000)
    path = metrics / "agent_2026-11-22.jsonl"
    path.write_text("a\n")
    f = follower(metrics)
    last(f, 1)
    append(path, "x" * 2_000_000)
    with pytest.raises(CannotTell, match="a line of more than"):
        added(f)


def test_right_after_midnight_the_last_lines_are_those_of_the_day_before(metrics: Path) -> None:
    append(metrics / "agent_2026-11-21.jsonl", lines(0, 5))
    append(metrics / "agent_2026-11-22.jsonl", "")  # begun at midnight, and nothing was written yet
    (metrics / "agent.jsonl").symlink_to("agent_2026-11-22.jsonl")
    assert (metrics / "agent.jsonl").read_text() == ""
    f = follower(metrics)
    assert last(f, 1) == lines(4, 5)
    append(metrics / "agent_2026-11-22.jsonl", lines(5, 6))
    assert added(f) == lines(5, 6)


def test_nothing_yet_is_nothing(tmp_path: Path) -> None:
    f = follower(tmp_path / "missing")
    assert last(f, 10) == ""
    assert added(f) == ""


def test_what_is_added_comes_once_and_whole(metrics: Path) -> None:
    path = metrics / "agent_2026-11-22.jsonl"
    path.write_text("0\n1\n2")
    f = follower(metrics)
    assert last(f, 1) == "1\n"
    assert added(f) == ""
    append(path, "2")
    assert added(f) == ""
    append(path, "\n3\n4")
    assert added(f) == "22\n3\n"
    append(path, "\n")
    assert added(f) == "4\n"
    assert added(f) == ""


def test_from_nothing_the_first_part_is_followed(metrics: Path) -> None:
    f = follower(metrics)
    assert last(f, 0) == ""
    (metrics / "agent_2026-11-22.jsonl").write_text(lines(0, 3))
    assert added(f) == lines(0, 3)


def test_over_rotation_all_comes_in_order(metrics: Path) -> None:
    first = metrics / "agent_2026-11-22.jsonl"
    first.write_text(lines(0, 2))
    f = follower(metrics)
    last(f, 0)
    append(first, lines(2, 4))
    (metrics / "agent_2026-11-22.2.jsonl").write_text(lines(4, 6))
    (metrics / "agent_2026-11-23.jsonl").write_text(lines(6, 8))
    assert added(f) == lines(2, 8)
    append(metrics / "agent_2026-11-23.jsonl", lines(8, 9))
    assert added(f) == lines(8, 9)


def test_a_clock_stepped_back_is_followed_into_the_older_part(metrics: Path) -> None:
    older, newer = metrics / "agent_2026-11-22.jsonl", metrics / "agent_2026-11-23.jsonl"
    older.write_text(lines(0, 5) + "to")
    newer.write_text(lines(5, 6))
    f = follower(metrics)
    assert last(f, 1) == lines(5, 6)
    append(older, "rn\n6\n")
    assert added(f) == "torn\n6\n"
    append(newer, "7\n")
    assert added(f) == "7\n"
    append(older, "8\n")
    assert added(f) == "8\n"


def test_a_directory_made_anew_is_followed(metrics: Path) -> None:
    path = metrics / "agent_2026-11-22.jsonl"
    path.write_text(lines(0, 3))
    f = follower(metrics)
    last(f, 0)
    append(path, "3\n")
    shutil.rmtree(metrics)
    assert added(f) == "3\n", "written before the directory went"
    assert added(f) == ""
    metrics.mkdir()
    path.write_text("4\n")
    assert added(f) == "4\n"
    assert added(f) == ""


def test_a_part_cut_back_starts_over(metrics: Path) -> None:
    path = metrics / "agent_2026-11-22.jsonl"
    path.write_text(lines(0, 30))
    f = follower(metrics)
    last(f, 0)
    path.write_text("new\n")
    assert added(f) == "new\n"


def test_a_compressed_part_is_not_missed(metrics: Path) -> None:
    path = metrics / "agent_2026-11-21.jsonl"
    path.write_text("0\n")
    (metrics / "agent_2026-11-22.jsonl").write_text("1\n")
    f = follower(metrics)
    last(f, 2)
    path.rename(metrics / "agent_2026-11-21.jsonl.gz")
    assert added(f) == ""


@pytest.mark.parametrize(
    ("wanted", "expected"), [(0, HEAD), (1, HEAD + "2\n"), (2, HEAD + "1\n2\n"), (9, HEAD + "0\n1\n2\n")]
)
def test_the_heading_of_csv_comes_once(metrics: Path, wanted: int, expected: str) -> None:
    (metrics / "agent_2026-11-21.csv").write_text(HEAD + "0\n")
    (metrics / "agent_2026-11-22.csv").write_text(HEAD + "1\n2\n")
    f = follower(metrics, "csv")
    assert last(f, wanted) == expected
    (metrics / "agent_2026-11-23.csv").write_text(HEAD + "3\n")
    assert added(f) == "3\n"


def test_the_heading_of_csv_comes_late_where_there_was_no_file(metrics: Path) -> None:
    f = follower(metrics, "csv")
    assert last(f, 5) == ""
    path = metrics / "agent_2026-11-22.csv"
    path.write_text(HEAD[:5])
    assert added(f) == ""
    append(path, HEAD[5:])
    assert added(f) == HEAD
    append(path, "1\n")
    assert added(f) == "1\n"


def test_only_regular_files_are_read(metrics: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    (metrics / "agent_2026-11-20.jsonl").symlink_to(secret)
    os.mkfifo(metrics / "agent_2026-11-21.jsonl")
    (metrics / "agent_2026-11-22.jsonl").write_text("0\n")
    f = follower(metrics)
    assert last(f, 10) == "0\n"
    assert added(f) == ""
