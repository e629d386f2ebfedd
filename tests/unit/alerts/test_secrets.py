"""Where secrets come from, and what is no place for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.alerts.actions.secrets import BadSecret, secret_of

TOKEN = "https://example.org/T0K3N"


def kept(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def refused(written: object, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(BadSecret) as error:
        secret_of(written, environ or {})
    assert "T0K3N" not in str(error.value)
    return str(error.value)


def test_as_text_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    assert secret_of(TOKEN, {}).value == TOKEN
    for content in (TOKEN, TOKEN + "\n", TOKEN + "\r\n", "\ufeff" + TOKEN):
        assert secret_of({"file": str(kept(tmp_path, content.encode()))}, {}).value == TOKEN
    assert secret_of({"file": "~/token"}, {"HOME": str(tmp_path)}).value == TOKEN
    found = secret_of({"env": "HOOK"}, {"HOOK": TOKEN})
    assert (found.value, found.variable) == (TOKEN, "HOOK")
    assert "T0K3N" not in repr(found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o777, 0o610])
def test_a_file_is_its_owners_alone(tmp_path: Path, mode: int) -> None:
    path = kept(tmp_path, TOKEN.encode(), mode)
    assert refused({"file": str(path)}).endswith(f"chmod 600 {path}")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refused({"file": str(tmp_path / "fifo")}) == "it is a FIFO, no regular file"
    assert refused({"file": str(tmp_path)}) == "it is a directory, no regular file"
    assert refused({"file": "/dev/zero"}) == "it is a device, no regular file"
    assert refused({"file": str(tmp_path / "none")}) == (
        f"the file {tmp_path / 'none'} cannot be read: No such file or directory"
    )
    assert "absolute path" in refused({"file": "token"})
    assert "absolute path" in refused({"file": "~/token"})


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a\nb", b"a\tb\n", b"a\0b", b"\x1b[31m", b"x" * 65537, b"\xff\xfe\xfa", b"a\x7f", b"a\n\n"],
)
def test_what_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused({"file": str(kept(tmp_path, content))})


def test_a_link_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(kept(tmp_path, TOKEN.encode()))
    assert secret_of({"file": str(tmp_path / "link")}, {}).value == TOKEN


@pytest.mark.root
def test_a_link_or_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = kept(tmp_path, TOKEN.encode())
    (tmp_path / "link").symlink_to(path)
    os.lchown(tmp_path / "link", 12345, 12345)
    assert refused({"file": str(tmp_path / "link")}) == "the path is a symbolic link of another user"
    os.chown(path, 12345, 12345)
    assert "another user's (uid 12345)" in refused({"file": str(path)})


@pytest.mark.parametrize(
    "written",
    [None, 7, [], {}, {"file": 7}, {"file": ""}, {"command": "x"}, {"file": "/a", "env": "B"}, {"env": ""}],
)
def test_anything_else_is_refused(written: object) -> None:
    assert refused(written).startswith("expected text")


def test_a_variable_that_is_not_set_is_named() -> None:
    assert refused({"env": "HOOK"}) == "the environment variable 'HOOK' is not set"
    assert refused({"env": "HOOK"}, {"HOOK": ""}) == "the environment variable 'HOOK' is empty"
