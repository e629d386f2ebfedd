"""A transcript that grows, is cut off, is rewritten, moves, or is no transcript at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.agents.session import Turn
from coordd.sources.claude_code.transcript import TranscriptReducer
from coordd.sources.sessions import transcript_file
from coordd.sources.sessions.transcript_file import MAX_LINE, MAX_STEPS, STEP, TAILS, TranscriptFile
from coordd.util.fields import Malformed
from coordd.util.timestamps import format_utc

T0 = 1_795_800_000.0
WALL = T0 + 1000


def prompt(second: float = 0.0) -> bytes:
    return _line(type="user", timestamp=format_utc(T0 + second), message={"content": "do it"})


def call(name: str, second: float = 1.0) -> bytes:
    block = {"type": "tool_use", "id": name, "name": "Bash"}
    return answer(second, block, stop="tool_use")


def answer(second: float, *blocks: object, stop: str = "end_turn") -> bytes:
    message = {
        "id": f"m{second}",
        "stop_reason": stop,
        "content": blocks,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return _line(type="assistant", timestamp=format_utc(T0 + second), message=message)


def filler(size: int, second: float = 2.0) -> bytes:
    return _line(type="attachment", timestamp=format_utc(T0 + second), text="x" * size)


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.jsonl"


def opened(path: Path) -> TranscriptFile[TranscriptReducer]:
    return TranscriptFile(str(path), lambda: TranscriptReducer(T0))


def turn_of(file: TranscriptFile[TranscriptReducer]) -> Turn:
    return file.reducer.turn()


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_what_is_added_is_read_and_nothing_twice(path: Path) -> None:
    path.write_bytes(prompt() + call("t"))
    file = opened(path)
    assert file.read(WALL) == "grown"
    assert [one.name for one in turn_of(file).calls] == ["Bash"]
    assert file.read(WALL) == "same"
    append(path, answer(5))
    assert file.read(WALL) == "grown"
    assert turn_of(file).open is False


def test_a_last_line_that_is_not_whole_waits(path: Path) -> None:
    whole = answer(5)
    path.write_bytes(prompt() + whole[:20])
    file = opened(path)
    file.read(WALL)
    assert turn_of(file).open is True
    append(path, whole[20:40])
    file.read(WALL)
    append(path, whole[40:])
    file.read(WALL)
    assert turn_of(file).open is False


def test_of_a_large_file_the_end_is_read_back_to_the_last_turn(path: Path) -> None:
    path.write_bytes(prompt(1) + filler(3 * TAILS[0]) * 20 + prompt(7) + call("t", 8) + filler(2 * TAILS[0]))
    file = opened(path)
    file.read(WALL)
    assert (turn_of(file).open, turn_of(file).since) == (True, T0 + 7)
    assert len(turn_of(file).calls) == 1


def test_no_more_than_the_largest_tail_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(prompt(1) + filler(10_000) * 500 + call("t", 3))
    read = []

    def counted(descriptor: int, length: int, offset: int, real: object = os.pread) -> bytes:
        content = real(descriptor, length, offset)  # type: ignore[operator]
        read.append(len(content))
        return bytes(content)

    monkeypatch.setattr(transcript_file.os, "pread", counted)
    file = opened(path)
    file.read(WALL)
    assert sum(read) <= sum(TAILS)
    assert (turn_of(file).open, turn_of(file).since, len(turn_of(file).calls)) == (True, None, 1)


def test_a_file_that_is_cut_off_is_read_anew(path: Path) -> None:
    path.write_bytes(prompt(1) + call("t") + answer(5))
    file = opened(path)
    file.read(WALL)
    path.write_bytes(prompt(10))
    assert file.read(WALL) == "grown"
    assert (turn_of(file).open, turn_of(file).since) == (True, T0 + 10)


def test_a_file_that_was_replaced_is_read_anew_and_its_tokens_count_once(path: Path) -> None:
    content = prompt(1) + b"".join(answer(second) for second in range(2, 12))
    path.write_bytes(content)
    file = opened(path)
    file.read(WALL)
    tokens = turn_of(file).tokens
    assert tokens is not None
    assert tokens.input == 10
    other = path.with_name("other")
    other.write_bytes(content + answer(20))
    other.replace(path)
    assert file.read(WALL) == "grown"
    tokens = turn_of(file).tokens
    assert tokens is not None
    assert tokens.input == 11


@pytest.mark.parametrize("more", [0, 500], ids=["of the same size", "larger"])
def test_a_file_that_is_written_anew_in_place_is_read_anew(path: Path, more: int) -> None:
    """By a program that goes back to an earlier message, and writes the file without replacing it."""
    path.write_bytes(filler(500) + prompt() + call("t"))
    file = opened(path)
    file.read(WALL)
    assert len(turn_of(file).calls) == 1
    size, place = path.stat().st_size, path.stat().st_ino
    ending = prompt(3) + answer(4)
    path.write_bytes(filler(size - len(ending) - len(filler(0)) + more) + ending)
    assert (path.stat().st_size, path.stat().st_ino) == (size + more, place)
    assert file.read(WALL) == "grown"
    assert (turn_of(file).open, turn_of(file).calls) == (False, ())
    assert file.read(WALL) == "same"


def test_nothing_of_a_transcript_is_kept_to_know_it_again(path: Path) -> None:
    path.write_bytes(prompt() + filler(10) + b'{"type":"x","text":"SECRET"}\n')
    file = opened(path)
    file.read(WALL)
    append(path, b'{"a":"SECRET"}\n')
    file.read(WALL)
    held = [getattr(file, name) for name in TranscriptFile.__slots__ if name != "make"]
    assert "SECRET" not in repr(held)
    assert file.read(WALL) == "same"


def test_a_file_that_moved_goes_on_where_it_was_read_to(path: Path) -> None:
    path.write_bytes(prompt(1) + call("t"))
    file = opened(path)
    file.read(WALL)
    moved = path.rename(path.with_name("moved"))
    assert file.read(WALL) == "gone"
    assert len(turn_of(file).calls) == 1
    file.path = str(moved)
    append(moved, answer(5))
    assert file.read(WALL) == "grown"
    assert turn_of(file).open is False


def test_a_line_that_is_too_long_is_passed_over(path: Path) -> None:
    path.write_bytes(prompt(1))
    file = opened(path)
    file.read(WALL)
    append(path, filler(MAX_LINE)[:-1])
    file.read(WALL)
    for _ in range(3):
        append(path, b"x" * MAX_LINE)
        file.read(WALL)
    assert len(file._partial) == 0, "nothing of it is kept"
    append(path, b'"}\n' + call("t"))
    file.read(WALL)
    assert [one.name for one in turn_of(file).calls] == ["Bash"]


def test_a_file_that_ends_in_a_line_too_long_to_look_at(path: Path) -> None:
    path.write_bytes(prompt(1) + b"x" * 2 * MAX_LINE)
    file = opened(path)
    file.read(WALL)
    append(path, b"\n" + prompt(7))
    file.read(WALL)
    assert (turn_of(file).open, turn_of(file).since) == (True, T0 + 7)


def test_one_reading_is_bounded_and_says_that_there_is_more(path: Path) -> None:
    path.write_bytes(prompt(1))
    file = opened(path)
    file.read(WALL)
    append(path, filler(100_000) * (MAX_STEPS * STEP // 100_000 + 2) + call("t"))
    assert file.read(WALL) == "more"
    assert turn_of(file).calls == ()
    assert file.read(WALL) == "grown"
    assert len(turn_of(file).calls) == 1


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_no_regular_file_is_refused(path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    with pytest.raises(Malformed):
        opened(path).read(WALL)


def test_a_missing_file_is_gone(path: Path) -> None:
    assert opened(path).read(WALL) == "gone"


CONTENT = b"".join(
    [prompt(1), call("a", 2), filler(30), call("b", 3), b"\n\n{broken\n", answer(4), prompt(9), call("c", 10)]
)


@given(st.lists(st.integers(0, len(CONTENT)), max_size=12).map(sorted))
@settings(max_examples=60)
def test_it_does_not_matter_where_writes_end(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("t") / "s.jsonl"
    path.touch()
    file = opened(path)
    last = 0
    for cut in [*cuts, len(CONTENT)]:
        append(path, CONTENT[last:cut])
        last = cut
        file.read(WALL)
    whole = path.with_name("whole")
    whole.write_bytes(CONTENT)
    other = opened(whole)
    other.read(WALL)
    assert turn_of(file) == turn_of(other)


def test_another_users_file_is_none_of_its_process(path: Path) -> None:
    path.write_bytes(prompt())
    mine, roots = (
        TranscriptFile(str(path), lambda: TranscriptReducer(T0), writer=uid) for uid in (os.geteuid(), 0)
    )
    assert (mine.read(WALL), roots.read(WALL)) == ("grown", "grown")
    other = TranscriptFile(str(path), lambda: TranscriptReducer(T0), writer=os.geteuid() + 1)
    with pytest.raises(Malformed, match="another user's"):
        other.read(WALL)
    assert not other.reducer.began
