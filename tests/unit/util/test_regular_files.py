"""Only regular files are opened, whatever stands at the path, and whenever it got there."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from coordd.util import regular_files
from coordd.util.fields import Malformed
from coordd.util.regular_files import (
    make_file,
    open_file,
    open_if_regular,
    open_own,
    open_regular,
    read_file,
    read_owned,
)
from coordd.util.untrusted_folder import read_regular


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device needs a right")


STRANGE: dict[str, Callable[[Path], None]] = {
    "a FIFO": make_fifo,
    "a symbolic link": lambda path: path.symlink_to("/etc/passwd"),
    "a directory": Path.mkdir,
    "a socket": make_socket,
    "a device": make_device,
}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("looked", [False, True])
def test_what_is_no_regular_file_is_refused_by_its_kind(tmp_path: Path, kind: str, looked: bool) -> None:
    path = tmp_path / "f"
    STRANGE[kind](path)
    before = descriptors()
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR):
        if looked and flags == os.O_RDWR and kind == "a FIFO":
            continue  # opens at both ends, and is seen then
        with pytest.raises(Malformed) as refused:
            open_regular(str(path), flags, refuse=Malformed, looked=looked)
        assert str(refused.value) == kind or (looked and str(refused.value).startswith("a socket, or"))
    assert descriptors() == before


@pytest.mark.parametrize("kind", STRANGE)
def test_each_way_to_open_says_it_in_its_words(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    STRANGE[kind](path)
    directory = os.open(tmp_path, os.O_RDONLY)
    before = descriptors()
    try:
        for call in (open_file, lambda path: read_file(path, 9), lambda path: read_owned(path, 9)):
            with pytest.raises(OSError, match=f"{kind}, no regular file") as failed:
                call(str(path))
            assert failed.value.filename == str(path)
        assert open_if_regular(str(path)) is None
        assert open_if_regular("f", directory=directory) is None
        for mode in (None, 0o600):
            with pytest.raises(OSError, match="not a regular file, and coordd does not touch it") as failed:
                open_own("f", os.O_RDWR, mode=mode, directory=directory, shown="/shown/f")
            assert failed.value.filename == "/shown/f"
        with pytest.raises(FileExistsError):
            make_file("f", mode=0o600, directory=directory)
        with pytest.raises(Malformed):
            read_regular(directory, "f", 9)
        assert descriptors() == before
    finally:
        os.close(directory)
    assert kind == "a symbolic link" or not path.is_symlink()


@pytest.mark.parametrize("kind", STRANGE)
def test_what_comes_between_looking_and_opening_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    real = os.stat

    def swapped(*args: object, **kwargs: object) -> os.stat_result:
        state = real(*args, **kwargs)  # type: ignore[arg-type]
        path.unlink()
        STRANGE[kind](path)
        return state

    before = descriptors()
    monkeypatch.setattr(regular_files.os, "stat", swapped)
    with pytest.raises(OSError, match="no regular file"):
        open_file(str(path))
    monkeypatch.undo()
    assert descriptors() == before


def test_links_are_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("here")
    (tmp_path / "link").symlink_to("f")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "bad").symlink_to("fifo")
    (tmp_path / "loop").symlink_to("loop")
    descriptor = open_regular(str(tmp_path / "link"), os.O_RDONLY, refuse=Malformed, follow=True)
    assert os.read(descriptor, 9) == b"here"
    os.close(descriptor)
    with pytest.raises(Malformed, match="a FIFO"):
        open_regular(str(tmp_path / "bad"), os.O_RDONLY, refuse=Malformed, follow=True)
    with pytest.raises(OSError) as failed:  # its errno says it
        open_regular(str(tmp_path / "loop"), os.O_RDONLY, refuse=Malformed, follow=True)
    assert failed.value.errno == errno.ELOOP


def test_a_file_is_made_with_exactly_its_mode_and_only_once(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        descriptor, made = open_own(str(tmp_path / "f"), os.O_RDWR, mode=0o640)
        again, made_again = open_own(str(tmp_path / "f"), os.O_RDWR, mode=0o600)
    finally:
        os.umask(before)
    assert (made, made_again) == (True, False)
    assert stat.S_IMODE(os.fstat(again).st_mode) == 0o640
    assert os.path.sameopenfile(descriptor, again)
    os.close(descriptor)
    os.close(again)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_path_that_cannot_be_is_an_error_of_the_system(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError) as failed:  # its errno says it
        open_file(f"{tmp_path}/{name}")
    assert failed.value.errno == errno.EINVAL


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"123456789")
    assert read_owned(str(path), 9) == (b"123456789", os.geteuid())
    with pytest.raises(OSError, match="larger than 8 bytes"):
        read_file(str(path), 8)
