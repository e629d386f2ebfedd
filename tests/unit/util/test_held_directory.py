"""A directory that is held: used while its name leads to it, made anew where it is gone, and never a link."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordd.util.held_directory import HeldDirectory


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HeldDirectory]:
    (tmp_path / "p").mkdir()
    held = HeldDirectory(
        str(tmp_path / "p" / ".claude" / "run"), mode=0o700, gitignore=True, root=str(tmp_path / "p")
    )
    yield held
    held.close()
    held.close()


def identity(path: str | int) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino


def test_it_is_made_and_stays_the_same(held: HeldDirectory) -> None:
    first = held.look()
    assert first is not None
    assert held.look() is first
    assert identity(first.fd) == identity(held.path)
    assert (Path(held.path) / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda path: os.rename(path, f"{path}.old")])
@pytest.mark.parametrize("level", [0, 1])
def test_where_nothing_stands_it_is_made_anew(held: HeldDirectory, gone: object, level: int) -> None:
    assert held.look() is not None
    gone(os.path.dirname(held.path) if level else held.path)  # type: ignore[operator]
    again = held.look()
    assert again is not None
    assert identity(again.fd) == identity(held.path)
    assert held.trouble is None


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("kind", ["link", "dangling", "link to the old one's place", "file", "fifo"])
def test_what_took_its_name_is_left_alone_until_it_is_gone(
    held: HeldDirectory, tmp_path: Path, kind: str, level: int
) -> None:
    first = held.look()
    assert first is not None
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs").touch()
    at = Path(held.path).parent if level else Path(held.path)
    if kind == "link to the old one's place":
        shutil.rmtree(at)
        at.symlink_to(tmp_path / "aside")
    else:
        at.rename(tmp_path / "aside")
    if kind == "link":
        at.symlink_to(outside)
    elif kind == "dangling":
        at.symlink_to(tmp_path / "none")
    elif kind == "file":
        at.touch()
    elif kind == "fifo":
        os.mkfifo(at)
    assert held.look() is None
    assert held.trouble is not None
    assert str(at) in held.trouble
    assert f"mv {at} {at}.aside" in held.trouble
    at.unlink()
    assert held.look() is not None
    assert held.trouble is None
    assert os.listdir(outside) == ["theirs"]


def test_a_directory_with_something_in_it_is_not_taken_and_an_empty_one_is(held: HeldDirectory) -> None:
    assert held.look() is not None
    os.rename(held.path, f"{held.path}.old")
    os.mkdir(held.path)
    theirs = Path(held.path) / "theirs"
    theirs.touch()
    assert held.look() is None
    assert "is a directory that it did not make" in str(held.trouble)
    theirs.unlink()
    assert held.look() is not None


def test_what_was_held_may_come_back(held: HeldDirectory) -> None:
    first = held.look()
    os.rename(held.path, f"{held.path}.old")
    Path(held.path).touch()
    assert held.look() is None
    os.unlink(held.path)
    os.rename(f"{held.path}.old", held.path)
    assert held.look() is first


def test_another_part_of_coordd_may_have_made_it_again(held: HeldDirectory, tmp_path: Path) -> None:
    other = HeldDirectory(held.path, mode=0o700, root=str(tmp_path / "p"))
    assert held.look() is not None
    assert other.look() is not None
    os.rename(held.path, f"{held.path}.old")
    fresh = other.look()
    assert fresh is not None
    (Path(held.path) / "records").touch()
    taken = held.look()
    assert taken is not None
    assert identity(taken.fd) == identity(fresh.fd)
    other.close()


def test_a_link_at_the_start_is_an_error(held: HeldDirectory, tmp_path: Path) -> None:
    os.mkdir(os.path.dirname(held.path))
    os.symlink(tmp_path, held.path)
    with pytest.raises(NotADirectoryError):
        held.look()


def test_a_users_own_directory_may_be_a_link_of_his(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "state").symlink_to(disk)
    held = HeldDirectory(str(tmp_path / "state"), mode=0o700, gitignore=True)
    assert held.look() is not None
    assert held.look() is not None
    assert os.listdir(disk) == []
    held.close()
