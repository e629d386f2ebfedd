"""Test the held directory of record files: what took its name is left alone until a reload takes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordd.records import manifest
from coordd.sinks.held_folder import HeldFolder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    return tmp_path / "p"


@pytest.fixture
def held(project: Path) -> Iterator[HeldFolder]:
    held = HeldFolder(str(project / ".claude" / "metrics"), gitignore=True, root=str(project))
    yield held
    held.close()


def identity(path: str | int) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_took_its_place_is_named_once_and_left_alone(
    held: HeldFolder, project: Path, kind: str, level: int
) -> None:
    said: list[str] = []
    held.on_displaced = lambda _path, message: said.append(message)
    before = held.folder()
    metrics = Path(held.path)
    outside = project.parent / "outside"
    (outside / "metrics").mkdir(parents=True)
    at = metrics.parent if level else metrics
    at.rename(project / "aside")
    if kind == "link":
        at.symlink_to(outside)
    else:
        at.touch()
    for _ in range(2):
        with pytest.raises(NotADirectoryError) as caught:
            held.folder()
        assert f"mv {at} {at}.other" in str(caught.value)
    assert len(said) == 1
    assert before.fd == -1, "whoever still has it must not meet another directory"
    assert held.take() is None
    at.unlink()
    assert identity(held.folder().fd) == identity(held.path)
    assert os.listdir(outside / "metrics") == []


def test_the_directory_that_was_held_may_come_back(held: HeldFolder) -> None:
    held.announce(held.folder(), manifest.announcement("agent_2026-11-22.jsonl", b"{}"))
    was = identity(held.path)
    os.rename(held.path, f"{held.path}.old")
    os.mkdir(held.path)
    Path(held.path, "theirs").touch()
    with pytest.raises(NotADirectoryError):
        held.folder()
    os.rename(held.path, f"{held.path}.theirs")
    os.rename(f"{held.path}.old", held.path)
    folder = held.folder()
    assert identity(folder.fd) == was
    assert held.claims(folder).announces("agent_2026-11-22.jsonl")


def test_another_directory_is_taken_when_that_is_asked_for_and_not_before_it_is_lost(
    held: HeldFolder,
) -> None:
    held.folder()
    held.accept()  # nothing is lost yet
    os.rename(held.path, f"{held.path}.old")
    os.mkdir(held.path)
    Path(held.path, "theirs").touch()
    with pytest.raises(NotADirectoryError, match="coordctl reload"):
        held.folder()
    held.accept()
    assert identity(held.folder().fd) == identity(held.path)
