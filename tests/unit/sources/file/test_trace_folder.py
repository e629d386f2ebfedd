from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordd.sources.file.trace_file import FileKind
from coordd.sources.file.trace_folder import TraceFolder
from coordd.util.fields import Parsed


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("by_hint", [False, True])
def test_a_file_that_is_read_again_and_means_the_same_keeps_its_value(
    tmp_path: Path, fd: int, by_hint: bool
) -> None:
    parsed: list[bytes] = []

    def parse(_: str, content: bytes, __: os.stat_result) -> Parsed[list[bytes]]:
        parsed.append(content)
        return Parsed([content])

    kind = FileKind(100, parse)
    folder = TraceFolder(path=str(tmp_path), kind_of=lambda _: kind)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    now = path.stat().st_mtime
    assert folder.scan(fd, now) == {"a"}
    first = folder.entries["a"].value
    assert not (folder.refresh(fd, "a") if by_hint else folder.scan(fd, now + 60))
    assert parsed == [b"one"] * 2
    assert folder.entries["a"].value is first, "equal values in two copies take twice the memory"
    assert folder.scan(fd, now + 60) == set()
    assert folder.scan(fd, now + 60) == set()
    assert len(parsed) == (3 if by_hint else 2), "a settled file is not read again"
    path.write_bytes(b"two")
    assert folder.refresh(fd, "a") if by_hint else folder.scan(fd, now + 60) == {"a"}
    assert folder.entries["a"].value == [b"two"]
