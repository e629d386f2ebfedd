"""Files are read from their ends, whatever the size of a block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.records import backwards
from coordd.records.backwards import lines_backwards, whole_end

LINES = st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), max_size=30)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines") / "f"


@contextmanager
def opened(path: Path, content: bytes, block: int) -> Iterator[int]:
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backwards, "_BLOCK", block)
            yield descriptor
    finally:
        os.close(descriptor)


@settings(deadline=None)
@given(LINES, st.integers(1, 9))
def test_lines_come_backwards(path: Path, lines: list[bytes], block: int) -> None:
    with opened(path, b"\n".join(lines), block) as descriptor:
        found = list(lines_backwards(descriptor, 0, most=10_000, longest=100))
    assert found == [line for line in reversed(lines) if line]


@settings(deadline=None)
@given(LINES, st.integers(1, 9), st.integers(0, 200), st.integers(0, 200))
def test_no_more_is_read_than_was_asked_for(
    path: Path, lines: list[bytes], block: int, skipped: int, most: int
) -> None:
    begin = sum(len(line) + 1 for line in lines[:skipped])
    content = b"".join(line + b"\n" for line in lines)
    with opened(path, content, block) as descriptor:
        found = list(lines_backwards(descriptor, begin, most=most, longest=100))
    asked = [line for line in reversed(lines[skipped:]) if line]
    assert found == asked[: len(found)], "whole lines alone"
    assert sum(len(line) + 1 for line in found) <= most
    if most >= len(content) - begin:
        assert found == asked


def test_what_is_longer_than_a_line_is_left_out(path: Path) -> None:
    with opened(path, b"a\n" + b"x" * 1000 + b"\nb\n", 7) as descriptor:
        found = list(lines_backwards(descriptor, 0, most=10_000, longest=100))
    assert (found[0], found[-1]) == (b"b", b"a")
    assert all(len(line) <= 107 for line in found)


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(1, 9))
def test_the_last_whole_line_ends_behind_the_last_newline(path: Path, content: bytes, block: int) -> None:
    with opened(path, content, block) as descriptor:
        assert whole_end(descriptor) == content.rfind(b"\n") + 1
